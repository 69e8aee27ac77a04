// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice What clearing changes of a home, in one word:
///
///     bits 255..160  balance   int96, units of 10^-6; below zero it is debt to the utility
///     bits 159..112  imported  Wh counted up to which all is settled
///     bits 111..64   exported  Wh counted up to which all is settled
///     bits  63..40   nextFrom  slot in which the first waiting order begins; NEVER where none waits
///     bits  39..36   head      place in the ring of the first waiting order
///     bits  35..32   waiting   how many orders wait
///     bits  31..0    seq       of the newest order placed
type Home is uint256;

/// @notice What clearing only reads of a home, in one word: uint160 meter | uint96 Order in force.
type Wish is uint256;

/// @notice An order's terms: uint24 buyLimit | uint24 sellLimit | uint24 cap | uint24 untilSlot. A waiting one has
/// its uint24 fromSlot above them.
type Terms is uint256;

/// @dev The first slot that never comes, and the sell limit that never sells.
uint256 constant NEVER = type(uint24).max;
/// @dev How many orders of a home can wait.
uint256 constant RING = 15;

using {
    balance,
    counters,
    imported,
    exported,
    nextFrom,
    head,
    waiting,
    seq,
    withBalance,
    withCounters,
    plus,
    advanced,
    withQueue,
    withSeq
} for Home global;
using {meter, terms, withMeter, withTerms} for Wish global;
using {buyLimit, sellLimit, cap, untilSlot, fromSlot} for Terms global;

function toHome(uint256 imported_, uint256 exported_) pure returns (Home) {
    return Home.wrap((imported_ << 112) | (exported_ << 64) | (NEVER << 40));
}

function balance(Home home) pure returns (int256) {
    return int256(Home.unwrap(home)) >> 160;
}

/// @notice Both counters: uint48 imported | uint48 exported.
function counters(Home home) pure returns (uint256) {
    return uint96(Home.unwrap(home) >> 64);
}

function imported(Home home) pure returns (uint256) {
    return uint48(Home.unwrap(home) >> 112);
}

function exported(Home home) pure returns (uint256) {
    return uint48(Home.unwrap(home) >> 64);
}

function nextFrom(Home home) pure returns (uint256) {
    return uint24(Home.unwrap(home) >> 40);
}

function head(Home home) pure returns (uint256) {
    return (Home.unwrap(home) >> 36) & 15;
}

function waiting(Home home) pure returns (uint256) {
    return (Home.unwrap(home) >> 32) & 15;
}

function seq(Home home) pure returns (uint256) {
    return uint32(Home.unwrap(home));
}

/// @dev The caller makes sure that the balance fits in 96 bits.
function withBalance(Home home, int256 balance_) pure returns (Home) {
    return Home.wrap((uint256(balance_) << 160) | uint160(Home.unwrap(home)));
}

/// @notice The home with other counters: uint48 imported | uint48 exported.
function withCounters(Home home, uint256 counters_) pure returns (Home) {
    uint256 mask = uint256(type(uint96).max) << 64;
    return Home.wrap((Home.unwrap(home) & ~mask) | (counters_ << 64));
}

/// @notice The home with so much more money, or less where `change` is below zero.
/// @dev The balance lies at the top of the word, so a sum in two's complement touches nothing else. The caller makes
/// sure that it fits in 96 bits.
function plus(Home home, int256 change) pure returns (Home) {
    unchecked {
        return Home.wrap(Home.unwrap(home) + (uint256(change) << 160));
    }
}

/// @notice The home after its meter has counted so much more, Wh.
/// @dev The caller makes sure that both counters have room for it.
function advanced(Home home, uint256 imported_, uint256 exported_) pure returns (Home) {
    unchecked {
        return Home.wrap(Home.unwrap(home) + (imported_ << 112) + (exported_ << 64));
    }
}

/// @dev An empty ring begins at 0 again, so that a home with one waiting order at a time uses one slot for ever.
function withQueue(Home home, uint256 head_, uint256 waiting_, uint256 nextFrom_) pure returns (Home) {
    uint256 queue = waiting_ == 0 ? NEVER << 8 : (nextFrom_ << 8) | ((head_ & 15) << 4) | waiting_;
    uint256 mask = uint256(type(uint32).max) << 32;
    return Home.wrap((Home.unwrap(home) & ~mask) | (queue << 32));
}

/// @dev The caller makes sure that the number fits in 32 bits.
function withSeq(Home home, uint256 seq_) pure returns (Home) {
    return Home.wrap(((Home.unwrap(home) >> 32) << 32) | seq_);
}

function toWish(address meter_) pure returns (Wish) {
    return Wish.wrap((uint256(uint160(meter_)) << 96) | Terms.unwrap(toTerms(0, NEVER, 0, 0)));
}

function meter(Wish wish) pure returns (address) {
    return address(uint160(Wish.unwrap(wish) >> 96));
}

function terms(Wish wish) pure returns (Terms) {
    return Terms.wrap(uint96(Wish.unwrap(wish)));
}

function withMeter(Wish wish, address meter_) pure returns (Wish) {
    return Wish.wrap((uint256(uint160(meter_)) << 96) | uint96(Wish.unwrap(wish)));
}

/// @dev A waiting order's fromSlot is dropped.
function withTerms(Wish wish, Terms terms_) pure returns (Wish) {
    return Wish.wrap(((Wish.unwrap(wish) >> 96) << 96) | uint96(Terms.unwrap(terms_)));
}

function toTerms(
    uint256 buyLimit_,
    uint256 sellLimit_,
    uint256 cap_,
    uint256 untilSlot_
) pure returns (Terms) {
    return Terms.wrap((buyLimit_ << 72) | (sellLimit_ << 48) | (cap_ << 24) | untilSlot_);
}

function buyLimit(Terms terms_) pure returns (uint256) {
    return uint24(Terms.unwrap(terms_) >> 72);
}

function sellLimit(Terms terms_) pure returns (uint256) {
    return uint24(Terms.unwrap(terms_) >> 48);
}

function cap(Terms terms_) pure returns (uint256) {
    return uint24(Terms.unwrap(terms_) >> 24);
}

function untilSlot(Terms terms_) pure returns (uint256) {
    return uint24(Terms.unwrap(terms_));
}

function fromSlot(Terms terms_) pure returns (uint256) {
    return uint24(Terms.unwrap(terms_) >> 96);
}
