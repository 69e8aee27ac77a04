// The signed payments in a transaction's calldata; the twin of liggare/payments/codec.py. The manual is IZeroFeePayments.
import { decodeFunctionData, encodePacked, getAddress, toHex } from "viem";
import { money, paid } from "./abi.js";
import { Cursor } from "./bytes.js";
import { expand } from "./messages.js";
import { Unknown } from "./steps.js";

const LONG_NONCE = 1n << 159n;
const WALLET = 1n << 158n;
const BUNDLE = 1n << 143n;
const MAX_SIGNATURE = 8192;

/** Unpack a batch of `payBatch`: [{type, message, payments, signature}, …]. Throws where the contract would revert. */
export function decodeBatch(batch) {
  const cursor = new Cursor(batch);
  const [accountCount, itemCount] = [cursor.number(2), cursor.number(2)];
  const accounts = Array.from({ length: accountCount }, () => cursor.take(20));
  for (let i = 1; i < accountCount; i++) {
    if (accounts[i - 1].toLowerCase() >= accounts[i].toLowerCase())
      throw new Error("the batch's accounts do not ascend");
  }
  const items = Array.from({ length: itemCount }, () => decodeItem(cursor, accounts));
  cursor.end();
  return items;
}

function decodeItem(cursor, accounts) {
  const head = cursor.big(24);
  const part = (shift, bits) => (head >> shift) & ((1n << bits) - 1n);
  const account = (place) => {
    if (place >= accounts.length) throw new Error(`the batch has no account ${place}`);
    return getAddress(accounts[Number(place)]);
  };
  const from = account(part(144n, 14n));
  let nonce = part(0n, 32n);
  if (head & LONG_NONCE) {
    if (nonce) throw new Error("a long nonce that is none");
    nonce = cursor.big(32);
    if (nonce < 1n << 32n) throw new Error("a long nonce that is none");
  }
  let signature;
  if (head & WALLET) {
    const length = Number(cursor.big(32));
    if (length > MAX_SIGNATURE) throw new Error(`a signature of ${length} bytes`);
    signature = cursor.take(Math.ceil(length / 32) * 32).slice(0, 2 + 2 * length);
  } else {
    signature = expand(cursor.take(64));
  }
  const rest = { validAfter: part(32n, 32n), validBefore: head >> 160n, nonce: toHex(nonce, { size: 32 }) };
  const [place, value] = [part(128n, 15n), part(64n, 64n)];
  if (!(head & BUNDLE)) {
    const payment = { to: account(place), value };
    return one("TransferWithAuthorization", { from, ...payment, ...rest }, signature);
  }
  if (!place || value) throw new Error("a bundle of nothing, or with a value of its own");
  const payments = Array.from({ length: Number(place) }, () => ({
    to: account(cursor.number(2)),
    value: cursor.big(8),
  }));
  return { type: "PaymentBundle", message: { from, payments, ...rest }, payments, signature };
}

function one(type, message, signature) {
  return { type, message, payments: [{ to: message.to, value: message.value }], signature };
}

/** Return {items} that were signed, or {plain: what the sender itself did}, of a transaction and the nonce it used.
 *
 * A contract that is paid names the nonce by a hash of its purpose: there it is taken from the event, and the
 * signature over the whole message shows whether it is that one. Throws Unknown for calldata that is none of these.
 */
export function signedPayments(transaction, contract, nonce) {
  const to = transaction.to && getAddress(transaction.to);
  try {
    if (to === getAddress(contract)) return ofMoney(transaction.input);
    return { items: [ofPaid(to, transaction.input, nonce)] };
  } catch (error) {
    if (error.name === "AbiFunctionSignatureNotFoundError")
      throw new Unknown("calldata", transaction.input.slice(0, 10));
    throw error;
  }
}

function ofMoney(data) {
  const { functionName, args } = decodeFunctionData({ abi: money, data });
  if (functionName === "payBatch") return { items: decodeBatch(args[0]) };
  if (functionName === "transfer" || functionName === "mint") {
    return { plain: functionName, to: args[0], value: args[1] };
  }
  const type = `${functionName[0].toUpperCase()}${functionName.slice(1)}`;
  const [from, to, value, validAfter, validBefore, nonce, ...signature] = args;
  const bytes =
    signature.length === 1
      ? signature[0]
      : encodePacked(["bytes32", "bytes32", "uint8"], [signature[1], signature[2], signature[0]]);
  return { items: [one(type, { from, to, value, validAfter, validBefore, nonce }, bytes)] };
}

function ofPaid(to, data, nonce) {
  const { functionName, args } = decodeFunctionData({ abi: paid, data });
  if (functionName === "deposit") {
    const [, from, value, validAfter, validBefore, , signature] = args;
    return one("ReceiveWithAuthorization", { from, to, value, validAfter, validBefore, nonce }, signature);
  }
  const [{ buyer: from, value }, validAfter, validBefore, signature] = args;
  return one("ReceiveWithAuthorization", { from, to, value, validAfter, validBefore, nonce }, signature);
}
