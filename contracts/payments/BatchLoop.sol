// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

// prettier-ignore
import {
    ACCOUNTS, BUNDLE, BUNDLE_FROM, BUNDLE_HASH, BUNDLE_TYPE, DIGEST, DOMAIN_BYTES, END, ENTRY, FROM, HALF_ORDER, ITEMS,
    MASK_255, MASK_40, MASK_64, MASK_80, NONCE, PAYERS, PAYMENT, R, ROW, ROW_TO, ROW_VALUE, S, STRUCT_HASH, TABLE, TO, V,
    VALID_AFTER, VALID_BEFORE, VALUE
} from "./BatchFrame.sol";

/// @dev The topics of AuthorizationUsed(address,bytes32) and Transfer(address,address,uint256).
uint256 constant AUTHORIZATION_USED = 0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5;
uint256 constant TRANSFER = 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef;
/// @dev The head's bit that tells a bundle.
uint256 constant BUNDLE_BIT = 1 << 239;

/// @notice Carry out items from `from` on for as long as they are common and good: a payment or a bundle with a
/// counter nonce and a key's signature, of which nothing at all is amiss.
///
/// The first item that is anything else is left alone, nothing of it done, and told by `at` and `done`:
/// ZeroFeePayments._payItem then finds out what is to become of it. So reasons, random nonces, contract wallets and
/// reverts are in readable code, and every check that is made here is made there too, with the same result.
/// @dev The steps are numbered as they are in `_payItem`'s own order of work; within the good items the order can't be
/// seen from outside. One function and no calls within: 900 gas an item are saved by it (docs/decisions/payments-batch.md).
/// Calldata is read before it is known that it belongs to the batch; step 5 makes sure before anything is done with it.
/// @param from where in calldata the first item begins
/// @param before how many items were dealt with before
/// @return at where in calldata the first item begins that was not carried out here
/// @return done how many items are dealt with now
function payGoodItems(uint256 from, uint256 before) returns (uint256 at, uint256 done) {
    assembly ("memory-safe") {
        at := from
        done := before
        for {} lt(done, mload(ITEMS)) {
            done := add(done, 1)
        } {
            // 1. the head. A random nonce or a wallet set one of the top two bits: then no payer has this place
            let head := calldataload(at)
            let payer := shr(240, head)
            if iszero(lt(payer, mload(PAYERS))) {
                break
            }
            payer := add(TABLE, mul(payer, ENTRY))

            // 2. what payments and bundles have in common, where both are hashed
            mstore(VALID_AFTER, and(shr(104, head), MASK_40))
            mstore(VALID_BEFORE, and(shr(64, head), MASK_40))
            mstore(NONCE, and(head, MASK_64))

            // 3. what is given to whom, and its struct hash
            let
                sum // what the payer gives in all
            let
                next // the first byte behind the item
            let
                payee // a payment's; 0 for a bundle
            let
                flaw // not 0: this is none of the good items
            switch and(head, BUNDLE_BIT)
            case 0 {
                payee := and(shr(224, head), 0x7fff)
                if iszero(lt(payee, mload(ACCOUNTS))) {
                    break
                }
                payee := add(TABLE, mul(payee, ENTRY))
                let to := mload(payee)
                flaw := or(iszero(to), eq(to, address()))
                sum := and(shr(144, head), MASK_80)
                next := add(at, 96)
                mstore(FROM, mload(payer))
                mstore(TO, to)
                mstore(VALUE, sum)
                mstore(STRUCT_HASH, keccak256(PAYMENT, 0xe0))
            }
            default {
                next := add(at, add(96, mul(and(shr(224, head), 0x7fff), 12)))
                if gt(next, mload(END)) {
                    break
                }
                // beyond the free memory: the words are needed until the hash is made only
                let hashes := mload(0x40)
                let hash := hashes
                // each row: uint16 payee's place | uint80 value
                for {
                    let row := add(at, 96)
                } lt(row, next) {
                    row := add(row, 12)
                } {
                    let place := shr(240, calldataload(row))
                    if iszero(lt(place, mload(ACCOUNTS))) {
                        flaw := 1
                        break
                    }
                    let value := and(shr(160, calldataload(row)), MASK_80)
                    let to := mload(add(TABLE, mul(place, ENTRY)))
                    flaw := or(flaw, or(iszero(to), eq(to, address())))
                    sum := add(sum, value) // 2^15 values of 80 bits
                    mstore(ROW_TO, to)
                    mstore(ROW_VALUE, value)
                    mstore(hash, keccak256(ROW, 0x60))
                    hash := add(hash, 0x20)
                }
                // malformed: no rows, or a value where a bundle has none
                flaw := or(flaw, or(eq(hash, hashes), and(shr(144, head), MASK_80)))
                mstore(BUNDLE, mload(BUNDLE_TYPE))
                mstore(BUNDLE_FROM, mload(payer))
                mstore(BUNDLE_HASH, keccak256(hashes, sub(hash, hashes)))
                mstore(STRUCT_HASH, keccak256(BUNDLE, 0xc0))
            }
            // 4. the payer's account as it will be (Account.useNonce, Account.debit)
            let account := mload(add(payer, 0x40))
            flaw := or(flaw, gt(sum, shr(128, account)))
            {
                let nonce := and(head, MASK_64)
                let base := and(shr(64, account), MASK_64)
                switch gt(nonce, base)
                case 0 {
                    let behind := sub(base, nonce)
                    flaw := or(flaw, or(gt(behind, 63), and(shr(behind, account), 1)))
                    account := or(account, shl(behind, 1))
                }
                default {
                    let window := or(and(shl(sub(nonce, base), account), MASK_64), 1)
                    account := or(shl(128, shr(128, account)), or(shl(64, nonce), window))
                }
            }
            account := sub(account, shl(128, sum))

            // 5. the batch holds all of the item, and it is time
            flaw := or(flaw, gt(next, mload(END)))
            flaw := or(flaw, iszero(lt(mload(VALID_AFTER), timestamp())))
            if or(flaw, iszero(lt(timestamp(), mload(VALID_BEFORE)))) {
                break
            }

            // 6. the signature: r and vs of EIP-2098, s not in the upper half
            {
                mstore(DIGEST, keccak256(DOMAIN_BYTES, 66))
                mstore(R, calldataload(add(at, 32)))
                let s := calldataload(add(at, 64))
                mstore(V, add(27, shr(255, s)))
                s := and(s, MASK_255)
                mstore(S, s)
                // For a wrong signature ecrecover answers nothing, so the zero address has none. Where it lacked gas
                // it failed, and `_payItem` comes to the same want of gas.
                let good := staticcall(gas(), 1, DIGEST, 0x80, 0, 0x20)
                good := and(good, and(eq(mload(0), mload(payer)), eq(returndatasize(), 0x20)))
                if iszero(and(good, iszero(gt(s, HALF_ORDER)))) {
                    break
                }
            }

            // 7. the money. The payee is read after the payer is written: a payment to oneself makes nothing
            mstore(add(payer, 0x40), account)
            payer := mload(payer)
            log3(0, 0, AUTHORIZATION_USED, payer, and(head, MASK_64))
            switch payee
            case 0 {
                for {
                    let row := add(at, 96)
                } lt(row, next) {
                    row := add(row, 12)
                } {
                    let value := shr(160, calldataload(row))
                    payee := add(TABLE, mul(shr(80, value), ENTRY))
                    value := and(value, MASK_80)
                    mstore(ROW_VALUE, value)
                    mstore(add(payee, 0x40), add(mload(add(payee, 0x40)), shl(128, value)))
                    log3(ROW_VALUE, 0x20, TRANSFER, payer, mload(payee))
                }
            }
            default {
                mstore(add(payee, 0x40), add(mload(add(payee, 0x40)), shl(128, sum)))
                log3(VALUE, 0x20, TRANSFER, payer, mload(payee))
            }
            at := next
        }
    }
}
