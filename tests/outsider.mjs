// EIP-712 implementations that are not ours, to check ours against: ethers, viem and MetaMask's eth-sig-util.
//
//   stdin   [{"typedData": {types, primaryType, domain, message},
//             "library": "ethers" (the default), "viem" or "eth-sig-util",
//             "signature": "0x…" (optional: whose is it?), "key": "0x…" (optional: sign with it)}, …]
//   stdout  [{"digest": "0x…", "signer": "0x…" or null, "signature": "0x…" where a key was given}, …]
import { readFileSync } from "node:fs";
import sigUtil from "@metamask/eth-sig-util";
import { TypedDataEncoder, Wallet, getAddress, verifyTypedData } from "ethers";
import { hashTypedData, recoverTypedDataAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const V4 = sigUtil.SignTypedDataVersion.V4;
const hex = (bytes) => "0x" + Buffer.from(bytes).toString("hex");

function words({ domain, types, message }) {
    const { EIP712Domain, ...rest } = types; // ethers makes the domain's type itself
    return [domain, rest, message];
}

const libraries = {
    ethers: {
        digest: (data) => TypedDataEncoder.hash(...words(data)),
        signer: (data, signature) => verifyTypedData(...words(data), signature),
        sign: (data, key) => new Wallet(key).signTypedData(...words(data)),
    },
    viem: {
        digest: (data) => hashTypedData(data),
        signer: (data, signature) => recoverTypedDataAddress({ ...data, signature }),
        sign: (data, key) => privateKeyToAccount(key).signTypedData(data),
    },
    "eth-sig-util": {
        digest: (data) => hex(sigUtil.TypedDataUtils.eip712Hash(data, V4)),
        signer: (data, signature) => getAddress(sigUtil.recoverTypedSignature({ data, signature, version: V4 })),
        sign: (data, key) =>
            sigUtil.signTypedData({ privateKey: Buffer.from(key.slice(2), "hex"), data, version: V4 }),
    },
};

const answers = [];
for (const { typedData, library = "ethers", signature, key } of JSON.parse(readFileSync(0, "utf8"))) {
    const { digest, signer, sign } = libraries[library];
    answers.push({
        digest: digest(typedData),
        signer: signature ? await signer(typedData, signature) : null,
        ...(key && { signature: await sign(typedData, key) }),
    });
}
console.log(JSON.stringify(answers));
