// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IZeroFeePayments} from "./IZeroFeePayments.sol";

/// @title Any ERC-20 in, the same amount of our money in, and back out
/// @notice One vault keeps one token, named for good when it is deployed. Amounts are in units of our money, 10^-6;
/// one of them is `scale` units of the token, so both ways are exact and nothing is ever rounded. The money's
/// issuer lets the vault mint by `addVault`, which can't be taken back.
///
/// Whatever the token does, nobody is paid from another's deposit: the vault pays out at most what it issued, it
/// measures what came and what went, and while it holds less than it issued (a token that shrinks balances, or
/// takes them away) it takes nothing in and pays nothing out, until somebody has sent it what is missing.
///
///     a token that                          deposits and withdrawals
///     keeps a part of a transfer            refused: VaultAmountDiffers
///     shrinks or takes the vault's balance  refused until covered again: VaultUncovered
///     returns nothing (as USDT does)        work
///     returns false, pauses, blocks         refused: VaultTokenRefused, with the token's answer
///     calls somebody on its way             work; what is called can't act in the vault: VaultBusy
///     claims to have moved and did not      refused: VaultAmountDiffers
///     lends or grows balances               work; what is more stays as cover, and is nobody's
///
/// @dev Nobody has a role here. A refusal reverts all of it: nothing is taken, minted or burned.
interface IStablecoinVault {
    // ------------------------------------------------------------------ errors

    /// @notice `token` is no contract, or our own money.
    error VaultInvalidToken(address token);
    /// @notice A token has 6 to 24 decimals here, not `decimals`: with fewer, amounts of our money could not be paid
    /// out whole. A token that does not tell its decimals counts as one with 0.
    error VaultInvalidDecimals(address token, uint256 decimals);
    /// @notice Neither the zero address nor this contract nor the money can be paid: `receiver`.
    error VaultInvalidReceiver(address receiver);
    /// @notice `issued` units stand against deposits here, `value` more would not fit a balance of our money.
    error VaultOverflow(uint256 issued, uint256 value);
    /// @notice `issued` units stand against deposits here, `value` were to be paid out.
    error VaultExhausted(uint256 issued, uint256 value);
    /// @notice The vault holds `held` units of the token where it issued money for `owed`.
    error VaultUncovered(uint256 held, uint256 owed);
    /// @notice `asked` units of the token were to move, `moved` did.
    error VaultAmountDiffers(uint256 asked, uint256 moved);
    /// @notice The token did not move anything; `answer` is what it returned or reverted with.
    error VaultTokenRefused(address token, bytes answer);
    /// @notice The token, or who it called, tried to act here in the middle of an action.
    error VaultBusy(address caller);

    // ------------------------------------------------------------------ events

    /// @notice `from` gave tokens for `value` units of our money, minted to `to`.
    event Deposited(address indexed from, address indexed to, uint256 value);
    /// @notice `value` units of `from`'s money were burned; `to` got the tokens.
    event Withdrawn(address indexed from, address indexed to, uint256 value);

    // ------------------------------------------------------------------ actions

    /// @notice Give tokens of the caller, who allowed the vault to take `value` x `scale` of them.
    /// @param to who gets the money
    /// @param value amount in units of 10^-6
    function deposit(address to, uint256 value) external;

    /// @notice Give tokens of `from`, by its ERC-3009 signature on a token that takes one. Anyone may call.
    /// @dev `from` signs the token's ReceiveWithAuthorization(from, to: this contract, value: `value` x `scale`,
    /// validAfter, validBefore, nonce: nonceOf(to, salt)), so a carrier can't give the money to another.
    /// @param from who gives the tokens
    /// @param to who gets the money
    /// @param value amount in units of 10^-6
    /// @param validAfter unix time; valid strictly after it
    /// @param validBefore unix time; valid strictly before it
    /// @param salt 32 random bytes
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
    ) external;

    /// @notice Turn money into tokens again, by one signature. Anyone may call.
    /// @dev `from` signs our money's ReceiveWithAuthorization(from, to: this contract, value, validAfter, validBefore,
    /// nonce: nonceOf(to, salt)), so a carrier can't send the tokens elsewhere.
    /// @param from whose money is burned
    /// @param to who gets the tokens
    /// @param value amount in units of 10^-6
    /// @param validAfter unix time; valid strictly after it
    /// @param validBefore unix time; valid strictly before it
    /// @param salt 32 random bytes
    /// @param signature 65 bytes, 64 (EIP-2098) or what a contract wallet takes (ERC-1271)
    function withdraw(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        bytes calldata signature
    ) external;

    // ------------------------------------------------------------------ views

    /// @notice The nonce that binds an authorization to who is paid.
    function nonceOf(address to, bytes32 salt) external pure returns (bytes32);

    /// @notice What was issued against deposits and not paid out yet, in units of 10^-6.
    function issued() external view returns (uint256);

    /// @notice What the vault holds, in units of the token; at least `issued` x `scale` unless the token took some.
    function held() external view returns (uint256);

    /// @notice How many units of the token are one unit of our money.
    function scale() external view returns (uint256);

    /// @notice The token, for good.
    function token() external view returns (IERC20);

    /// @notice Our money.
    function money() external view returns (IZeroFeePayments);
}
