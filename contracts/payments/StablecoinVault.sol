// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {IStablecoinVault} from "../../interfaces/IStablecoinVault.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";

/// @title Any ERC-20 in, the same amount of our money in, and back out
/// @notice See IStablecoinVault for what each action promises and how odd tokens are met.
contract StablecoinVault is IStablecoinVault {
    // ------------------------------------------------------------------ constants

    /// @dev Our money's decimals; a token with as many is one to one.
    uint256 private constant OUR_DECIMALS = 6;
    /// @dev A token's most decimals: 10^18 times a balance of 128 bits is far from overflowing.
    uint256 private constant MOST_DECIMALS = 24;
    /// @dev ERC-3009's form with v, r and s, which every version of it has.
    bytes4 private constant RECEIVE = bytes4(
        keccak256(
            "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"
        )
    );

    // ------------------------------------------------------------------ storage

    /// @dev Units of our money issued against deposits and not paid out yet; changes with each action.
    uint128 private _issued;

    /// @dev True while an action runs. In one slot with what each action writes anyway, so it costs no slot.
    bool private _busy;

    /// @inheritdoc IStablecoinVault
    IZeroFeePayments public immutable money;
    /// @inheritdoc IStablecoinVault
    IERC20 public immutable token;
    /// @inheritdoc IStablecoinVault
    uint256 public immutable scale;

    // ------------------------------------------------------------------ constructor

    /// @param money_ our money, whose issuer then adds this vault
    /// @param token_ what is deposited, 6 to 24 decimals
    constructor(IZeroFeePayments money_, IERC20 token_) {
        if (address(token_).code.length == 0 || address(token_) == address(money_))
            revert VaultInvalidToken(address(token_));
        uint256 decimals = _decimalsOf(token_);
        if (decimals < OUR_DECIMALS || decimals > MOST_DECIMALS)
            revert VaultInvalidDecimals(address(token_), decimals);
        money = money_;
        token = token_;
        scale = 10 ** (decimals - OUR_DECIMALS);
    }

    // ------------------------------------------------------------------ actions

    /// @inheritdoc IStablecoinVault
    function deposit(address to, uint256 value) external {
        (uint256 before, uint256 amount) = _beginDeposit(msg.sender, to, value);
        _ask(abi.encodeCall(IERC20.transferFrom, (msg.sender, address(this), amount)));
        _endDeposit(to, value, before);
    }

    /// @inheritdoc IStablecoinVault
    function depositWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        (uint256 before, uint256 amount) = _beginDeposit(from, to, value);
        bytes32 nonce = nonceOf(to, salt);
        bytes memory terms = abi.encode(from, address(this), amount, validAfter, validBefore, nonce);
        _ask(bytes.concat(RECEIVE, terms, abi.encode(v, r, s)));
        _endDeposit(to, value, before);
    }

    /// @inheritdoc IStablecoinVault
    function withdraw(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        bytes calldata signature
    ) external {
        _checkReceiver(to);
        uint256 before = _begin();
        if (value > _issued) revert VaultExhausted(_issued, value);
        emit Withdrawn(from, to, value);
        bytes32 nonce = nonceOf(to, salt);
        money.receiveWithAuthorization(from, address(this), value, validAfter, validBefore, nonce, signature);
        money.burn(value);
        _give(to, value * scale, before);
        _end(_issued - value);
    }

    // ------------------------------------------------------------------ internal

    /// @dev Begins an action; returns what is held, which covers what was issued.
    function _begin() private returns (uint256 held_) {
        if (_busy) revert VaultBusy(msg.sender);
        _busy = true;
        held_ = held();
        if (held_ < _issued * scale) revert VaultUncovered(held_, _issued * scale);
    }

    /// @dev Ends an action. The caller makes sure that `issued_` fits.
    function _end(uint256 issued_) private {
        _issued = uint128(issued_);
        _busy = false;
    }

    /// @dev Checks a deposit before the token is asked; returns what is held, and what shall come, in its units.
    function _beginDeposit(
        address from,
        address to,
        uint256 value
    ) private returns (uint256 before, uint256 amount) {
        _checkReceiver(to);
        before = _begin();
        if (value > type(uint128).max - _issued) revert VaultOverflow(_issued, value);
        amount = value * scale;
        emit Deposited(from, to, value);
    }

    /// @dev Makes sure that as much has come as was asked, and issues as much money.
    function _endDeposit(address to, uint256 value, uint256 before) private {
        _checkMoved(value * scale, before, held());
        _end(_issued + value);
        money.mint(to, value);
    }

    /// @dev Sends tokens, and makes sure that as many left here and arrived there.
    function _give(address to, uint256 amount, uint256 before) private {
        uint256 beforeThere = token.balanceOf(to);
        _ask(abi.encodeCall(IERC20.transfer, (to, amount)));
        _checkMoved(amount, held(), before);
        _checkMoved(amount, beforeThere, token.balanceOf(to));
    }

    /// @dev Calls the token. It may answer nothing or true; all else is a refusal.
    function _ask(bytes memory call) private {
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok, bytes memory answer) = address(token).call(call);
        bool moved = answer.length == 0 || (answer.length >= 32 && uint256(bytes32(answer)) == 1);
        if (!ok || !moved) revert VaultTokenRefused(address(token), answer);
    }

    /// @dev The smaller balance comes first; a token that moved the other way moved nothing.
    function _checkMoved(uint256 asked, uint256 low, uint256 high) private pure {
        uint256 moved = high > low ? high - low : 0;
        if (moved != asked) revert VaultAmountDiffers(asked, moved);
    }

    function _checkReceiver(address to) private view {
        if (to == address(0) || to == address(this) || to == address(money)) revert VaultInvalidReceiver(to);
    }

    function _decimalsOf(IERC20 token_) private view returns (uint256) {
        try IERC20Metadata(address(token_)).decimals() returns (uint8 decimals) {
            return decimals;
        } catch {
            return 0;
        }
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IStablecoinVault
    function nonceOf(address to, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(to, salt));
    }

    /// @inheritdoc IStablecoinVault
    function issued() external view returns (uint256) {
        return _issued;
    }

    /// @inheritdoc IStablecoinVault
    function held() public view returns (uint256) {
        return token.balanceOf(address(this));
    }
}
