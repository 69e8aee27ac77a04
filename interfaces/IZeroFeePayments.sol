// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Money that moves at no cost to those who pay and are paid
/// @notice An ERC-20 with 6 decimals. A member signs an ERC-3009 authorization; anyone may carry it and
/// pays the gas; the amount arrives whole. Value in equals value out, to the unit, always.
///
/// One account is one storage slot, so a payment writes two slots and nothing else:
///
///     bits 255..128  balance      units of 10^-6 of the currency
///     bits 127..64   nonceBase    the highest counter nonce used so far
///     bits  63..0    nonceWindow  bit i: the counter nonce nonceBase - i is used
///
/// A nonce below 2^64 is a *counter nonce*: it lives in the window, as in IPsec's anti-replay service
/// (RFC 6479), so the 64 newest may land in any order and cost no storage of their own. One that
/// has fallen out of the window counts as used. Every other nonce (32 random bytes, or the hash of an invoice,
/// which can then be paid only once) is a *random nonce* and lives in a mapping.
/// @dev Nobody can freeze, take or redirect money. The issuer can mint, and burn what is its own.
interface IZeroFeePayments {
    // ------------------------------------------------------------------ types

    /// @notice What became of one item of a batch. Only `Paid` changes anything.
    enum Outcome {
        Paid,
        NotYetValid,
        Expired,
        InvalidReceiver,
        NonceUsed,
        InvalidSignature,
        InsufficientBalance
    }

    // ------------------------------------------------------------------ errors

    /// @notice `account` holds `balance`, `needed` were to be moved.
    error PaymentsInsufficientBalance(address account, uint256 balance, uint256 needed);
    /// @notice `spender` may move `allowance`, `needed` were to be moved (ERC-20).
    error PaymentsInsufficientAllowance(address spender, uint256 allowance, uint256 needed);
    /// @notice Money can't be sent to the zero address or to this contract: nobody could move it again.
    error PaymentsInvalidReceiver(address receiver);
    /// @notice The authorization is valid after `validAfter`, strictly, and now it is `timestamp`.
    error PaymentsNotYetValid(uint256 validAfter, uint256 timestamp);
    /// @notice The authorization is valid before `validBefore`, strictly, and now it is `timestamp`.
    error PaymentsExpired(uint256 validBefore, uint256 timestamp);
    /// @notice The payer's nonce has been used, canceled, or has fallen out of the window.
    error PaymentsNonceUsed(address authorizer, bytes32 nonce);
    /// @notice The signature is not `signer`'s over exactly this message.
    error PaymentsInvalidSignature(address signer);
    /// @notice Only the payee itself, `payee`, may carry a ReceiveWithAuthorization; `caller` tried.
    error PaymentsCallerNotPayee(address caller, address payee);
    /// @notice Only the issuer, or for minting and burning a vault, may do this; `caller` tried.
    error PaymentsCallerNotIssuer(address caller, address issuer);
    /// @notice All money together would exceed the 128 bits of a balance.
    error PaymentsSupplyOverflow(uint256 supply, uint256 minted);

    /// @notice The batch does not have the form that `payBatch` describes, at byte `position`.
    error PaymentsBatchMalformed(uint256 position);
    /// @notice The batch's accounts must ascend strictly, so that none stands twice; `account` follows `previous`.
    error PaymentsBatchAccountsUnsorted(address previous, address account);
    /// @notice The gas ran short at `item`: the whole batch reverts, so that nothing is skipped for lack of gas.
    error PaymentsBatchStarved(uint256 item, uint256 gasLeft);

    // ------------------------------------------------------------------ events

    /// @notice `value` moved; from zero it was minted, to zero it was burned (ERC-20).
    event Transfer(address indexed from, address indexed to, uint256 value);
    /// @notice `spender` may now move `value` of `owner`'s (ERC-20).
    event Approval(address indexed owner, address indexed spender, uint256 value);
    /// @notice The nonce of `authorizer` was used by a payment (ERC-3009).
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    /// @notice The nonce of `authorizer` was given up; no payment can use it any more (ERC-3009).
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
    /// @notice Item number `item` of a batch was not carried out, and nothing of it was: its nonce is as it was.
    event PaymentSkipped(address indexed from, bytes32 indexed nonce, uint256 item, Outcome outcome);
    /// @notice The issuing role went from `previousIssuer` to `newIssuer`.
    event IssuerChanged(address indexed previousIssuer, address indexed newIssuer);
    /// @notice `vault` may mint against deposits from now on, for good.
    event VaultAdded(address indexed vault);

    // ------------------------------------------------------------------ payments (ERC-3009)

