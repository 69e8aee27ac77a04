// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A patient's recovery but for the successor: uint8 threshold | uint32 delay | uint48 readyAt | uint40 version.
type RecoverySlot is uint256;

using {threshold, delay, readyAt, version} for RecoverySlot global;

/// @notice A recovery of this kind; `readyAt_` is 0 where none is on its way.
function recovery(
    uint8 threshold_,
    uint32 delay_,
    uint48 readyAt_,
    uint40 version_
) pure returns (RecoverySlot) {
    return
        RecoverySlot.wrap(
            (uint256(threshold_) << 120) | (uint256(delay_) << 88) | (uint256(readyAt_) << 40) | version_
        );
}

/// @notice How many guardians it takes; 0: there is no recovery.
function threshold(RecoverySlot slot) pure returns (uint8) {
    return uint8(RecoverySlot.unwrap(slot) >> 120);
}

/// @notice Seconds from start to completion.
function delay(RecoverySlot slot) pure returns (uint32) {
    return uint32(RecoverySlot.unwrap(slot) >> 88);
}

/// @notice Unix time from which, inclusive, the one on its way can be completed; 0 for none.
function readyAt(RecoverySlot slot) pure returns (uint48) {
    return uint48(RecoverySlot.unwrap(slot) >> 40);
}

/// @notice How many messages about this patient's recovery have landed.
function version(RecoverySlot slot) pure returns (uint40) {
    return uint40(RecoverySlot.unwrap(slot));
}
