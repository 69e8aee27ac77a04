// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Signatures} from "../shared/Signatures.sol";
import {Account, loadAccount, storeAccount} from "./Account.sol";
// prettier-ignore
import {
    Entry, bindFrame, bundleHash, closeFrame, digestOf, entryAt, hashRow, openFrame, paymentHash, recover
} from "./BatchFrame.sol";
import {BUNDLE_BIT, payGoodBundles, payGoodPayments} from "./BatchLoop.sol";

/// @title Money that moves at no cost to those who pay and are paid
/// @notice See IZeroFeePayments for what each action promises.
contract ZeroFeePayments is IZeroFeePayments, EIP712 {
    // ------------------------------------------------------------------ constants

    bytes32 private constant TRANSFER_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL_TYPEHASH = keccak256(
        "CancelAuthorization(address authorizer,bytes32 nonce)"
    );
    bytes32 private constant PERMIT_TYPEHASH = keccak256(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    );

    bytes32 private constant BUNDLE_TYPEHASH = keccak256(
        "PaymentBundle(address from,Payment[] payments,uint256 validAfter,uint256 validBefore,bytes32 nonce)Payment(address to,uint256 value)"
    );
    bytes32 private constant PAYMENT_TYPEHASH = keccak256("Payment(address to,uint256 value)");

    uint256 private constant LONG_NONCE = 1 << 223;
    uint256 private constant WALLET = 1 << 222;
    /// @dev The bytes of an item's head, and of a payment in a bundle.
    uint256 private constant HEAD = 24;
    uint256 private constant ROW_SIZE = 10;
    /// @dev A longer signature of a contract wallet is malformed.
    uint256 private constant MAX_SIGNATURE = 8192;

    /// @inheritdoc IZeroFeePayments
    uint8 public constant decimals = 6;

    // ------------------------------------------------------------------ types

    /// @dev The item of a batch that is being worked on.
    struct Item {
        uint256 number; // from 0
        uint256 head; // its first word, as payBatch's manual draws it
        Entry payer; // in the frame
        uint256 nonce;
        uint256 signature; // where in the batch
        uint256 next; // where in the batch the next unread byte is
        uint256 total; // what the payer gives in all
        bytes32 hash; // the struct hash of what was signed
    }

    // ------------------------------------------------------------------ storage

    // Each account's money and counter nonces stand where Account.accountSlot says, not in a variable.

    /// @dev Random nonces that can't be used any more; set once by a payment or a cancellation.
    mapping(address authorizer => mapping(bytes32 nonce => bool)) private _usedNonces;

    /// @inheritdoc IZeroFeePayments
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    /// @inheritdoc IZeroFeePayments
    mapping(address owner => uint256) public nonces;

    /// @inheritdoc IZeroFeePayments
    uint256 public totalSupply;

    /// @inheritdoc IZeroFeePayments
    address public issuer;

    /// @inheritdoc IZeroFeePayments
    string public symbol;

    /// @inheritdoc IZeroFeePayments
    mapping(address vault => bool) public isKnownVault;

    // ------------------------------------------------------------------ constructor

    /// @param name_ the currency's name, also the EIP-712 domain's; at most 31 bytes keep `name()` cheap
    /// @param symbol_ the currency's symbol
    /// @param issuer_ who may mint
    constructor(string memory name_, string memory symbol_, address issuer_) EIP712(name_, "1") {
        symbol = symbol_;
        issuer = issuer_;
        emit IssuerChanged(address(0), issuer_);
    }

    // ------------------------------------------------------------------ payments (ERC-3009)

    /// @inheritdoc IZeroFeePayments
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _checkTime(validAfter, validBefore);
        bytes32 digest = _digest(TRANSFER_TYPEHASH, from, to, value, validAfter, validBefore, nonce);
        if (!Signatures.isKeySignature(from, digest, v, r, s)) revert PaymentsInvalidSignature(from);
        _pay(from, to, value, nonce);
    }

    /// @inheritdoc IZeroFeePayments
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        _checkTime(validAfter, validBefore);
        bytes32 digest = _digest(TRANSFER_TYPEHASH, from, to, value, validAfter, validBefore, nonce);
        _checkSignature(from, digest, signature);
        _pay(from, to, value, nonce);
    }

    /// @inheritdoc IZeroFeePayments
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        if (msg.sender != to) revert PaymentsCallerNotPayee(msg.sender, to);
        _checkTime(validAfter, validBefore);
        bytes32 digest = _digest(RECEIVE_TYPEHASH, from, to, value, validAfter, validBefore, nonce);
        if (!Signatures.isKeySignature(from, digest, v, r, s)) revert PaymentsInvalidSignature(from);
        _pay(from, to, value, nonce);
    }

    /// @inheritdoc IZeroFeePayments
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        if (msg.sender != to) revert PaymentsCallerNotPayee(msg.sender, to);
        _checkTime(validAfter, validBefore);
        bytes32 digest = _digest(RECEIVE_TYPEHASH, from, to, value, validAfter, validBefore, nonce);
        _checkSignature(from, digest, signature);
        _pay(from, to, value, nonce);
    }

    /// @inheritdoc IZeroFeePayments
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external {
        bytes32 digest = _cancelDigest(authorizer, nonce);
        if (!Signatures.isKeySignature(authorizer, digest, v, r, s))
            revert PaymentsInvalidSignature(authorizer);
        _cancel(authorizer, nonce);
    }

    /// @inheritdoc IZeroFeePayments
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external {
        _checkSignature(authorizer, _cancelDigest(authorizer, nonce), signature);
        _cancel(authorizer, nonce);
    }

    // ------------------------------------------------------------------ batches

    /// @inheritdoc IZeroFeePayments
    function payBatch(bytes calldata batch) external returns (bytes memory outcomes) {
        (uint256 next, uint256 items) = openFrame(batch);
        bindFrame(_domainSeparatorV4(), TRANSFER_TYPEHASH, PAYMENT_TYPEHASH, BUNDLE_TYPEHASH);
        outcomes = new bytes(items); // all of them Paid
        uint256 number;
        (next, number) = _payGood(batch, next, 0, items);
        if (number != items) next = _payOthers(batch, next, number, outcomes);
        if (next != batch.length) revert PaymentsBatchMalformed(next);
        closeFrame();
    }

    // ------------------------------------------------------------------ ERC-20 and ERC-2612

    /// @inheritdoc IZeroFeePayments
    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, loadAccount(msg.sender), to, value);
        return true;
    }

    /// @inheritdoc IZeroFeePayments
    function approve(address spender, uint256 value) external returns (bool) {
        _approve(msg.sender, spender, value);
        return true;
    }

    /// @inheritdoc IZeroFeePayments
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed != type(uint256).max) {
            if (allowed < value) revert PaymentsInsufficientAllowance(msg.sender, allowed, value);
            unchecked {
                allowance[from][msg.sender] = allowed - value;
            }
        }
        _move(from, loadAccount(from), to, value);
        return true;
    }

    /// @inheritdoc IZeroFeePayments
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 digest = _usePermit(owner, spender, value, deadline);
        if (!Signatures.isKeySignature(owner, digest, v, r, s)) revert PaymentsInvalidSignature(owner);
        _approve(owner, spender, value);
    }

    /// @inheritdoc IZeroFeePayments
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        bytes calldata signature
    ) external {
        _checkSignature(owner, _usePermit(owner, spender, value, deadline), signature);
        _approve(owner, spender, value);
    }

    // ------------------------------------------------------------------ issuing

    /// @inheritdoc IZeroFeePayments
    function mint(address to, uint256 value) external {
        _checkMinter();
        _checkReceiver(to);
        uint256 supply = totalSupply;
        if (value > type(uint128).max - supply) revert PaymentsSupplyOverflow(supply, value);
        unchecked {
            totalSupply = supply + value;
        }
        storeAccount(to, loadAccount(to).credit(value));
        emit Transfer(address(0), to, value);
    }

    /// @inheritdoc IZeroFeePayments
    function burn(uint256 value) external {
        _checkMinter();
        Account account = loadAccount(msg.sender);
        if (account.balance() < value)
            revert PaymentsInsufficientBalance(msg.sender, account.balance(), value);
        unchecked {
            totalSupply -= value;
        }
        storeAccount(msg.sender, account.debit(value));
        emit Transfer(msg.sender, address(0), value);
    }

    /// @inheritdoc IZeroFeePayments
    function addVault(address vault) external {
        _checkIssuer();
        isKnownVault[vault] = true;
        emit VaultAdded(vault);
    }

    /// @inheritdoc IZeroFeePayments
    function changeIssuer(address newIssuer) external {
        _checkIssuer();
        emit IssuerChanged(issuer, newIssuer);
        issuer = newIssuer;
    }

    // ------------------------------------------------------------------ internal

    /// @dev Uses the nonce and moves the money: the payer's slot is read and written once.
    function _pay(address from, address to, uint256 value, bytes32 nonce) private {
        Account payer = loadAccount(from);
        if (uint256(nonce) <= type(uint64).max) {
            if (payer.isNonceUsed(uint64(uint256(nonce)))) revert PaymentsNonceUsed(from, nonce);
            payer = payer.useNonce(uint64(uint256(nonce)));
        } else {
            if (_usedNonces[from][nonce]) revert PaymentsNonceUsed(from, nonce);
            _usedNonces[from][nonce] = true;
        }
        emit AuthorizationUsed(from, nonce);
        _move(from, payer, to, value);
    }

    /// @dev Moves money; `payer` is `from`'s account as it shall be but for the money.
    function _move(address from, Account payer, address to, uint256 value) private {
        _checkReceiver(to);
        if (payer.balance() < value) revert PaymentsInsufficientBalance(from, payer.balance(), value);
        storeAccount(from, payer.debit(value));
        // read after the write, so that a payment to oneself leaves the balance as it was
        storeAccount(to, loadAccount(to).credit(value));
        emit Transfer(from, to, value);
    }

    /// @dev Carries out items from number `before` on for as long as they are what the loops take. Tells where in the
    /// batch the first other one begins, and its number.
    function _payGood(
        bytes calldata batch,
        uint256 next,
        uint256 before,
        uint256 items
    ) private returns (uint256, uint256) {
        uint256 offset;
        uint256 number;
        assembly ("memory-safe") {
            offset := batch.offset
        }
        unchecked {
            (next, number) = payGoodPayments(offset + next, before);
            // more good payments than the batch has items, or room
            if (number > items || next > offset + batch.length) revert PaymentsBatchMalformed(batch.length);
            (next, number) = payGoodBundles(next, number);
            return (next - offset, number);
        }
    }

    /// @dev Deals with the items from `number` on, the first of which the loops leave alone; notes what becomes of it.
    function _payOthers(
        bytes calldata batch,
        uint256 next,
        uint256 number,
        bytes memory outcomes
    ) private returns (uint256) {
        Item memory item;
        while (number != outcomes.length) {
            (item.number, item.next) = (number, next);
            outcomes[number] = bytes1(uint8(_payItem(batch, item)));
            (next, number) = _payGood(batch, item.next, number + 1, outcomes.length);
        }
        return next;
    }

    /// @dev Carries out or skips the item that begins at `item.next`, and moves `item.next` behind it.
    function _payItem(bytes calldata batch, Item memory item) private returns (Outcome outcome) {
        uint256 at = item.next;
        uint256 head = _word(batch, at);
        item.head = head;
        item.payer = entryAt((head >> 208) & 0x3fff, at);
        _readNonce(batch, item, at);
        _readSignature(batch, item);
        if (head & BUNDLE_BIT == 0) {
            Entry payee = entryAt((head >> 192) & 0x7fff, at);
            item.total = uint64(head >> 128);
            item.hash = paymentHash(item.payer, payee, head, item.nonce);
            if (_isInvalidReceiver(payee.address_())) outcome = Outcome.InvalidReceiver;
            else outcome = _checkItem(batch, item);
            if (outcome == Outcome.Paid) {
                _useNonce(item);
                _credit(item.payer.address_(), payee, item.total);
            }
        } else {
            uint256 payments = item.next;
            outcome = _readBundle(batch, item);
            if (outcome == Outcome.Paid) outcome = _checkItem(batch, item);
            if (outcome == Outcome.Paid) {
                _useNonce(item);
                _creditBundle(batch, item, payments);
            }
        }
        if (outcome != Outcome.Paid)
            emit PaymentSkipped(item.payer.address_(), bytes32(item.nonce), item.number, outcome);
    }

    function _readNonce(bytes calldata batch, Item memory item, uint256 at) private pure {
        unchecked {
            uint256 nonce = uint32(item.head >> 64);
            uint256 next = at + HEAD;
            if (item.head & LONG_NONCE != 0) {
                if (nonce != 0) revert PaymentsBatchMalformed(at);
                nonce = _word(batch, next);
                // below 2^32 it would have a place in the head: one payment, one form
                if (nonce <= type(uint32).max) revert PaymentsBatchMalformed(next);
                next += 32;
            }
            item.nonce = nonce;
            item.next = next;
        }
    }

    function _readSignature(bytes calldata batch, Item memory item) private pure {
        unchecked {
            uint256 at = item.next;
            uint256 size = 64;
            item.signature = at;
            if (item.head & WALLET != 0) {
                uint256 length = _word(batch, at);
                if (length > MAX_SIGNATURE) revert PaymentsBatchMalformed(at);
                size = 32 + ((length + 31) & ~uint256(31));
            }
            if (at + size > batch.length) revert PaymentsBatchMalformed(batch.length);
            item.next = at + size;
        }
    }

    /// @dev Reads a bundle's payments: their struct hash and their sum. Moves `item.next` behind them.
    function _readBundle(bytes calldata batch, Item memory item) private view returns (Outcome outcome) {
        uint256 count = (item.head >> 192) & 0x7fff;
        uint256 at = item.next;
        if (count == 0 || uint64(item.head >> 128) != 0) revert PaymentsBatchMalformed(at);
        if (at + count * ROW_SIZE > batch.length) revert PaymentsBatchMalformed(batch.length);
        uint256 hashes;
        assembly ("memory-safe") {
            hashes := mload(0x40) // beyond the free memory: the words are needed until the hash is made only
        }
        uint256 total;
        unchecked {
            for (uint256 i; i < count; ++i) {
                uint256 payment = _load(batch, at) >> 176;
                Entry payee = entryAt(payment >> 64, at);
                uint256 value = uint64(payment);
                if (_isInvalidReceiver(payee.address_())) outcome = Outcome.InvalidReceiver;
                total += value; // 2^15 values of 64 bits
                hashRow(payee, value, hashes + i * 32);
                at += ROW_SIZE;
            }
        }
        item.total = total;
        item.next = at;
        item.hash = bundleHash(item.payer, item.head, item.nonce, hashes, count);
    }

    /// @dev What would become of the item, its receivers apart; cheap checks first.
    function _checkItem(bytes calldata batch, Item memory item) private view returns (Outcome) {
        if (block.timestamp <= uint32(item.head >> 96)) return Outcome.NotYetValid;
        if (block.timestamp >= item.head >> 224) return Outcome.Expired;
        Account payer = item.payer.account();
        address from = item.payer.address_();
        if (item.nonce <= type(uint64).max) {
            if (payer.isNonceUsed(uint64(item.nonce))) return Outcome.NonceUsed;
        } else if (_usedNonces[from][bytes32(item.nonce)]) {
            return Outcome.NonceUsed;
        }
        if (!_isItemSigned(batch, item, from)) return Outcome.InvalidSignature;
        if (payer.balance() < item.total) return Outcome.InsufficientBalance;
        return Outcome.Paid;
    }

    function _isItemSigned(bytes calldata batch, Item memory item, address from) private view returns (bool) {
        bytes32 digest = digestOf(item.hash);
        uint256 at = item.signature;
        unchecked {
            if (item.head & WALLET == 0) {
                (address signer, bool ok) = recover(digest, _load(batch, at), _load(batch, at + 32));
                if (!ok) revert PaymentsBatchStarved(item.number, gasleft());
                return signer == from && signer != address(0);
            }
            // the wallet must get all of its gas: a 64th stays behind (EIP-150), the rest is for the call itself
            if (gasleft() < (Signatures.WALLET_GAS * 64) / 63 + 40_000)
                revert PaymentsBatchStarved(item.number, gasleft());
            uint256 length = _load(batch, at);
            return
                from.code.length != 0 &&
                Signatures.isWalletSignature(from, digest, batch[at + 32:at + 32 + length]);
        }
    }

    /// @dev Uses the nonce and takes the sum from the payer's account.
    function _useNonce(Item memory item) private {
        Account payer = item.payer.account();
        address from = item.payer.address_();
        if (item.nonce <= type(uint64).max) payer = payer.useNonce(uint64(item.nonce));
        else _usedNonces[from][bytes32(item.nonce)] = true;
        item.payer.setAccount(payer.debit(item.total));
        emit AuthorizationUsed(from, bytes32(item.nonce));
    }

    function _credit(address from, Entry payee, uint256 value) private {
        payee.setAccount(payee.account().credit(value));
        emit Transfer(from, payee.address_(), value);
    }

    function _creditBundle(bytes calldata batch, Item memory item, uint256 at) private {
        address from = item.payer.address_();
        unchecked {
            for (; at < item.next; at += ROW_SIZE) {
                uint256 payment = _load(batch, at) >> 176;
                _credit(from, entryAt(payment >> 64, at), uint64(payment));
            }
        }
    }

    /// @dev The word at `at`; reverts where the batch ends before it does.
    function _word(bytes calldata batch, uint256 at) private pure returns (uint256) {
        unchecked {
            if (at + 32 > batch.length) revert PaymentsBatchMalformed(batch.length);
        }
        return _load(batch, at);
    }

    /// @dev The word at `at`, unchecked: the caller knows that as much of it as is used lies within the batch.
    function _load(bytes calldata batch, uint256 at) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(batch.offset, at))
        }
    }

    function _isInvalidReceiver(address to) private view returns (bool) {
        return to == address(0) || to == address(this);
    }

    function _cancel(address authorizer, bytes32 nonce) private {
        if (uint256(nonce) <= type(uint64).max) {
            Account account = loadAccount(authorizer);
            uint64 counter = uint64(uint256(nonce));
            if (account.isNonceUsed(counter)) revert PaymentsNonceUsed(authorizer, nonce);
            storeAccount(authorizer, account.useNonce(counter));
        } else {
            if (_usedNonces[authorizer][nonce]) revert PaymentsNonceUsed(authorizer, nonce);
            _usedNonces[authorizer][nonce] = true;
        }
        emit AuthorizationCanceled(authorizer, nonce);
    }

    function _approve(address owner, address spender, uint256 value) private {
        allowance[owner][spender] = value;
        emit Approval(owner, spender, value);
    }

    function _usePermit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline
    ) private returns (bytes32) {
        if (block.timestamp > deadline) revert PaymentsExpired(deadline, block.timestamp);
        unchecked {
            return
                _hashTypedDataV4(
                    keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonces[owner]++, deadline))
                );
        }
    }

    function _digest(
        bytes32 typehash,
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce
    ) private view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(abi.encode(typehash, from, to, value, validAfter, validBefore, nonce))
            );
    }

    function _cancelDigest(address authorizer, bytes32 nonce) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(CANCEL_TYPEHASH, authorizer, nonce)));
    }

    function _checkTime(uint256 validAfter, uint256 validBefore) private view {
        if (block.timestamp <= validAfter) revert PaymentsNotYetValid(validAfter, block.timestamp);
        if (block.timestamp >= validBefore) revert PaymentsExpired(validBefore, block.timestamp);
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!Signatures.isSignature(signer, digest, signature)) revert PaymentsInvalidSignature(signer);
    }

    function _checkReceiver(address to) private view {
        if (_isInvalidReceiver(to)) revert PaymentsInvalidReceiver(to);
    }

    function _checkMinter() private view {
        if (!isKnownVault[msg.sender]) _checkIssuer();
    }

    function _checkIssuer() private view {
        if (msg.sender != issuer) revert PaymentsCallerNotIssuer(msg.sender, issuer);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IZeroFeePayments
    function balanceOf(address account) external view returns (uint256) {
        return loadAccount(account).balance();
    }

    /// @inheritdoc IZeroFeePayments
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool) {
        if (uint256(nonce) <= type(uint64).max)
            return loadAccount(authorizer).isNonceUsed(uint64(uint256(nonce)));
        return _usedNonces[authorizer][nonce];
    }

    /// @inheritdoc IZeroFeePayments
    function nonceState(address account) external view returns (uint64 nonceBase, uint64 nonceWindow) {
        Account found = loadAccount(account);
        return (found.nonceBase(), found.nonceWindow());
    }

    /// @inheritdoc IZeroFeePayments
    function name() external view returns (string memory) {
        return _EIP712Name();
    }

    /// @inheritdoc IZeroFeePayments
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
