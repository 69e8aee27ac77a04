// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEscrow} from "../../interfaces/IEscrow.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Signatures} from "../shared/Signatures.sol";

/// @title Purchases without a middleman
/// @notice See IEscrow for what each action promises and who wins when one or both are silent.
contract Escrow is IEscrow, EIP712 {
    // ------------------------------------------------------------------ constants

    bytes32 private constant PURCHASE_TYPEHASH = keccak256(
        "Purchase(address buyer,address seller,address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash)"
    );
    bytes32 private constant RELEASE_TYPEHASH = keccak256(
        "Release(Purchase purchase)Purchase(address buyer,address seller,address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash)"
    );
    bytes32 private constant REFUND_TYPEHASH = keccak256(
        "Refund(Purchase purchase)Purchase(address buyer,address seller,address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash)"
    );
    bytes32 private constant CLAIM_TYPEHASH = keccak256(
        "Claim(Purchase purchase)Purchase(address buyer,address seller,address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash)"
    );
    bytes32 private constant ARBITRATION_TYPEHASH = keccak256(
        "Arbitration(Purchase purchase,uint256 toBuyer,uint256 toSeller)Purchase(address buyer,address seller,address arbiter,uint256 value,uint256 claimAfter,uint256 reclaimAfter,bytes32 orderHash)"
    );

    // ------------------------------------------------------------------ storage

    /// @inheritdoc IEscrow
    /// @dev Set when the money comes in, changed once when it leaves; never zeroed.
    mapping(bytes32 id => State) public stateOf;

    /// @inheritdoc IEscrow
    IZeroFeePayments public immutable money;

    // ------------------------------------------------------------------ constructor

    /// @param money_ the money, which calls nobody but payers' wallets, and those without leave to write
    constructor(IZeroFeePayments money_) EIP712("Liggare Escrow", "1") {
        money = money_;
    }

    // ------------------------------------------------------------------ actions

    /// @inheritdoc IEscrow
    function fund(
        Purchase calldata purchase,
        uint256 validAfter,
        uint256 validBefore,
        bytes calldata signature,
        bytes calldata offer
    ) external {
        _checkTerms(purchase);
        bytes32 id = _hashTypedDataV4(_hash(purchase));
        State state = stateOf[id];
        if (state != State.None) revert EscrowFundedBefore(id, state);
        if (purchase.arbiter != address(0)) _checkSignature(purchase.seller, id, offer);
        stateOf[id] = State.Open;
        _tell(id, purchase);
        // the money checks the buyer's signature, which binds all terms: the nonce is their hash
        money.receiveWithAuthorization(
            purchase.buyer,
            address(this),
            purchase.value,
            validAfter,
            validBefore,
            id,
            signature
        );
    }

    /// @inheritdoc IEscrow
    function release(Purchase calldata purchase, bytes calldata signature) external {
        bytes32 id = _close(purchase, State.Released, RELEASE_TYPEHASH, purchase.buyer, signature);
        emit PurchaseReleased(id);
        money.transfer(purchase.seller, purchase.value);
    }

    /// @inheritdoc IEscrow
    function refund(Purchase calldata purchase, bytes calldata signature) external {
        bytes32 id = _close(purchase, State.Refunded, REFUND_TYPEHASH, purchase.seller, signature);
        emit PurchaseRefunded(id);
        money.transfer(purchase.buyer, purchase.value);
    }

    /// @inheritdoc IEscrow
    function claim(Purchase calldata purchase, bytes calldata signature) external {
        _checkAfter(purchase.claimAfter);
        if (block.timestamp > purchase.reclaimAfter)
            revert EscrowClaimOver(purchase.reclaimAfter, block.timestamp);
        bytes32 id = _close(purchase, State.Claimed, CLAIM_TYPEHASH, purchase.seller, signature);
        emit PurchaseClaimed(id);
        money.transfer(purchase.seller, purchase.value);
    }

    /// @inheritdoc IEscrow
    function reclaim(Purchase calldata purchase) external {
        _checkAfter(purchase.reclaimAfter);
        bytes32 id = _hashTypedDataV4(_hash(purchase));
        _end(id, State.Reclaimed);
        emit PurchaseReclaimed(id);
        money.transfer(purchase.buyer, purchase.value);
    }

    /// @inheritdoc IEscrow
    function arbitrate(
        Purchase calldata purchase,
        uint256 toBuyer,
        uint256 toSeller,
        bytes calldata signature
    ) external {
        // compared by a difference: a sum could overflow
        if (toBuyer > purchase.value || toSeller != purchase.value - toBuyer)
            revert EscrowBadSplit(toBuyer, toSeller, purchase.value);
        bytes32 terms = _hash(purchase);
        bytes32 id = _hashTypedDataV4(terms);
        if (purchase.arbiter == address(0)) revert EscrowNoArbiter(id);
        bytes32 split = keccak256(abi.encode(ARBITRATION_TYPEHASH, terms, toBuyer, toSeller));
        _checkSignature(purchase.arbiter, _hashTypedDataV4(split), signature);
        _end(id, State.Arbitrated);
        emit PurchaseArbitrated(id, toBuyer, toSeller);
        if (toBuyer != 0) money.transfer(purchase.buyer, toBuyer);
        if (toSeller != 0) money.transfer(purchase.seller, toSeller);
    }

    // ------------------------------------------------------------------ internal

    /// @dev Apart from `fund`, whose stack is full.
    function _tell(bytes32 id, Purchase calldata purchase) private {
        emit PurchaseFunded(
            id,
            purchase.buyer,
            purchase.seller,
            purchase.arbiter,
            purchase.value,
            purchase.claimAfter,
            purchase.reclaimAfter,
            purchase.orderHash
        );
    }

    /// @dev Ends an open purchase by `signer`'s message of this type about it.
    function _close(
        Purchase calldata purchase,
        State state,
        bytes32 typehash,
        address signer,
        bytes calldata signature
    ) private returns (bytes32 id) {
        bytes32 terms = _hash(purchase);
        id = _hashTypedDataV4(terms);
        _checkSignature(signer, _hashTypedDataV4(keccak256(abi.encode(typehash, terms))), signature);
        _end(id, state);
    }

    /// @dev The one place where a purchase ends: what is not open, and so has no money here, goes no further.
    function _end(bytes32 id, State state) private {
        State found = stateOf[id];
        if (found != State.Open) revert EscrowNotOpen(id, found);
        stateOf[id] = state;
    }

    function _hash(Purchase calldata purchase) private pure returns (bytes32) {
        return keccak256(abi.encode(PURCHASE_TYPEHASH, purchase));
    }

    /// @dev Whatever ends a purchase must succeed, so what could not be paid out is not let in. A buyer who can't be
    /// paid can't sign either: zero, the money and this contract.
    function _checkTerms(Purchase calldata purchase) private view {
        address seller = purchase.seller;
        if (seller == address(0) || seller == address(this) || seller == address(money))
            revert EscrowInvalidSeller(seller);
        if (purchase.claimAfter > purchase.reclaimAfter)
            revert EscrowBadDeadlines(purchase.claimAfter, purchase.reclaimAfter);
        if (block.timestamp > purchase.claimAfter) revert EscrowTooLate(purchase.claimAfter, block.timestamp);
    }

    function _checkAfter(uint256 opensAfter) private view {
        if (block.timestamp <= opensAfter) revert EscrowTooEarly(opensAfter, block.timestamp);
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.isSignature(signer, digest, signature)) revert EscrowInvalidSignature(signer);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IEscrow
    function idOf(Purchase calldata purchase) external view returns (bytes32) {
        return _hashTypedDataV4(_hash(purchase));
    }

    /// @inheritdoc IEscrow
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
