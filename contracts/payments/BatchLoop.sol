// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

// a call between functions costs more than a step of the loops, so they are long; solhint sees no use in assembly
// solhint-disable function-max-lines, no-unused-import

// prettier-ignore
import {
    ACCOUNTS, BUNDLE, BUNDLE_FROM, BUNDLE_HASH, BUNDLE_TYPE, DIGEST, DOMAIN_BYTES, END, FROM, HALF_ORDER, ITEMS,
    LOOPED, MASK_255, MASK_32, MASK_64, NONCE, OFFSET, PAYMENT, R, ROW, ROW_TO, ROW_VALUE, S, STRUCT_HASH, TABLE, TO,
    V, VALID_AFTER, VALID_BEFORE, VALUE
} from "./BatchFrame.sol";

/// @dev The topics of AuthorizationUsed(address,bytes32) and Transfer(address,address,uint256).
uint256 constant AUTHORIZATION_USED = 0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5;
uint256 constant TRANSFER = 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef;
/// @dev The head's bit that tells a bundle.
uint256 constant BUNDLE_BIT = 0x8000000000000000000000000000000000000000000000000000;
/// @dev That bit and the value, which a bundle has not.
uint256 constant BUNDLE_FORM = 0x8000ffffffffffffffff00000000000000000000000000000000;
/// @dev A value as it stands in a head and in an Account: 64 bits from bit 128 on.
uint256 constant AMOUNT = 0xffffffffffffffff00000000000000000000000000000000;

// The two loops below carry out what is common and good: payments, and bundles, with a short counter nonce and a key's
// signature, of which nothing at all is amiss. The first item that is anything else is left alone, nothing of it done;
// ZeroFeePayments._payItem then finds out what is to become of it. So reasons, long nonces, contract wallets and reverts
// are in readable code, and every check that is made here is made there too, with the same result: a fault of the loops
// that refused too much would cost gas, no more. Why assembly: docs/decisions/payments-batch.md.

/// @notice Carry out payments for as long as they are good, even beyond the batch's end: the caller has to revert then.
/// @param start where in calldata the first item begins
/// @param before how many items were dealt with before
/// @return at where in calldata the first item begins that was not carried out
/// @return done how many items are dealt with now
function payGoodPayments(uint256 start, uint256 before) returns (uint256 at, uint256 done) {
    assembly ("memory-safe") {
        let end := mload(LOOPED)
        // what grows by each turn is declared last: it is cheapest on top of the stack
        let item := start
        for {} 1 {} {
            // 1. the head. The bits of a long nonce and a wallet are read as the payer's place and that of a bundle
            //    as the payee's: then no account has this place. Behind the last item stand zeros: expired long ago
            let head := calldataload(item)
            let payer := add(TABLE, and(shr(202, head), OFFSET))
            let payee := add(TABLE, and(shr(186, head), OFFSET))
            if iszero(and(lt(timestamp(), shr(224, head)), and(lt(payer, end), lt(payee, end)))) {
                break
            }

            // 2. the message, where it is hashed
            let amount := and(head, AMOUNT)
            mstore(FROM, mload(add(payer, 0x20)))
            mstore(TO, mload(add(payee, 0x20)))
            mstore(VALUE, shr(128, amount))
            mstore(VALID_AFTER, and(shr(96, head), MASK_32))
            mstore(VALID_BEFORE, shr(224, head))
            mstore(NONCE, and(shr(64, head), MASK_32))
            mstore(STRUCT_HASH, keccak256(PAYMENT, 0xe0))

            // 3. the signature: r and vs of EIP-2098. ecrecover writes over the digest. Where it answers nothing (a
            //    wrong signature) or fails (want of gas: `_payItem` comes to the same) the digest is left, and no
            //    digest is an address
            mstore(DIGEST, keccak256(DOMAIN_BYTES, 66))
            mstore(R, calldataload(add(item, 24)))
            let vs := calldataload(add(item, 56))
            mstore(V, add(shr(255, vs), 27))
            mstore(S, and(vs, MASK_255))
            pop(staticcall(gas(), 1, DIGEST, 0x80, DIGEST, 0x20))

            // 4. signer, s not in the upper half, balance, receiver (LOOPED says that it is not zero) and time
            let account := mload(payer)
            let high := shr(64, account) // balance and nonceBase
            let ahead := sub(mload(NONCE), and(high, MASK_64))
            let good := and(
                gt(
                    eq(mload(DIGEST), mload(FROM)),
                    or(gt(mload(S), HALF_ORDER), or(lt(account, amount), eq(mload(TO), address())))
                ),
                lt(mload(VALID_AFTER), timestamp())
            )
            // 5. the payer's account as it will be (Account.useNonce, then debit); few nonces are behind the highest
            account := or(shl(64, add(high, ahead)), or(and(shl(ahead, account), MASK_64), 1))
            if iszero(and(good, sgt(ahead, 0))) {
                account := mload(payer)
                let behind := sub(0, ahead)
                if iszero(and(good, lt(and(shr(behind, account), 1), lt(behind, 64)))) {
                    break
                }
                account := or(account, shl(behind, 1))
            }
            mstore(payer, sub(account, amount))

            // 6. the payee's account, read only now: a payment to oneself makes nothing
            mstore(payee, add(mload(payee), amount))
            log3(0, 0, AUTHORIZATION_USED, mload(FROM), mload(NONCE))
            log3(VALUE, 0x20, TRANSFER, mload(FROM), mload(TO))
            item := add(item, 88)
        }
        at := item
        done := add(before, div(sub(at, start), 88))
    }
}