    /// @notice Carry out a payment that `from` signed. Anyone may call.
    /// @dev Typed data: TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,
    /// uint256 validBefore,bytes32 nonce). Emits AuthorizationUsed and Transfer.
    /// @param from payer and signer
    /// @param to payee
    /// @param value amount in units of 10^-6
    /// @param validAfter unix time; valid strictly after it
    /// @param validBefore unix time; valid strictly before it
    /// @param nonce below 2^64 a counter nonce, else a random one
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
    ) external;

    /// @notice As above with the signature as bytes: 65 (r, s, v), 64 (EIP-2098) or whatever a contract wallet
    /// takes by ERC-1271, which is asked with a gas cap (ERC-7598).
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice Carry out a payment to the caller, as part of what the caller then does with it. Only `to` may call,
    /// so nobody can land the payment outside that context.
    /// @dev Typed data: ReceiveWithAuthorization, same members.
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
    ) external;

    /// @notice As above with the signature as bytes (ERC-7598).
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice Give up a nonce that was not used yet. Anyone may carry the authorizer's signature.
    /// @dev Typed data: CancelAuthorization(address authorizer,bytes32 nonce). Emits AuthorizationCanceled.
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;

    /// @notice As above with the signature as bytes (ERC-7598).
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external;

    /// @notice Carry many signed payments in one transaction. Anyone may call. A bad item is skipped and told by
    /// PaymentSkipped, with nothing of it done; a batch that is malformed or runs short of gas reverts whole.
    /// @dev Packed, big-endian:
    ///
    ///     uint16 accounts | uint16 items | accounts x address, strictly ascending | items
    ///
    /// An item begins with a head of 24 bytes:
    ///
    ///     bits 191..160  validBefore
    ///     bit  159       its nonce has the long form: 2^32 or more, in 32 bytes that follow the head
    ///     bit  158       its payer is a contract wallet: instead of r and vs stand a word with the signature's
    ///                    length (at most 8192) and the signature, padded with zeros to whole words
    ///     bits 157..144  the payer's place among the accounts
    ///     bit  143       it is a bundle
    ///     bits 142..128  a payment: the payee's place; a bundle: how many payments, at least 1
    ///     bits 127..64   a payment: the value; a bundle: 0
    ///     bits  63..32   validAfter
    ///     bits  31..0    the nonce; 0 if it has the long form
    ///
    /// Then the nonce in its long form if any, then the signature (r and vs of EIP-2098), then for a bundle its
    /// payments, each `uint16 payee's place | uint64 value`. A payment is signed as TransferWithAuthorization. A bundle is signed as
    /// PaymentBundle(address from,Payment[] payments,uint256 validAfter,uint256 validBefore,bytes32 nonce)
    /// Payment(address to,uint256 value) and is carried out as a whole or skipped as a whole: one
    /// AuthorizationUsed, then its Transfers.
    /// @return outcomes one byte for each item, an Outcome
    function payBatch(bytes calldata batch) external returns (bytes memory outcomes);

    /// @notice Whether the nonce can't be used any more: used, canceled, or fallen out of the window.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);

    /// @notice The account's window of counter nonces. Unused ones: any above `nonceBase`, and those up to 63 below
    /// it whose bit is not set; both are 0 before the first use, when every counter nonce is unused.
    /// @return nonceBase the highest counter nonce used
    /// @return nonceWindow bit i: the counter nonce nonceBase - i is used
    function nonceState(address account) external view returns (uint64 nonceBase, uint64 nonceWindow);

    // ------------------------------------------------------------------ ERC-20 and ERC-2612

    /// @notice Move `value` of the caller's own money.
    function transfer(address to, uint256 value) external returns (bool);

    /// @notice Let `spender` move up to `value` of the caller's money; 2^256 - 1 never runs out.
    function approve(address spender, uint256 value) external returns (bool);

    /// @notice Move `value` of `from`'s money within the caller's allowance.
    function transferFrom(address from, address to, uint256 value) external returns (bool);

    /// @notice Set an allowance by the owner's signature (ERC-2612). Anyone may carry it.
    /// @dev Typed data: Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline); `nonce`
    /// is the owner's `nonces`. Valid up to and including `deadline`, as the ERC says.
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice As above with the signature as bytes, for contract wallets (ERC-7597).
    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 deadline,
        bytes calldata signature
    ) external;

    /// @notice The account's money in units of 10^-6.
    function balanceOf(address account) external view returns (uint256);

    /// @notice How much `spender` may still move of `owner`'s.
    function allowance(address owner, address spender) external view returns (uint256);

    /// @notice All money that exists.
    function totalSupply() external view returns (uint256);

    /// @notice The currency's name.
    function name() external view returns (string memory);

    /// @notice The currency's symbol.
    function symbol() external view returns (string memory);

    /// @notice 6: one unit is a millionth of the currency.
    function decimals() external view returns (uint8);

    /// @notice The owner's next permit nonce (ERC-2612).
    function nonces(address owner) external view returns (uint256);

    /// @notice What every signature is bound to (EIP-712).
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32);

    // ------------------------------------------------------------------ issuing

    /// @notice Who may mint.
    function issuer() external view returns (address);

    /// @notice Whether `vault` may mint.
    function isKnownVault(address vault) external view returns (bool);

    /// @notice Mint `value` to `to`, against a deposit. Only the issuer and vaults.
    function mint(address to, uint256 value) external;

    /// @notice Burn `value` of the caller's own money. Only the issuer and vaults.
    function burn(uint256 value) external;

    /// @notice Let a contract that turns deposits into money mint and burn its own. Only the issuer, who can't take it
    /// back: else it could lock the deposits in.
    function addVault(address vault) external;

    /// @notice Hand the issuing role on; the zero address ends issuing for good. Only the issuer.
    function changeIssuer(address newIssuer) external;
}
