// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Signatures} from "../shared/Signatures.sol";
import {Account} from "./Account.sol";

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

    /// @inheritdoc IZeroFeePayments
    uint8 public constant decimals = 6;

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
        _checkIssuer();
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
        _checkIssuer();
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
        if (to == address(0) || to == address(this)) revert PaymentsInvalidReceiver(to);
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
