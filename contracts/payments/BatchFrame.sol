// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Account} from "./Account.sol";

/// @notice Where in memory a batch keeps its working set: the words to be hashed, then the accounts.
///
///     0x000  typehash | from | to | value | validAfter | validBefore | nonce     one payment's struct (7 words)
///     0x0e0  0x1901 (its last two bytes) | separator | struct hash               what the digest is over
///     0x140  digest | v | r | s                                                  what ecrecover takes
///     0x1c0  what ecrecover gives
///     0x1e0  how many accounts
///     0x200  the accounts, 3 words each: address | storage slot | Account
///
/// @dev Assembly, since a batch's cost is what this project exists for: an account is read from storage once and
/// written once whatever the batch does with it, and nothing is copied to be hashed. The readable twin is
/// `liggare/payments/codec.py`, held against this by tests on random batches.
type BatchFrame is uint256;

using {
    address_,
    account,
    setAccount,
    structHash,
    hashPayment,
    bundleHash,
    digestOf,
    recover
} for BatchFrame global;

uint256 constant ENTRY = 0x60;
uint256 constant TABLE = 0x200;

/// @notice Read the accounts from `batch` and storage. Reverts unless they ascend strictly.
/// @param slot the storage slot of the mapping address -> Account
function openFrame(
    bytes calldata batch,
    uint256 count,
    uint256 slot,
    bytes32 separator
) view returns (BatchFrame frame) {
    if (batch.length < 4 + count * 20) revert IZeroFeePayments.PaymentsBatchMalformed(batch.length);
    address previous;
    address found;
    bool sorted = true;
    assembly ("memory-safe") {
        frame := mload(0x40)
        let entry := add(frame, TABLE)
        let end := add(entry, mul(count, ENTRY))
        mstore(0x40, end)
        mstore(add(frame, 0xe0), 0x1901)
        mstore(add(frame, 0x100), separator)
        mstore(add(frame, 0x1e0), count)
        mstore(0x20, slot)
        for {
            let at := add(batch.offset, 4)
        } lt(entry, end) {
            entry := add(entry, ENTRY)
            at := add(at, 20)
        } {
            found := shr(96, calldataload(at))
            // the first may be any address, the zero address too
            if iszero(or(gt(found, previous), eq(entry, add(frame, TABLE)))) {
                sorted := 0
                break
            }
            previous := found
            mstore(0, found)
            let key := keccak256(0, 0x40)
            mstore(entry, found)
            mstore(add(entry, 0x20), key)
            mstore(add(entry, 0x40), sload(key))
        }
    }
    if (!sorted) revert IZeroFeePayments.PaymentsBatchAccountsUnsorted(previous, found);
}

/// @notice Write every account back to storage.
function closeFrame(BatchFrame frame) {
    assembly ("memory-safe") {
        let entry := add(frame, TABLE)
        let end := add(entry, mul(mload(add(frame, 0x1e0)), ENTRY))
        for {} lt(entry, end) {
            entry := add(entry, ENTRY)
        } {
            sstore(mload(add(entry, 0x20)), mload(add(entry, 0x40)))
        }
    }
}

/// @notice Where the account at `place` stands. Reverts if there is none; `position` says where in the batch.
function entryAt(BatchFrame frame, uint256 place, uint256 position) pure returns (uint256 entry) {
    uint256 count;
    assembly ("memory-safe") {
        count := mload(add(frame, 0x1e0))
        entry := add(add(frame, TABLE), mul(place, ENTRY))
    }
    if (place >= count) revert IZeroFeePayments.PaymentsBatchMalformed(position);
}

function address_(BatchFrame, uint256 entry) pure returns (address found) {
    assembly ("memory-safe") {
        found := mload(entry)
    }
}

function account(BatchFrame, uint256 entry) pure returns (Account found) {
    assembly ("memory-safe") {
        found := mload(add(entry, 0x40))
    }
}

function setAccount(BatchFrame, uint256 entry, Account changed) pure {
    assembly ("memory-safe") {
        mstore(add(entry, 0x40), changed)
    }
}

/// @notice The struct hash of one payment; times and value are taken from the item's head.
function structHash(
    BatchFrame frame,
    bytes32 typehash,
    uint256 payer,
    uint256 payee,
    uint256 head,
    uint256 nonce
) pure returns (bytes32 hash) {
    assembly ("memory-safe") {
        mstore(frame, typehash)
        mstore(add(frame, 0x20), mload(payer))
        mstore(add(frame, 0x40), mload(payee))
        mstore(add(frame, 0x60), and(shr(144, head), 0xffffffffffffffffffff))
        mstore(add(frame, 0x80), and(shr(104, head), 0xffffffffff))
        mstore(add(frame, 0xa0), and(shr(64, head), 0xffffffffff))
        mstore(add(frame, 0xc0), nonce)
        hash := keccak256(frame, 0xe0)
    }
}

/// @notice Write the struct hash of one payment of a bundle to the memory word `to`.
function hashPayment(BatchFrame frame, bytes32 typehash, uint256 payee, uint256 value, uint256 to) pure {
    assembly ("memory-safe") {
        mstore(frame, typehash)
        mstore(add(frame, 0x20), mload(payee))
        mstore(add(frame, 0x40), value)
        mstore(to, keccak256(frame, 0x60))
    }
}

/// @notice The struct hash of a bundle whose payments' hashes are the `count` words at `hashes`.
function bundleHash(
    BatchFrame frame,
    bytes32 typehash,
    uint256 payer,
    uint256 head,
    uint256 nonce,
    uint256 hashes,
    uint256 count
) pure returns (bytes32 hash) {
    assembly ("memory-safe") {
        mstore(frame, typehash)
        mstore(add(frame, 0x20), mload(payer))
        mstore(add(frame, 0x40), keccak256(hashes, mul(count, 0x20)))
        mstore(add(frame, 0x60), and(shr(104, head), 0xffffffffff))
        mstore(add(frame, 0x80), and(shr(64, head), 0xffffffffff))
        mstore(add(frame, 0xa0), nonce)
        hash := keccak256(frame, 0xc0)
    }
}

/// @notice The EIP-712 digest of a struct hash.
function digestOf(BatchFrame frame, bytes32 hash) pure returns (bytes32 digest) {
    assembly ("memory-safe") {
        mstore(add(frame, 0x120), hash)
        digest := keccak256(add(frame, 0xfe), 0x42)
    }
}

/// @notice Who signed: the key behind r and vs (EIP-2098), or zero. `ok` is false where the precompile lacked gas.
/// @dev An s in the upper half gives zero, as everywhere. The precompile fails for lack of gas only.
function recover(
    BatchFrame frame,
    bytes32 digest,
    uint256 r,
    uint256 vs
) view returns (address signer, bool ok) {
    assembly ("memory-safe") {
        let s := and(vs, 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff)
        mstore(add(frame, 0x140), digest)
        mstore(add(frame, 0x160), add(shr(255, vs), 27))
        mstore(add(frame, 0x180), r)
        mstore(add(frame, 0x1a0), s)
        mstore(add(frame, 0x1c0), 0)
        ok := staticcall(gas(), 1, add(frame, 0x140), 0x80, add(frame, 0x1c0), 0x20)
        signer := mload(add(frame, 0x1c0))
        if gt(s, 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0) {
            signer := 0
        }
    }
}
