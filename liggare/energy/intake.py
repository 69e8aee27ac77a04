"""What the operator takes in: a list of refusals from cheap to costly, then one row.

readings: form -> this market -> slots -> meter -> other batches -> counters -> kept, or evidence and a refusal
messages: form -> this market -> home -> known? -> signer -> dry run -> quota -> queued
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3RPCError, Web3ValueError

from liggare.chain.raw import ask
from liggare.chain.sender import refusal
from liggare.energy.batches import Batch, check_against, check_counters, check_meter, check_slots
from liggare.energy.book import Moment
from liggare.energy.client import Energy
from liggare.energy.messages import UTILITY
from liggare.energy.plan import Times
from liggare.energy.store import Message, Store
from liggare.energy.wire import Authorize, Placed, SignedDeposit, SignedOrder, SignedReadings, SignedWithdrawal
from liggare.errors import ContractRefused, InvalidReadings, MarketRefused, SignatureMalformed
from liggare.messages import Signed

__all__ = ["Carried", "Intake", "Limits", "Taken"]

log = logging.getLogger(__name__)

FRESH = 1.0
"""Seconds for which a look at the chain is good enough to judge batches by."""
EVENTS = {"order": "OrderPlaced", "withdrawal": "Withdrawn", "deposit": "Deposited"}


@dataclass(frozen=True)
class Limits:
    """What the operator gives."""

    per_day: int = 50
    """Messages of one home, and deposits of one payer, in a day (UTC)."""
    least_deposit: int = 1_000_000
    """Units of the smallest deposit: each costs the operator gas, whoever's money it is."""
    per_request: int = 500
    """Batches in one request."""


@dataclass(frozen=True)
class Taken:
    """A batch that is kept; `new` unless it was before."""

    batch: Batch
    new: bool


class Carried:
    """A message in the form that the contract takes: how to send it, and how to find it once it is there."""

    def __init__(self, energy: Energy, authorize: Authorize, given: Placed) -> None:
        self._energy, functions = energy, energy.contract.functions
        self.function: ContractFunction
        item: Signed[Any]
        if isinstance(given, SignedOrder):
            item, self.kind, self.home = given.item(energy.domain), "order", given.order.home
            self.function = functions.placeOrder(tuple(item.message.values().values()), item.signature)
        elif isinstance(given, SignedWithdrawal):
            item, self.kind, self.home = given.item(energy.domain), "withdrawal", given.withdrawal.home
            self.function = functions.withdraw(tuple(item.message.values().values()), item.signature)
        else:
            at = given.deposit
            item, self.kind, self.home = given.item(authorize, energy.contract.address), "deposit", at.home
            payer = item.message.values()["from"]
            terms = (payer, at.value, at.valid_after, at.valid_before)
            self.function = functions.deposit(at.home, *terms, bytes.fromhex(at.salt[2:]), item.signature)
        self.signed, self.id = item, item.id.to_0x_hex()
        self.payer: ChecksumAddress | None = item.message.values().get("from")

    def signer(self, moment: Moment, utility: Callable[[], ChecksumAddress]) -> ChecksumAddress:
        """Return who must have signed it."""
        if self.payer is not None:
            return self.payer
        return utility() if self.home == UTILITY else moment.homes[self.home - 1].owner

    def refusal(self, sender: str) -> str | None:
        """Return by name why the contract would not carry it out after the newest block, None where it would."""
        try:
            self.function.call({"from": sender})
        except (ContractLogicError, Web3RPCError, Web3ValueError) as exc:
            found = refusal(exc)
            if isinstance(found, ContractRefused):
                return found.name
            raise
        return None

    def find(self) -> tuple[str, int] | None:
        """Return in which transaction and block it was carried out, by whomever, None where it was not."""
        event = self._energy.contract.events[EVENTS[self.kind]]
        wanted: dict[str, Any] = {"home": self.home}
        if self.payer is None:
            wanted["id"] = self.signed.id
        else:
            wanted["from"] = self.payer
        for log_ in event.get_logs(from_block=self._energy.first_block, argument_filters=wanted):
            if self.payer is None or bytes(log_["args"]["nonce"]) == self.signed.message.values()["nonce"]:
                return log_["transactionHash"].to_0x_hex(), int(log_["blockNumber"])
        return None


