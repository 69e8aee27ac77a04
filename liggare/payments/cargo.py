"""Payments and bundles as the relayer's cargo: their refusals, their batch, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from web3 import Web3
from web3.types import BlockIdentifier

from liggare.chain.raw import call_all
from liggare.chain.sender import refusal
from liggare.errors import ContractRefused, DataError, RelayRefused, SignatureMalformed
from liggare.messages import address
from liggare.payments.client import NonceState, Payments
from liggare.payments.codec import Item, Outcome, accounts, encode, payments_of
from liggare.payments.storage import access_list
from liggare.payments.wire import document, read
from liggare.relay.cargo import Allowance, Facts, Freight, Landed
from liggare.relay.outbox import PAYMENT, Entry, Lane, Pending, Row
from liggare.relay.terms import Limits

__all__ = ["PaymentCargo"]

WINDOW = 64
MARGIN = 30
"""Seconds that a payment must still be valid for when it is taken."""

SKIPPED = Web3.keccak(text="PaymentSkipped(address,bytes32,uint256,uint8)").to_0x_hex()

# the most that a batch uses, in gas: the prices of shanghai, and what tests/relay/test_cargo.py measures, rounded up
CALL = 33_000  # with its access list
ACCOUNT = 23_500  # cold, written for the first time, and its 20 bytes
ITEM = 15_000  # on the readable way of payBatch, its 96 bytes too
RANDOM = 23_500
ROW = 2_800
WALLET = 190_000
SIGNATURE = 40  # a byte, copied twice


class PaymentCargo:
    """See `liggare.relay.cargo.Cargo`."""

    kind = PAYMENT
    lanes: tuple[Lane, ...] = (Lane(PAYMENT),)
    passing = frozenset({"NotYetValid"})

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._domain = payments.domain
        self._item = lru_cache(16_384)(self._parse)

    # ------------------------------------------------------------------ taking in

    def read(self, document_: Any) -> Entry:
        """Return the payment of a JSON document, or of the model of one."""
        try:
            given = read(document_)
        except DataError as exc:
            raise RelayRefused("Malformed", str(exc), at=str(exc).partition(":")[0]) from None
        if given.chain_id != self._domain.chain_id:
            words = f"the payment is for chain {given.chain_id}, this relayer serves {self._domain.chain_id}"
            raise RelayRefused("WrongChain", words, given=given.chain_id, served=self._domain.chain_id)
        if given.contract != self._domain.verifying_contract:
            words = f"the payment is for {given.contract}, this relayer serves {self._domain.verifying_contract}"
            raise RelayRefused("WrongContract", words, given=given.contract, served=self._domain.verifying_contract)
        item = given.item(self._domain)
        message = item.message
        rows = len(payments_of(item))
        return Entry(
            id=item.id.to_0x_hex(),
            kind=PAYMENT,
            alone=False,
            account=message.from_,
            nonce="0x" + message.nonce.hex(),
            total=_total(item),
            units=rows,
            gas=_item_gas(item) + ACCOUNT * (rows + 1),
            body=json.dumps(document(item), separators=(",", ":")),
            signature=item.signature,
        )

    def check_time(self, entry: Entry, now: int) -> None:
        """Refuse what is not valid now and for MARGIN seconds more."""
        message = self._of(entry).message
        if message.valid_before <= now + MARGIN:
            words = f"the payment is valid before {message.valid_before}, and now it is {now}"
            raise RelayRefused("Expired", words, validBefore=message.valid_before, now=now)
        if message.valid_after >= now:
            words = f"the payment is valid after {message.valid_after}, and now it is {now}"
            raise RelayRefused("NotYetValid", words, validAfter=message.valid_after, now=now)

    def check_signer(self, entry: Entry) -> None:
        """Refuse what the payer's key did not sign; a contract wallet is asked in the dry run."""
        item = self._of(entry)
        try:
            signer: str | None = item.signer()
        except SignatureMalformed:
            signer = None
        if signer != entry.account and not self._payments.w3.eth.get_code(address(entry.account)):
            words = f"{entry.account} should have signed, {signer or 'nobody'} did"
            raise RelayRefused("WrongSigner", words, expected=entry.account, actual=signer)

    def allowance(self, entry: Entry, limits: Limits) -> Allowance:  # noqa: ARG002  every payment is like another
        """Return the whole quota and the whole budget."""
        return Allowance(limits.per_account, limits.budget)

    def payees(self, entry: Entry) -> Collection[str]:
        """Return who is paid."""
        return {to for to, _ in payments_of(self._of(entry))}

    def used(self, entries: Sequence[Entry]) -> list[bool]:
        """Tell of each whether its nonce is used; a counter by its account's window."""
        functions, w3 = self._payments.contract.functions, self._payments.w3
        numbers = [int(entry.nonce, 16) for entry in entries]
        payers = sorted({entry.account for entry, number in zip(entries, numbers, strict=True) if number < 2**64})
        states = self._windows(payers)
        random = [index for index, number in enumerate(numbers) if number >= 2**64]
        words = [(_word(entries[index].account), _word(entries[index].nonce)) for index in random]
        used = dict(zip(random, call_all(w3, functions.authorizationState, words), strict=True))
        return [
            any(used[index]) if index in used else states[entry.account].is_used(numbers[index])
            for index, entry in enumerate(entries)
        ]

    def _windows(self, accounts: Sequence[str]) -> dict[str, NonceState]:
        functions, w3 = self._payments.contract.functions, self._payments.w3
        answers = call_all(w3, functions.nonceState, [(_word(account),) for account in accounts])
        return {
            account: NonceState(int.from_bytes(answer[:32], "big"), int.from_bytes(answer[32:], "big"))
            for account, answer in zip(accounts, answers, strict=True)
        }

    def facts(self, accounts: Collection[str]) -> Mapping[str, Facts]:
        """Return balances, and who never had any money nor used a nonce."""
        functions, w3 = self._payments.contract.functions, self._payments.w3
        order = sorted(accounts)
        answers = call_all(w3, functions.balanceOf, [(_word(account),) for account in order])
        balances = {account: int.from_bytes(answer, "big") for account, answer in zip(order, answers, strict=True)}
        windows = self._windows([account for account, balance in balances.items() if balance == 0])
        return {
            account: Facts(balance, account in windows and windows[account] == NonceState(0, 0))
            for account, balance in balances.items()
        }

    def check_room(self, entry: Entry, facts: Mapping[str, Facts], others: Sequence[Pending]) -> None:
        """Refuse a nonce that another could shut out or be shut out by, and a total that the others have not left."""
        self._check_window(entry, others)
        free = facts[entry.account].balance - sum(other.total for other in others)
        if free < entry.total:
            words = f"{entry.account} has {free} units free, {entry.total} are needed"
            raise RelayRefused("BalanceShort", words, free=str(free), needed=str(entry.total))

    def _check_window(self, entry: Entry, others: Sequence[Pending]) -> None:
        """Refuse a counter nonce that could push another out of the window of 64, or be pushed out by it."""
        number = int(entry.nonce, 16)
        for other in (int(each.nonce, 16) for each in others):
            if number < 2**64 and other < 2**64 and abs(number - other) >= WINDOW:
                words = (
                    f"nonce {number} is {abs(number - other)} apart from {other}, which is on its way; 63 is the most"
                )
                raise RelayRefused("NonceApart", words, nonce=str(number), other=str(other))

    # ------------------------------------------------------------------ carrying

    def dry_run(
        self,
        entries: Sequence[Entry | Row],
        block: BlockIdentifier = "latest",
        others: Sequence[Pending] = (),  # noqa: ARG002  no payment waits for another
    ) -> list[str | None]:
        """Return the contract's own answer for each, as payments of one batch in this order."""
        reasons: list[str | None] = []
        at = 0
        while at < len(entries):
            count = self.fit(entries[at:], 12_000_000)
            reasons += self._dry_run(entries[at : at + count], block)
            at += count
        return reasons

    def _dry_run(self, entries: Sequence[Entry | Row], block: BlockIdentifier) -> list[str | None]:
        freight = self.load(entries)
        call = {"to": freight.to, "data": freight.data, "gas": freight.gas, "accessList": freight.access}
        try:
            answer = self._payments.w3.eth.call(call, block)  # type: ignore[arg-type]
        except Exception as exc:
            if not isinstance(found := refusal(exc), ContractRefused):
                raise
            if len(entries) == 1:
                return [found.name]
            return [reason for entry in entries for reason in self._dry_run([entry], block)]
        (outcomes,) = self._payments.w3.codec.decode(["bytes"], answer)
        return [_reason(Outcome(outcome)) for outcome in outcomes]

    def refused(self, entry: Entry, reason: str) -> RelayRefused:  # noqa: ARG002
        """Return the refusal of a payment that the contract would not make."""
        return RelayRefused("NotPayable", f"the contract would answer {reason}", outcome=reason)

    def fit(self, entries: Sequence[Entry | Row], gas: int) -> int:
        """Return how many of the first entries use at most that much gas in one batch; one at least."""
        touched: set[str] = set()
        used = CALL
        for count, entry in enumerate(entries):
            item = self._of(entry)
            touched.add(entry.account)
            touched.update(to for to, _ in payments_of(item))
            used += _item_gas(item)
            if used + ACCOUNT * len(touched) > gas and count:
                return count
        return len(entries)

    def load(self, entries: Sequence[Entry | Row]) -> Freight:
        """Return the call of `payBatch` with them all."""
        items = [self._of(entry) for entry in entries]
        gas = CALL + ACCOUNT * len(accounts(items)) + sum(map(_item_gas, items))
        contract = self._payments.contract
        places = cast(list[dict[str, Any]], access_list(contract.address, items) or [])
        data = contract.encode_abi("payBatch", [encode(items)])
        return Freight(contract.address, bytes.fromhex(data[2:]), gas, places)

    def outcomes(self, landed: Landed, entries: Sequence[Row]) -> list[str | None]:
        """Return the skipped ones' reasons, as the contract's events tell them."""
        reasons: list[str | None] = [None] * len(entries)
        place = self._payments.contract.address.lower()
        for log in landed.logs:
            if log["topics"][0] == SKIPPED and log["address"].lower() == place:
                data = bytes.fromhex(log["data"][2:])
                item, outcome = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
                reasons[item] = _reason(Outcome(outcome))
        return reasons

    def find(self, entries: Sequence[Entry | Row]) -> Mapping[str, tuple[str, int]]:
        """Return by id in which transaction and block exactly these payments were made, where they were."""
        found = self._payments.find_all([self._of(entry) for entry in entries])
        return {id_.to_0x_hex(): (use.transaction, use.block) for id_, use in found.items()}

    # ------------------------------------------------------------------ internal

    def _of(self, entry: Entry) -> Item:
        return self._item(entry.body)

    def _parse(self, body: str) -> Item:
        return read(json.loads(body)).item(self._domain)


def _word(text: str) -> bytes:
    """Return an address or a nonce as an ABI word."""
    return bytes.fromhex(text[2:]).rjust(32, b"\0")


def _reason(outcome: Outcome) -> str | None:
    """Return the contract's word for it."""
    return None if outcome is Outcome.PAID else "".join(word.title() for word in outcome.name.split("_"))


def _total(item: Item) -> int:
    return sum(value for _, value in payments_of(item))


def _item_gas(item: Item) -> int:
    """Return the most that an item uses, its accounts left out."""
    gas = ITEM + ROW * len(payments_of(item))
    if int.from_bytes(item.message.nonce, "big") >= 2**64:
        gas += RANDOM
    if len(item.signature) != 65 or item.signature[64] not in (27, 28) or item.signature[32] >= 0x80:
        gas += WALLET + SIGNATURE * len(item.signature)
    return gas
