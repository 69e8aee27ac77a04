// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

// a call between functions costs more than a step of the loops, so they are long; solhint sees no use in assembly
// solhint-disable function-max-lines, no-unused-import

// prettier-ignore
import {
    ACCOUNTS, BUNDLE, BUNDLE_FROM, BUNDLE_HASH, BUNDLE_TYPE, DIGEST, DOMAIN_BYTES, END, FROM, HALF_ORDER, ITEMS,
    MASK_255, MASK_40, MASK_64, MASK_80, NONCE, OFFSET, PAYEES, PAYERS, PAYMENT, R, ROW, ROW_TO, ROW_VALUE, S,
    STRUCT_HASH, TABLE, TABLE_ACCOUNT, TO, V, VALID_AFTER, VALID_BEFORE, VALUE
} from "./BatchFrame.sol";

/// @dev The topics of AuthorizationUsed(address,bytes32) and Transfer(address,address,uint256).
uint256 constant AUTHORIZATION_USED = 0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5;
uint256 constant TRANSFER = 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef;
/// @dev The head's bit that tells a bundle.
uint256 constant BUNDLE_BIT = 0x800000000000000000000000000000000000000000000000000000000000;
/// @dev That bit and the value, which a bundle has not.
uint256 constant BUNDLE_FORM = 0x8000ffffffffffffffffffff000000000000000000000000000000000000;
/// @dev A value as it stands in an Account: 80 bits from bit 128 on.
uint256 constant AMOUNT = 0xffffffffffffffffffff00000000000000000000000000000000;

// The two loops below carry out what is common and good: payments, and bundles, with a counter nonce and a key's
// signature, of which nothing at all is amiss. The first item that is anything else is left alone, nothing of it done;
// ZeroFeePayments._payItem then finds out what is to become of it. So reasons, random nonces, contract wallets and
// reverts are in readable code, and every check that is made here is made there too, with the same result: a fault
// of the loops that refused too much would cost gas, no more. Why assembly: docs/decisions/payments-batch.md.
//
// Calldata is read before it is known to belong to the batch; nothing is done with it before that is checked.

/// @notice Carry out payments for as long as they are good.
/// @param start where in calldata the first item begins
/// @param before how many items were dealt with before
/// @return at where in calldata the first item begins that was not carried out
/// @return done how many items are dealt with now
function payGoodPayments(uint256 start, uint256 before) returns (uint256 at, uint256 done) {
    assembly ("memory-safe") {
        at := start
        // the first place from which on no payment of the batch can begin
        let limit := add(at, mul(sub(mload(ITEMS), before), 96))
        if gt(limit, sub(mload(END), 95)) {
            limit := sub(mload(END), 95)
        }
        let payers := mload(PAYERS)
        for {} 1 {} {
            // 1. the head. The bits of a random nonce and a wallet are read as the payer's place and that of a bundle
            //    as the payee's: then no account has this place
            let head := calldataload(at)
            let payer := and(shr(233, head), OFFSET)
            let payee := and(shr(217, head), OFFSET)
            if iszero(and(lt(at, limit), and(lt(payer, payers), lt(payee, mload(PAYEES))))) {
                break
            }

            // 2. the message, where it is hashed
            let amount := and(shr(16, head), AMOUNT)
            mstore(FROM, mload(add(TABLE, payer)))
            mstore(TO, mload(add(TABLE, payee)))
            mstore(VALUE, shr(128, amount))
            mstore(VALID_AFTER, and(shr(104, head), MASK_40))
            mstore(VALID_BEFORE, and(shr(64, head), MASK_40))
            mstore(NONCE, and(head, MASK_64))
            mstore(STRUCT_HASH, keccak256(PAYMENT, 0xe0))

            // 3. time, receiver and balance. That the receiver is not zero, PAYEES says
            let account := mload(add(TABLE_ACCOUNT, payer))
            if iszero(
                and(
                    and(lt(mload(VALID_AFTER), timestamp()), lt(timestamp(), mload(VALID_BEFORE))),
                    iszero(or(lt(account, amount), eq(mload(TO), address())))
                )
            ) {
                break
            }

            // 4. the payer's account as it will be (Account.useNonce, then debit)
            {
                let high := shr(64, account) // balance and nonceBase
                let ahead := sub(mload(NONCE), and(high, MASK_64))
                switch slt(ahead, 1)
                case 0 {
                    account := or(shl(64, add(high, ahead)), or(and(shl(ahead, account), MASK_64), 1))
                }
                default {
                    let behind := sub(0, ahead)
                    if or(gt(behind, 63), and(shr(behind, account), 1)) {
                        break
                    }
                    account := or(account, shl(behind, 1))
                }
            }

            // 5. the signature: r and vs of EIP-2098, s not in the upper half. ecrecover writes over the digest. Where
            //    it answers nothing (a wrong signature) or fails (want of gas: `_payItem` comes to the same) the digest
            //    is left, and no digest is an address
            {
                mstore(DIGEST, keccak256(DOMAIN_BYTES, 66))
                mstore(R, calldataload(add(at, 32)))
                let vs := calldataload(add(at, 64))
                mstore(V, add(shr(255, vs), 27))
                mstore(S, and(vs, MASK_255))
                let good := staticcall(gas(), 1, DIGEST, 0x80, DIGEST, 0x20)
                if iszero(and(good, gt(eq(mload(DIGEST), mload(FROM)), gt(mload(S), HALF_ORDER)))) {
                    break
                }
            }

            // 6. the money. The payee is read after the payer is written: a payment to oneself makes nothing
            mstore(add(TABLE_ACCOUNT, payer), sub(account, amount))
            mstore(add(TABLE_ACCOUNT, payee), add(mload(add(TABLE_ACCOUNT, payee)), amount))
            log3(0, 0, AUTHORIZATION_USED, mload(FROM), mload(NONCE))
            log3(VALUE, 0x20, TRANSFER, mload(FROM), mload(TO))
            at := add(at, 96)
        }
        done := add(before, div(sub(at, start), 96))
    }
}

