// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Signatures} from "../shared/Signatures.sol";
import {Account} from "./Account.sol";
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

    uint256 private constant RANDOM_NONCE = 1 << 255;
    uint256 private constant WALLET = 1 << 254;
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

    /// @dev Each account's money and counter nonces; changes with every payment to or from it.
    mapping(address account => Account) private _accounts;

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
        uint256 slot;
        uint256 offset;
        assembly {
            slot := _accounts.slot
            offset := batch.offset
        }
        (uint256 next, uint256 items) = openFrame(batch, slot);
        bindFrame(_domainSeparatorV4(), TRANSFER_TYPEHASH, PAYMENT_TYPEHASH, BUNDLE_TYPEHASH);
        outcomes = new bytes(items); // all of them Paid
        Item memory item;
        // most items go by the two loops; what they leave alone is dealt with here, one at a time
        while (true) {
            (next, item.number) = payGoodPayments(offset + next, item.number);
            (next, item.number) = payGoodBundles(next, item.number);
            item.next = next -= offset;
            if (item.number == items) break;
            outcomes[item.number] = bytes1(uint8(_payItem(batch, item)));
            next = item.next;
            ++item.number;
        }
        if (item.next != batch.length) revert PaymentsBatchMalformed(item.next);
        closeFrame();
    }

    // ------------------------------------------------------------------ ERC-20 and ERC-2612

    /// @inheritdoc IZeroFeePayments
    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, _accounts[msg.sender], to, value);
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
        _move(from, _accounts[from], to, value);
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
        _accounts[to] = _accounts[to].credit(value);
        emit Transfer(address(0), to, value);
    }

    /// @inheritdoc IZeroFeePayments
    function burn(uint256 value) external {
        _checkMinter();
        Account account = _accounts[msg.sender];
        if (account.balance() < value)
            revert PaymentsInsufficientBalance(msg.sender, account.balance(), value);
        unchecked {
            totalSupply -= value;
        }
        _accounts[msg.sender] = account.debit(value);
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
        Account payer = _accounts[from];
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
        _accounts[from] = payer.debit(value);
        // read after the write, so that a payment to oneself leaves the balance as it was
        _accounts[to] = _accounts[to].credit(value);
        emit Transfer(from, to, value);
    }

    /// @dev Carries out or skips the item that begins at `item.next`, and moves `item.next` behind it.
    function _payItem(bytes calldata batch, Item memory item) private returns (Outcome outcome) {
        uint256 at = item.next;
        uint256 head = _word(batch, at);
        item.head = head;
        item.payer = entryAt((head >> 240) & 0x3fff, at);
        _readNonce(batch, item, at);
        _readSignature(batch, item);
        if (head & BUNDLE_BIT == 0) {
            Entry payee = entryAt((head >> 224) & 0x7fff, at);
            item.total = (head >> 144) & type(uint80).max;
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
            uint256 nonce = uint64(item.head);
            uint256 next = at + 32;
            if (item.head & RANDOM_NONCE != 0) {
                if (nonce != 0) revert PaymentsBatchMalformed(at);
                nonce = _word(batch, next);
                // below 2^64 it would be a counter nonce: one payment, one form
                if (nonce <= type(uint64).max) revert PaymentsBatchMalformed(next);
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
        uint256 count = (item.head >> 224) & 0x7fff;
        uint256 at = item.next;
        if (count == 0 || (item.head >> 144) & type(uint80).max != 0) revert PaymentsBatchMalformed(at);
        if (at + count * 12 > batch.length) revert PaymentsBatchMalformed(batch.length);
        uint256 hashes;
        assembly ("memory-safe") {
            hashes := mload(0x40) // beyond the free memory: the words are needed until the hash is made only
        }
        uint256 total;
        unchecked {
            for (uint256 i; i < count; ++i) {
                uint256 payment = _load(batch, at) >> 160;
                Entry payee = entryAt(payment >> 80, at);
                uint256 value = payment & type(uint80).max;
                if (_isInvalidReceiver(payee.address_())) outcome = Outcome.InvalidReceiver;
                total += value; // 2^15 values of 80 bits
                hashRow(payee, value, hashes + i * 32);
                at += 12;
            }
        }
        item.total = total;
        item.next = at;
        item.hash = bundleHash(item.payer, item.head, item.nonce, hashes, count);
    }

    /// @dev What would become of the item, its receivers apart; cheap checks first.
    function _checkItem(bytes calldata batch, Item memory item) private view returns (Outcome) {
        if (block.timestamp <= uint40(item.head >> 104)) return Outcome.NotYetValid;
        if (block.timestamp >= uint40(item.head >> 64)) return Outcome.Expired;
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
            for (; at < item.next; at += 12) {
                uint256 payment = _load(batch, at) >> 160;
                _credit(from, entryAt(payment >> 80, at), payment & type(uint80).max);
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
            Account account = _accounts[authorizer];
            uint64 counter = uint64(uint256(nonce));
            if (account.isNonceUsed(counter)) revert PaymentsNonceUsed(authorizer, nonce);
            _accounts[authorizer] = account.useNonce(counter);
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
        return _accounts[account].balance();
    }

    /// @inheritdoc IZeroFeePayments
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool) {
        if (uint256(nonce) <= type(uint64).max)
            return _accounts[authorizer].isNonceUsed(uint64(uint256(nonce)));
        return _usedNonces[authorizer][nonce];
    }

    /// @inheritdoc IZeroFeePayments
    function nonceState(address account) external view returns (uint64 nonceBase, uint64 nonceWindow) {
        Account found = _accounts[account];
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
