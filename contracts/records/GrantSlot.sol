// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice One grant in one word: bytes22 terms | uint40 epoch | uint40 version.
type GrantSlot is uint256;

using {terms, epoch, version, matches} for GrantSlot global;

/// @notice A grant of these terms.
function granted(bytes32 hash, uint40 epoch_, uint40 version_) pure returns (GrantSlot) {
    return GrantSlot.wrap(((uint256(hash) >> 80) << 80) | (uint256(epoch_) << 40) | version_);
}

/// @notice A grant that is none any more.
function revoked(uint40 version_) pure returns (GrantSlot) {
    return GrantSlot.wrap(version_);
}

/// @notice The upper 176 bits of the hash of the terms; 0 where nothing is granted.
function terms(GrantSlot slot) pure returns (bytes22) {
    return bytes22(bytes32(GrantSlot.unwrap(slot)));
}

/// @notice The patient's epoch when it was granted.
function epoch(GrantSlot slot) pure returns (uint40) {
    return uint40(GrantSlot.unwrap(slot) >> 40);
}

/// @notice How many messages about this key have landed.
function version(GrantSlot slot) pure returns (uint40) {
    return uint40(GrantSlot.unwrap(slot));
}

/// @notice Whether the grant is of the terms with this hash.
function matches(GrantSlot slot, bytes32 hash) pure returns (bool) {
    return slot.terms() == bytes22(hash);
}