/// @notice Carry out bundles for as long as they are good. Parameters, results and steps as above.
function payGoodBundles(uint256 start, uint256 before) returns (uint256 at, uint256 done) {
    assembly ("memory-safe") {
        at := start
        done := before
        for {} lt(done, mload(ITEMS)) {
            done := add(done, 1)
        } {
            // 1. the head: a bundle, of something, with no value of its own, and within the batch
            let head := calldataload(at)
            let payer := and(shr(233, head), OFFSET)
            let rows := add(at, 96)
            let next := add(rows, mul(and(shr(224, head), 0x7fff), 12))
            if iszero(
                and(
                    and(lt(payer, mload(PAYERS)), eq(and(head, BUNDLE_FORM), BUNDLE_BIT)),
                    and(lt(rows, next), lt(sub(next, 1), mload(END)))
                )
            ) {
                break
            }

            // 2. the rows, uint16 payee's place | uint80 value each: their hashes and their sum (2^15 values of 80 bits)
            let sum
            {
                // beyond the free memory: the words are needed until the hash is made only
                let hash := mload(0x40)
                for {
                    let row := rows
                } lt(row, next) {
                    row := add(row, 12)
                } {
                    let payee := and(shr(233, calldataload(row)), OFFSET)
                    if iszero(lt(payee, mload(ACCOUNTS))) {
                        break
                    }
                    mstore(ROW_TO, mload(add(TABLE, payee)))
                    let value := and(shr(160, calldataload(row)), MASK_80)
                    mstore(ROW_VALUE, value)
                    sum := add(sum, value)
                    mstore(hash, keccak256(ROW, 0x60))
                    // a payment to this contract is not counted
                    hash := add(hash, shl(5, iszero(eq(mload(ROW_TO), address()))))
                }
                // fewer hashes than rows: a bad place or receiver
                hash := sub(hash, mload(0x40))
                if lt(mul(hash, 12), shl(5, sub(next, rows))) {
                    break
                }
                mstore(BUNDLE_HASH, keccak256(mload(0x40), hash))
            }
            mstore(BUNDLE, mload(BUNDLE_TYPE))
            mstore(BUNDLE_FROM, mload(add(TABLE, payer)))
            mstore(VALID_AFTER, and(shr(104, head), MASK_40))
            mstore(VALID_BEFORE, and(shr(64, head), MASK_40))
            mstore(NONCE, and(head, MASK_64))
            mstore(STRUCT_HASH, keccak256(BUNDLE, 0xc0))

            // 3. time and balance
            let account := mload(add(TABLE_ACCOUNT, payer))
            if iszero(
                and(
                    and(lt(mload(VALID_AFTER), timestamp()), lt(timestamp(), mload(VALID_BEFORE))),
                    iszero(lt(shr(128, account), sum))
                )
            ) {
                break
            }

            // 4. the payer's account as it will be
            {
                let high := shr(64, account) // balance and nonceBase
                let ahead := sub(mload(NONCE), and(high, MASK_64))
                switch slt(ahead, 1)
                case 0 {
                    account := or(shl(64, add(high, ahead)), or(and(shl(ahead, account), MASK_64), 1))
                }
                default {
                    let behind := sub(0, ahead)
                    if or(gt(behind, 63), and(shr(behind, account), 1)) {
                        break
                    }
                    account := or(account, shl(behind, 1))
                }
            }

            // 5. the signature
            {
                mstore(DIGEST, keccak256(DOMAIN_BYTES, 66))
                mstore(R, calldataload(add(at, 32)))
                let vs := calldataload(add(at, 64))
                mstore(V, add(shr(255, vs), 27))
                mstore(S, and(vs, MASK_255))
                let good := staticcall(gas(), 1, DIGEST, 0x80, DIGEST, 0x20)
                if iszero(and(good, gt(eq(mload(DIGEST), mload(BUNDLE_FROM)), gt(mload(S), HALF_ORDER)))) {
                    break
                }
            }

            // 6. the money
            mstore(add(TABLE_ACCOUNT, payer), sub(account, shl(128, sum)))
            log3(0, 0, AUTHORIZATION_USED, mload(BUNDLE_FROM), mload(NONCE))
            for {} lt(rows, next) {
                rows := add(rows, 12)
            } {
                let payee := and(shr(233, calldataload(rows)), OFFSET)
                let amount := and(shr(32, calldataload(rows)), AMOUNT)
                mstore(ROW_VALUE, shr(128, amount))
                mstore(add(TABLE_ACCOUNT, payee), add(mload(add(TABLE_ACCOUNT, payee)), amount))
                log3(ROW_VALUE, 0x20, TRANSFER, mload(BUNDLE_FROM), mload(add(TABLE, payee)))
            }
            at := next
        }
    }
}
