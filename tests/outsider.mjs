// An EIP-712 implementation that is not ours (ethers), to check ours against.
//
//   stdin   [{"typedData": {types, primaryType, domain, message}, "signature": "0x…" (optional)}, …]
//   stdout  [{"digest": "0x…", "signer": "0x…" or null}, …]
import { readFileSync } from "node:fs";
import { TypedDataEncoder, verifyTypedData } from "ethers";

const answers = JSON.parse(readFileSync(0, "utf8")).map(({ typedData, signature }) => {
    const { EIP712Domain, ...types } = typedData.types; // ethers makes the domain's type itself
    const words = [typedData.domain, types, typedData.message];
    return {
        digest: TypedDataEncoder.hash(...words),
        signer: signature ? verifyTypedData(...words, signature) : null,
    };
});
console.log(JSON.stringify(answers));
