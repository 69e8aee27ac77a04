// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What was said last of a guardian, in one word: address appointer | uint8 rights | uint48 until | uint40 version.
/// Packed by hand, as RecoverySlot is: Solidity's own way takes more code than a contract may have.
type GuardianSlot is uint256;

using {appointer, rights, until, version} for GuardianSlot global;

/// @notice A guardian that was appointed so.
function appointed(
    address appointer_,
    uint8 rights_,
    uint48 until_,
    uint40 version_
) pure returns (GuardianSlot) {
    return
        GuardianSlot.wrap(
            (uint256(uint160(appointer_)) << 96) |
                (uint256(rights_) << 88) |
                (uint256(until_) << 40) |
                version_
        );
}

/// @notice A guardian that is none any more.
function dismissed(uint40 version_) pure returns (GuardianSlot) {
    return GuardianSlot.wrap(version_);
}

/// @notice Who appointed it; zero where no appointment stands.
function appointer(GuardianSlot slot) pure returns (address) {
    return address(uint160(GuardianSlot.unwrap(slot) >> 96));
}

/// @notice Bits, as IRecordAccess has them; 0 where no appointment stands.
function rights(GuardianSlot slot) pure returns (uint8) {
    return uint8(GuardianSlot.unwrap(slot) >> 88);
}

/// @notice Unix time until which, exclusive, it may act.
function until(GuardianSlot slot) pure returns (uint48) {
    return uint48(GuardianSlot.unwrap(slot) >> 40);
}

/// @notice How many messages about this guardian have landed.
function version(GuardianSlot slot) pure returns (uint40) {
    return uint40(GuardianSlot.unwrap(slot));
}
