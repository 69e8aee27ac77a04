// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Account} from "./Account.sol";

/// @notice Where an account of the batch stands in the frame.
///
/// The frame is a batch's working set in memory. It stands where the compiler's free memory begins, so that every
/// word of it has an address known beforehand:
///
///     0x080  typehash | from | to | value | validAfter | validBefore | nonce      a payment, as it is hashed
///     0x0a0             typehash | from | hash | validAfter | validBefore | nonce   a bundle: both end at one word
///     0x160  typehash | to | value                                               a payment of a bundle
///     0x1c0  0x1901 (its last two bytes) | separator | struct hash               what the digest is over
///     0x220  digest | v | r | s                                                  what ecrecover takes
///     0x2a0  end of the accounts | of those that the loops take
///     0x2e0  items | where in calldata the batch ends
///     0x320  typehash of a bundle                                                put where a payment has its payer
///     0x340  the accounts, 2 words each: Account | address
///
/// @dev Assembly, since a batch's cost is what this project exists for: an account is read from storage once and
/// written once whatever the batch does with it, and nothing is copied to be hashed. The readable twin is
/// `liggare/payments/codec.py`, held against this by tests on random batches.
type Entry is uint256;

using {address_, account, setAccount} for Entry global;

uint256 constant FRAME = 0x80;
uint256 constant PAYMENT = 0x80; // 7 words
uint256 constant BUNDLE = 0xa0; // 6 words
uint256 constant FROM = 0xa0;
uint256 constant TO = 0xc0;
uint256 constant VALUE = 0xe0;
uint256 constant BUNDLE_FROM = 0xc0;
uint256 constant BUNDLE_HASH = 0xe0;
uint256 constant VALID_AFTER = 0x100;
uint256 constant VALID_BEFORE = 0x120;
uint256 constant NONCE = 0x140;
uint256 constant ROW = 0x160; // 3 words
uint256 constant ROW_TO = 0x180;
uint256 constant ROW_VALUE = 0x1a0;
uint256 constant DOMAIN = 0x1c0;
uint256 constant DOMAIN_BYTES = 0x1de; // where 0x1901 stands: 66 bytes from here are hashed
uint256 constant SEPARATOR = 0x1e0;
uint256 constant STRUCT_HASH = 0x200;
uint256 constant DIGEST = 0x220; // 4 words
uint256 constant V = 0x240;
uint256 constant R = 0x260;
uint256 constant S = 0x280;
uint256 constant ACCOUNTS = 0x2a0;
uint256 constant LOOPED = 0x2c0;
uint256 constant ITEMS = 0x2e0;
uint256 constant END = 0x300;
uint256 constant BUNDLE_TYPE = 0x320;
uint256 constant TABLE = 0x340;
uint256 constant ENTRY = 0x40; // bytes of an account in the table, as a power of two
uint256 constant ENTRY_BITS = 6;

/// @dev What the loops take of the table: 2^14 accounts, since a payer's place has 14 bits.
uint256 constant MAX_LOOPED = 0x100000;
/// @dev An offset in the table: 16 bits of place by the size of an entry.
uint256 constant OFFSET = 0x3fffc0;
/// @dev The greatest s that is not the high twin of another signature: half of the curve's order.
uint256 constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
uint256 constant MASK_255 = 0x7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff;
uint256 constant MASK_64 = 0xffffffffffffffff;
uint256 constant MASK_32 = 0xffffffff;

/// @notice Read the head of the batch, then its accounts from storage. Reverts unless they ascend strictly.
/// @dev To be called before anything else is put into memory.
/// @return next where in the batch the items begin
/// @return items how many there are
// solhint-disable-next-line function-max-lines
function openFrame(bytes calldata batch) view returns (uint256 next, uint256 items) {
    if (batch.length < 4) revert IZeroFeePayments.PaymentsBatchMalformed(batch.length);
    uint256 count;
    assembly ("memory-safe") {
        let head := calldataload(batch.offset)
        count := shr(240, head)
        items := and(shr(224, head), 0xffff)
        next := add(4, mul(count, 20))
    }
    if (batch.length < next) revert IZeroFeePayments.PaymentsBatchMalformed(batch.length);
    address previous;
    address found;
    assembly ("memory-safe") {
        // the compiler keeps this promise today; should it ever not, no batch is carried out
        if iszero(eq(mload(0x40), FRAME)) {
            invalid()
        }
        let end := add(TABLE, shl(ENTRY_BITS, count))
        mstore(0x40, end)
        mstore(DOMAIN, 0x1901)
        mstore(ACCOUNTS, end)
        mstore(ITEMS, items)
        mstore(END, add(batch.offset, batch.length))
        let entry := TABLE
        // -1, compared as a signed number, is below the zero address too
        let last := not(0)
        // declared last: on top of the stack it is cheapest to raise
        let at := add(batch.offset, 4)
        for {} 1 {} {
            let who := shr(96, calldataload(at))
            if iszero(and(sgt(who, last), lt(entry, end))) {
                break
            }
            mstore(entry, sload(not(who))) // Account.accountSlot
            mstore(add(entry, 0x20), who)
            last := who
            entry := add(entry, ENTRY)
            at := add(at, 20)
        }
        // left early: `found` does not follow `previous`
        count := sub(end, entry)
        previous := last
        found := shr(96, calldataload(at))
        // the zero address can neither pay nor be paid: a batch that has it (first, then) goes the readable way
        let looped := mul(sub(end, TABLE), lt(0, mload(add(TABLE, 0x20))))
        if gt(looped, MAX_LOOPED) {
            looped := MAX_LOOPED
        }
        mstore(LOOPED, add(TABLE, looped))
    }
    if (count != 0) revert IZeroFeePayments.PaymentsBatchAccountsUnsorted(previous, found);
}