class Intake:
    """Takes batches and messages. Any number of threads may use it."""

    def __init__(
        self,
        energy: Energy,
        authorize: Authorize,
        store: Store,
        sender: str,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._energy, self._authorize, self._store, self._sender = energy, authorize, store, sender
        self.limits, self._clock = limits or Limits(), clock
        self.times = Times(energy.genesis, energy.gate, energy.grace, energy.timeout)
        self._lock = threading.Lock()
        self._seen: tuple[float, Moment] | None = None
        self._utility: ChecksumAddress | None = None

    # ------------------------------------------------------------------ the chain

    def moment(self, fresh: float = FRESH) -> Moment:
        """Return the market as it was at most `fresh` seconds ago."""
        with self._lock:
            if self._seen is None or time.monotonic() - self._seen[0] >= fresh:
                self._seen = (time.monotonic(), self._energy.book.look())
            return self._seen[1]

    def now(self, moment: Moment) -> float:
        """Return the time by which slots end: the clock's, or the newest block's where that is ahead."""
        return max(self._clock(), moment.timestamp)

    # ------------------------------------------------------------------ readings

    def readings(self, given: Sequence[SignedReadings]) -> list[Taken | MarketRefused]:
        """Take batches in their order, each for itself. Raises MarketRefused `TooMany` for all of them."""
        if len(given) > self.limits.per_request:
            words = f"{self.limits.per_request} batches are the most in a request"
            raise MarketRefused("TooMany", words, most=self.limits.per_request)
        return [self._one(each) for each in given]

    def _one(self, given: SignedReadings) -> Taken | MarketRefused:
        try:
            self._check_market(given.chain_id, given.contract)
            return self._keep(given.item(self._energy.domain))
        except MarketRefused as exc:
            return exc
        except InvalidReadings as exc:
            return MarketRefused("Malformed", str(exc), at="readings.deltas")

    def _keep(self, signed: Any) -> Taken:
        batch, moment = Batch.of(signed), self.moment()
        try:
            check_slots(batch, moment, self.times.ended(self.now(moment)))
        except MarketRefused:
            moment = self.moment(fresh=0)  # the home may have joined just now
            check_slots(batch, moment, self.times.ended(self.now(moment)))
        check_meter(signed, moment)
        meter = str(moment.meter(batch.home, batch.first))

        def check(others: Sequence[Batch]) -> None:
            check_against(batch, others)
            check_counters(batch, moment)

        try:
            return Taken(batch, self._store.keep(batch, meter, check, self._clock()))
        except MarketRefused as exc:
            if exc.reason == "Contradiction" and self._store.contradict(batch, exc.values["kept"], self._clock()):
                log.warning(
                    "home %s: its meter contradicts itself, %s and %s", batch.home, exc.values["kept"], batch.id
                )
            raise

    # ------------------------------------------------------------------ messages

    def message(self, given: Placed) -> Message:
        """Take a message; asked again, its row tells where it is. Raises MarketRefused."""
        self._check_market(given.chain_id, given.contract)
        moment = self.moment()
        carried = Carried(self._energy, self._authorize, given)
        if carried.home > len(moment.homes):
            moment = self.moment(fresh=0)
        if carried.home > len(moment.homes):
            raise MarketRefused("HomeUnknown", f"there is no home {carried.home}", homes=len(moment.homes))
        known = self._store.message(carried.id)
        if known is not None:
            return known
        if isinstance(given, SignedDeposit) and given.deposit.value < self.limits.least_deposit:
            words = f"the operator carries deposits of {self.limits.least_deposit} units and more"
            raise MarketRefused("DepositTooSmall", words, least=str(self.limits.least_deposit))
        self._check_signer(carried, moment)
        landed = carried.find()
        if landed is None:
            reason = carried.refusal(self._sender)
            if reason is not None:
                raise MarketRefused("NotCarriable", f"the contract refuses it: {reason}", word=reason)
        return self._queue(carried, given, landed)

    def _queue(self, carried: Carried, given: Placed, landed: tuple[str, int] | None) -> Message:
        quota = f"home {carried.home}" if carried.payer is None else f"payer {carried.payer}"
        now = self._clock()
        body = json.dumps(given.model_dump(by_alias=True), separators=(",", ":"))
        end: dict[str, Any] = {} if landed is None else _end(landed)
        row = Message(carried.id, carried.kind, carried.home, quota, body, accepted=now, **end)
        taken = self._store.accept(row, int(now // 86_400), self.limits.per_day)
        if taken is None:
            raise MarketRefused("QuotaExceeded", f"{self.limits.per_day} messages a day are the most for {quota}")
        return taken

    def carried(self, message: Message) -> Carried:
        """Return a message of the store in the form that the contract takes."""
        kinds: dict[str, Any] = {"order": SignedOrder, "withdrawal": SignedWithdrawal, "deposit": SignedDeposit}
        return Carried(self._energy, self._authorize, kinds[message.kind].model_validate_json(message.body))

    def _check_market(self, chain: int, contract: str) -> None:
        served = self._energy.domain
        if chain != served.chain_id:
            words = f"it is for chain {chain}, this operator serves {served.chain_id}"
            raise MarketRefused("WrongChain", words, given=chain, served=served.chain_id)
        if contract != served.verifying_contract:
            words = f"it is for {contract}, this operator serves {served.verifying_contract}"
            raise MarketRefused("WrongContract", words, given=contract, served=served.verifying_contract)

    def _check_signer(self, carried: Carried, moment: Moment) -> None:
        """Refuse what the one did not sign who must; a contract wallet is asked in the dry run."""
        expected = carried.signer(moment, self._owner_of_utility)
        try:
            signer: str | None = carried.signed.signer()
        except SignatureMalformed:
            signer = None
        if signer != expected and ask(self._energy.w3, "eth_getCode", expected, "latest") == "0x":
            words = f"{expected} should have signed, {signer or 'nobody'} did"
            raise MarketRefused("WrongSigner", words, expected=expected, actual=signer)

    def _owner_of_utility(self) -> ChecksumAddress:
        if self._utility is None:
            self._utility = self._energy.contract.functions.homeOf(UTILITY).call()[0]
        return self._utility


def _end(landed: tuple[str, int]) -> dict[str, Any]:
    return {"status": "done", "transaction": landed[0], "block": landed[1]}