/// @notice Carry out bundles for as long as they are good. Parameters, results and steps as above.
/// @dev It stays within the batch.
function payGoodBundles(uint256 start, uint256 before) returns (uint256 at, uint256 done) {
    assembly ("memory-safe") {
        at := start
        done := before
        let end := mload(ACCOUNTS)
        for {} lt(done, mload(ITEMS)) {
            done := add(done, 1)
        } {
            // 1. the head: a bundle, of something, with no value of its own, and within the batch
            let head := calldataload(at)
            let payer := add(TABLE, and(shr(202, head), OFFSET))
            let rows := add(at, 88)
            let next := add(rows, mul(and(shr(192, head), 0x7fff), 10))
            let whole := and(lt(rows, next), lt(sub(next, 1), mload(END)))
            if iszero(and(and(lt(payer, mload(LOOPED)), eq(and(head, BUNDLE_FORM), BUNDLE_BIT)), whole)) {
                break
            }

            // 2. the rows, uint16 payee's place | uint64 value each: their hashes, beyond the free memory since they are
            //    needed only until they are hashed in turn, and their sum (2^15 values of 64 bits)
            let sum := 0
            let hashes := mload(0x40)
            let hash := hashes
            let row := rows
            for {} lt(row, next) {
                row := add(row, 10)
            } {
                let line := calldataload(row)
                let payee := add(TABLE, and(shr(234, line), OFFSET))
                if iszero(lt(payee, end)) {
                    break
                }
                mstore(ROW_TO, mload(add(payee, 0x20)))
                mstore(ROW_VALUE, and(shr(176, line), MASK_64))
                sum := add(sum, mload(ROW_VALUE))
                mstore(hash, keccak256(ROW, 0x60))
                // a payment to this contract is not counted
                hash := add(hash, shl(5, iszero(eq(mload(ROW_TO), address()))))
            }
            // fewer hashes than rows: a bad place or receiver
            let bad := lt(mul(sub(hash, hashes), 10), shl(5, sub(next, rows)))
            mstore(BUNDLE_HASH, keccak256(hashes, sub(hash, hashes)))
            mstore(BUNDLE, mload(BUNDLE_TYPE))
            mstore(BUNDLE_FROM, mload(add(payer, 0x20)))
            mstore(VALID_AFTER, and(shr(96, head), MASK_32))
            mstore(VALID_BEFORE, shr(224, head))
            mstore(NONCE, and(shr(64, head), MASK_32))
            mstore(STRUCT_HASH, keccak256(BUNDLE, 0xc0))

            // 3. the signature
            mstore(DIGEST, keccak256(DOMAIN_BYTES, 66))
            mstore(R, calldataload(add(at, 24)))
            let vs := calldataload(add(at, 56))
            mstore(V, add(shr(255, vs), 27))
            mstore(S, and(vs, MASK_255))
            pop(staticcall(gas(), 1, DIGEST, 0x80, DIGEST, 0x20))

            // 4. signer, s, rows, balance and time
            let account := mload(payer)
            let high := shr(64, account) // balance and nonceBase
            let ahead := sub(mload(NONCE), and(high, MASK_64))
            let good := and(
                gt(
                    eq(mload(DIGEST), mload(BUNDLE_FROM)),
                    or(bad, or(gt(mload(S), HALF_ORDER), lt(shr(128, account), sum)))
                ),
                and(lt(mload(VALID_AFTER), timestamp()), lt(timestamp(), mload(VALID_BEFORE)))
            )

            // 5. the payer's account
            account := or(shl(64, add(high, ahead)), or(and(shl(ahead, account), MASK_64), 1))
            if iszero(and(good, sgt(ahead, 0))) {
                account := mload(payer)
                let behind := sub(0, ahead)
                if iszero(and(good, lt(and(shr(behind, account), 1), lt(behind, 64)))) {
                    break
                }
                account := or(account, shl(behind, 1))
            }
            mstore(payer, sub(account, shl(128, sum)))

            // 6. the payees'
            log3(0, 0, AUTHORIZATION_USED, mload(BUNDLE_FROM), mload(NONCE))
            for {
                row := rows
            } lt(row, next) {
                row := add(row, 10)
            } {
                let line := calldataload(row)
                let payee := add(TABLE, and(shr(234, line), OFFSET))
                let amount := and(shr(48, line), AMOUNT)
                mstore(ROW_VALUE, shr(128, amount))
                mstore(payee, add(mload(payee), amount))
                log3(ROW_VALUE, 0x20, TRANSFER, mload(BUNDLE_FROM), mload(add(payee, 0x20)))
            }
            at := next
        }
    }
}