/// @notice Put what the signatures are bound to where it is hashed.
function bindFrame(bytes32 separator, bytes32 paymentType, bytes32 rowType, bytes32 bundleType) pure {
    assembly ("memory-safe") {
        mstore(SEPARATOR, separator)
        mstore(PAYMENT, paymentType)
        mstore(ROW, rowType)
        mstore(BUNDLE_TYPE, bundleType)
    }
}

/// @notice Write every account back to storage.
function closeFrame() {
    assembly ("memory-safe") {
        let end := mload(ACCOUNTS)
        for {
            let entry := TABLE
        } 1 {
            entry := add(entry, ENTRY)
        } {
            if eq(entry, end) {
                break
            }
            sstore(not(mload(add(entry, 0x20))), mload(entry))
        }
    }
}

/// @notice Where the account at `place` stands. Reverts if there is none; `position` says where in the batch.
function entryAt(uint256 place, uint256 position) pure returns (Entry entry) {
    bool exists;
    assembly ("memory-safe") {
        entry := add(TABLE, shl(ENTRY_BITS, place))
        exists := lt(entry, mload(ACCOUNTS))
    }
    if (!exists) revert IZeroFeePayments.PaymentsBatchMalformed(position);
}

function address_(Entry entry) pure returns (address found) {
    assembly ("memory-safe") {
        found := mload(add(entry, 0x20))
    }
}

function account(Entry entry) pure returns (Account found) {
    assembly ("memory-safe") {
        found := mload(entry)
    }
}

function setAccount(Entry entry, Account changed) pure {
    assembly ("memory-safe") {
        mstore(entry, changed)
    }
}

/// @notice The struct hash of one payment; times and value are taken from the item's head.
function paymentHash(Entry payer, Entry payee, uint256 head, uint256 nonce) pure returns (bytes32 hash) {
    assembly ("memory-safe") {
        mstore(FROM, mload(add(payer, 0x20)))
        mstore(TO, mload(add(payee, 0x20)))
        mstore(VALUE, and(shr(128, head), MASK_64))
        mstore(VALID_AFTER, and(shr(96, head), MASK_32))
        mstore(VALID_BEFORE, shr(224, head))
        mstore(NONCE, nonce)
        hash := keccak256(PAYMENT, 0xe0)
    }
}

/// @notice Write the struct hash of one payment of a bundle to the memory word `to`.
function hashRow(Entry payee, uint256 value, uint256 to) pure {
    assembly ("memory-safe") {
        mstore(ROW_TO, mload(add(payee, 0x20)))
        mstore(ROW_VALUE, value)
        mstore(to, keccak256(ROW, 0x60))
    }
}

/// @notice The struct hash of a bundle whose payments' hashes are the `count` words at `hashes`.
function bundleHash(
    Entry payer,
    uint256 head,
    uint256 nonce,
    uint256 hashes,
    uint256 count
) pure returns (bytes32 hash) {
    assembly ("memory-safe") {
        mstore(BUNDLE, mload(BUNDLE_TYPE))
        mstore(BUNDLE_FROM, mload(add(payer, 0x20)))
        mstore(BUNDLE_HASH, keccak256(hashes, mul(count, 0x20)))
        mstore(VALID_AFTER, and(shr(96, head), MASK_32))
        mstore(VALID_BEFORE, shr(224, head))
        mstore(NONCE, nonce)
        hash := keccak256(BUNDLE, 0xc0)
    }
}

/// @notice The EIP-712 digest of a struct hash.
function digestOf(bytes32 hash) pure returns (bytes32 digest) {
    assembly ("memory-safe") {
        mstore(STRUCT_HASH, hash)
        digest := keccak256(DOMAIN_BYTES, 66)
    }
}

/// @notice Who signed: the key behind r and vs (EIP-2098), or zero. `ok` is false where the precompile lacked gas.
/// @dev An s in the upper half gives zero, as everywhere. The precompile fails for lack of gas only.
function recover(bytes32 digest, uint256 r, uint256 vs) view returns (address signer, bool ok) {
    assembly ("memory-safe") {
        let s := and(vs, MASK_255)
        mstore(DIGEST, digest)
        mstore(V, add(shr(255, vs), 27))
        mstore(R, r)
        mstore(S, s)
        mstore(0, 0)
        ok := staticcall(gas(), 1, DIGEST, 0x80, 0, 0x20)
        signer := mload(0)
        if gt(s, HALF_ORDER) {
            signer := 0
        }
    }
}
