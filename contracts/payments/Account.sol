// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice One account in one word: uint128 balance | uint64 nonceBase | uint64 nonceWindow.
type Account is uint256;

using {balance, credit, debit, nonceBase, nonceWindow, isNonceUsed, useNonce} for Account global;

/// @notice The storage slot of an account: its address, every bit turned.
/// @dev Dearer to reach would be a mapping's keccak256(address . slot). No other variable can lie there: the first 96
/// bits are ones; variables have small numbers, and what stands in mappings has a hash for its number. Whoever could
/// make such a hash an account's slot, with the key of that account in hand, had found a collision in all 256 bits,
/// which would break a mapping as well (docs/decisions/payments-batch.md).
function accountSlot(address who) pure returns (uint256) {
    return ~uint256(uint160(who));
}

/// @notice An account as it stands in storage.
function loadAccount(address who) view returns (Account account) {
    uint256 slot = accountSlot(who);
    assembly ("memory-safe") {
        account := sload(slot)
    }
}

/// @notice Write an account to storage.
function storeAccount(address who, Account account) {
    uint256 slot = accountSlot(who);
    assembly ("memory-safe") {
        sstore(slot, account)
    }
}

/// @notice The money in it, in units of 10^-6.
function balance(Account account) pure returns (uint256) {
    return Account.unwrap(account) >> 128;
}

/// @notice The account with `value` more.
/// @dev The caller makes sure that the sum fits in 128 bits: all money together does.
function credit(Account account, uint256 value) pure returns (Account) {
    unchecked {
        return Account.wrap(Account.unwrap(account) + (value << 128));
    }
}

/// @notice The account with `value` less.
/// @dev The caller makes sure that value <= balance.
function debit(Account account, uint256 value) pure returns (Account) {
    unchecked {
        return Account.wrap(Account.unwrap(account) - (value << 128));
    }
}

/// @notice The highest counter nonce used.
function nonceBase(Account account) pure returns (uint64) {
    return uint64(Account.unwrap(account) >> 64);
}

/// @notice Bit i: the counter nonce nonceBase - i is used.
function nonceWindow(Account account) pure returns (uint64) {
    return uint64(Account.unwrap(account));
}

/// @notice Whether a counter nonce is used or has fallen out of the window.
function isNonceUsed(Account account, uint64 nonce) pure returns (bool) {
    uint256 base = account.nonceBase();
    if (nonce > base) return false;
    unchecked {
        uint256 behind = base - nonce;
        return behind > 63 || (Account.unwrap(account) >> behind) & 1 == 1;
    }
}

/// @notice The account with a counter nonce used.
/// @dev The caller makes sure that it was not. RFC 6479, section 2: slide, then set.
function useNonce(Account account, uint64 nonce) pure returns (Account) {
    uint256 base = account.nonceBase();
    unchecked {
        if (nonce <= base) return Account.wrap(Account.unwrap(account) | (1 << (base - nonce)));
        uint256 ahead = nonce - base;
        // cut to 64 bits: what slides out on the left is forgotten and counts as used from now on
        uint256 window = ahead > 63 ? 1 : uint64((uint256(account.nonceWindow()) << ahead) | 1);
        return Account.wrap((account.balance() << 128) | (uint256(nonce) << 64) | window);
    }
}
