// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IZeroFeePayments} from "./IZeroFeePayments.sol";

/// @title Purchases without a middleman
/// @notice The buyer's money waits here until the purchase ends, and then goes to the seller or back, as the two
/// agreed before. One ERC-3009 ReceiveWithAuthorization pays it in: its nonce is the purchase's id, the EIP-712
/// hash of all terms, so the buyer signs once and nobody can pay in under other terms.
///
///     None -> Open -> Released      the buyer says so
///                  -> Refunded      the seller says so
///                  -> Claimed       the seller says so while the buyer is silent: after claimAfter, up to reclaimAfter
///                  -> Reclaimed     anyone, after reclaimAfter: both were silent, the money goes back
///                  -> Arbitrated    the arbiter divides it, where buyer and seller both named one
///
/// At every moment at most one of claim and reclaim is possible. Money only ever goes to the buyer or to the seller.
/// @dev Nobody has a role here. Every message may be carried by anyone; signatures are 65 bytes (r, s, v), 64
/// (EIP-2098) or whatever a contract wallet takes by ERC-1271. A purchase is one storage slot, which is never
/// zeroed, so that the same purchase is never paid in twice. Money sent here by a plain transfer belongs to no
/// purchase: it changes nothing and nobody can move it.
interface IEscrow {
    // ------------------------------------------------------------------ types

    /// @notice Where a purchase stands. The last five are final.
    enum State {
        None,
        Open,
        Released,
        Refunded,
        Claimed,
        Reclaimed,
        Arbitrated
    }

    /// @notice The terms of a purchase, which buyer and seller know before anything is paid.
    /// @param buyer who pays
    /// @param seller who is paid
    /// @param arbiter who may divide the money at any time while the purchase is open; zero: nobody
    /// @param value amount in units of 10^-6
    /// @param claimAfter unix time; strictly after it the seller may claim. Also the last moment to pay in, and an
    /// arbiter's time to decide before the seller can act
    /// @param reclaimAfter unix time, at least claimAfter; strictly after it the money goes back. Equal to
    /// claimAfter: the seller can't claim at all and depends on the buyer's word
    /// @param orderHash hash of what was ordered and a salt, so that the order can't be guessed from it
    struct Purchase {
        address buyer;
        address seller;
        address arbiter;
        uint256 value;
        uint256 claimAfter;
        uint256 reclaimAfter;
        bytes32 orderHash;
    }

    // ------------------------------------------------------------------ errors

    /// @notice `seller` can't be paid: the zero address, this contract or the money itself.
    error EscrowInvalidSeller(address seller);
    /// @notice The money would go back (`reclaimAfter`) before the seller can claim it (`claimAfter`).
    error EscrowBadDeadlines(uint256 claimAfter, uint256 reclaimAfter);
    /// @notice A purchase is paid in up to `claimAfter`, and now it is `timestamp`.
    error EscrowTooLate(uint256 claimAfter, uint256 timestamp);
    /// @notice This purchase was paid in before; it stands at `state`.
    error EscrowFundedBefore(bytes32 id, State state);
    /// @notice Only an open purchase can end; this one stands at `state`. None: these terms were never paid in.
    error EscrowNotOpen(bytes32 id, State state);
    /// @notice The signature is not `signer`'s over exactly this message.
    error EscrowInvalidSignature(address signer);
    /// @notice This is possible strictly after the deadline `opensAfter`, and now it is `timestamp`.
    error EscrowTooEarly(uint256 opensAfter, uint256 timestamp);
    /// @notice The seller could claim up to `reclaimAfter`, and now it is `timestamp`: the money goes back.
    error EscrowClaimOver(uint256 reclaimAfter, uint256 timestamp);
    /// @notice The two named no arbiter.
    error EscrowNoArbiter(bytes32 id);
    /// @notice `toBuyer` and `toSeller` are not `value` together.
    error EscrowBadSplit(uint256 toBuyer, uint256 toSeller, uint256 value);

    // ------------------------------------------------------------------ events

