// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title Who signed this digest
/// @notice Plain keys first (r, s, v in 65 bytes, or EIP-2098's 64; s in the lower half), then contract wallets.
library Signatures {
    /// @notice What a contract wallet may burn to answer, in gas. Enough for a 2-of-3 wallet, small beside a block.
    uint256 internal constant WALLET_GAS = 150_000;

    /// @notice Whether `signer`'s own key signed `digest`.
    function isKeySignature(
        address signer,
        bytes32 digest,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) internal pure returns (bool) {
        (address recovered, ECDSA.RecoverError problem, ) = ECDSA.tryRecover(digest, v, r, s);
        return problem == ECDSA.RecoverError.NoError && recovered == signer;
    }

    /// @notice Whether `signature` is `signer`'s over `digest`: by its own key, or by asking it as an ERC-1271 wallet.
    /// @dev The wallet is called with WALLET_GAS and can't write. The key is tried first, so an account with
    /// delegated code (EIP-7702) may still use it.
    function isSignature(
        address signer,
        bytes32 digest,
        bytes calldata signature
    ) internal view returns (bool) {
        if (signature.length == 65) {
            bytes32 r = bytes32(signature[:32]);
            bytes32 s = bytes32(signature[32:64]);
            if (isKeySignature(signer, digest, uint8(signature[64]), r, s)) return true;
        } else if (signature.length == 64) {
            bytes32 vs = bytes32(signature[32:]);
            uint8 v = uint8(uint256(vs) >> 255) + 27;
            if (
                isKeySignature(
                    signer,
                    digest,
                    v,
                    bytes32(signature[:32]),
                    vs & bytes32(type(uint256).max >> 1)
                )
            ) return true;
        }
        return signer.code.length != 0 && isWalletSignature(signer, digest, signature);
    }

    /// @notice Whether the contract wallet `signer` takes `signature` for `digest` (ERC-1271).
    function isWalletSignature(
        address signer,
        bytes32 digest,
        bytes calldata signature
    ) internal view returns (bool valid) {
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bytes4 magic = IERC1271.isValidSignature.selector;
        // Assembly to copy one word of the answer only: a long one would cost the caller, not the wallet.
        assembly ("memory-safe") {
            mstore(0, 0)
            let ok := staticcall(WALLET_GAS, signer, add(question, 32), mload(question), 0, 32)
            valid := and(and(ok, gt(returndatasize(), 31)), eq(mload(0), magic))
        }
    }
}
