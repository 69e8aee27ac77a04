// What members sign, as EIP-712 types; and who signed, as strictly as the contracts see it.
import { getAddress, hashTypedData, recoverAddress } from "viem";

const field = (words) => words.split(", ").map((each) => ({ type: each.split(" ")[0], name: each.split(" ")[1] }));
const AUTHORIZATION = "address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce";

export const TYPES = {
  TransferWithAuthorization: field(AUTHORIZATION),
  ReceiveWithAuthorization: field(AUTHORIZATION),
  PaymentBundle: field("address from, Payment[] payments, uint256 validAfter, uint256 validBefore, bytes32 nonce"),
  Payment: field("address to, uint256 value"),
  Order: field(
    "uint24 home, uint32 seq, uint24 fromSlot, uint24 untilSlot, uint24 buyLimit, uint24 sellLimit, uint24 cap",
  ),
  Readings: field("uint24 home, uint24 firstSlot, uint48 imported, uint48 exported, bytes deltas"),
};

const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

/** Return the EIP-712 digest of a message: its id everywhere. */
export function idOf(domain, primaryType, message) {
  const types = primaryType === "PaymentBundle" ? TYPES : { [primaryType]: TYPES[primaryType] };
  return hashTypedData({ domain, types, primaryType, message });
}

/** Return EIP-2098's 64 bytes as r, s, v in 65, as hexadecimal text. */
export function expand(signature) {
  const high = parseInt(signature[66], 16);
  return `${signature.slice(0, 66)}${(high & 7).toString(16)}${signature.slice(67)}${high & 8 ? "1c" : "1b"}`;
}

/** Return who signed a digest, or undefined where a contract would not take the signature for a key's. */
export async function signerOf(hash, signature) {
  const whole = signature.length === 130 ? expand(signature) : signature;
  if (whole.length !== 132 || !["1b", "1c"].includes(whole.slice(130).toLowerCase())) return undefined;
  if (BigInt(`0x${whole.slice(66, 130)}`) > HALF_ORDER) return undefined;
  try {
    return getAddress(await recoverAddress({ hash, signature: whole }));
  } catch {
    return undefined; // no key makes it
  }
}