    /// @notice The buyer's money for this purchase has come in.
    event PurchaseFunded(
        bytes32 indexed id,
        address indexed buyer,
        address indexed seller,
        address arbiter,
        uint256 value,
        uint256 claimAfter,
        uint256 reclaimAfter,
        bytes32 orderHash
    );
    /// @notice The buyer gave the money to the seller.
    event PurchaseReleased(bytes32 indexed id);
    /// @notice The seller gave the money back to the buyer.
    event PurchaseRefunded(bytes32 indexed id);
    /// @notice The buyer was silent; the seller took the money.
    event PurchaseClaimed(bytes32 indexed id);
    /// @notice Both were silent; the money went back to the buyer.
    event PurchaseReclaimed(bytes32 indexed id);
    /// @notice The arbiter divided the money.
    event PurchaseArbitrated(bytes32 indexed id, uint256 toBuyer, uint256 toSeller);

    // ------------------------------------------------------------------ actions

    /// @notice Pay a purchase in. Anyone may call, with the buyer's signature.
    /// @dev The buyer signs the money's ReceiveWithAuthorization(from: buyer, to: this contract, value, validAfter,
    /// validBefore, nonce: the purchase's id). The id is the EIP-712 digest of Purchase(address buyer,address seller,
    /// address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash); it is below 2^64,
    /// and so a counter nonce, by a chance of 2^-192 only. Reverts with the money's errors where the payment can't be
    /// taken: PaymentsInvalidSignature, PaymentsNonceUsed (the buyer gave it up), PaymentsInsufficientBalance, …
    /// @param purchase the terms
    /// @param validAfter unix time; the payment is valid strictly after it
    /// @param validBefore unix time; the payment is valid strictly before it
    /// @param signature the buyer's
    /// @param offer the seller's signature over Purchase. Needed where an arbiter is named: so both named it;
    /// without an arbiter it is not looked at
    function fund(
        Purchase calldata purchase,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature,
        bytes calldata offer
    ) external;

    /// @notice Give the money to the seller, by the buyer's signature. At any time while the purchase is open.
    /// @dev Typed data: Release(Purchase purchase), so that a wallet shows the terms. Anyone may call.
    function release(Purchase calldata purchase, bytes calldata signature) external;

    /// @notice Give the money back, by the seller's signature. At any time while the purchase is open.
    /// @dev Typed data: Refund(Purchase purchase). Anyone may call.
    function refund(Purchase calldata purchase, bytes calldata signature) external;

    /// @notice Take the money for the seller, by the seller's signature, while the buyer is silent: strictly after
    /// claimAfter, up to and including reclaimAfter. The buyer has no word against a claim: who doubts the seller wants an
    /// arbiter in the terms, who decides before claimAfter, or equal deadlines.
    /// @dev Typed data: Claim(Purchase purchase). Anyone may call.
    function claim(Purchase calldata purchase, bytes calldata signature) external;

    /// @notice Send the money back to the buyer, strictly after reclaimAfter. Anyone may call; nobody signs.
    function reclaim(Purchase calldata purchase) external;

    /// @notice Divide the money by the arbiter's signature. At any time while the purchase is open.
    /// @dev Typed data: Arbitration(Purchase purchase,uint256 toBuyer,uint256 toSeller). Anyone may call.
    /// @param toBuyer goes back, in units of 10^-6; with toSeller exactly the purchase's value
    /// @param toSeller goes to the seller, in units of 10^-6
    function arbitrate(
        Purchase calldata purchase,
        uint256 toBuyer,
        uint256 toSeller,
        bytes calldata signature
    ) external;

    // ------------------------------------------------------------------ views

    /// @notice The id of a purchase with these terms, whether it was paid in or not.
    function idOf(Purchase calldata purchase) external view returns (bytes32);

    /// @notice Where the purchase stands.
    function stateOf(bytes32 id) external view returns (State);

    /// @notice The money that purchases are paid with.
    function money() external view returns (IZeroFeePayments);

    /// @notice What every signature is bound to (EIP-712).
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}
