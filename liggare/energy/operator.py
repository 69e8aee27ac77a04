"""The operator of a market: looks at the chain, decides what is next, writes it down, sends it, and sees it to its end.

    chain -> plan -> proposal -> dry run -> sign -> row -> send -> (send again | replace) -> block -> end

What is decided is `liggare.energy.plan`'s; here are its effects. The chain is asked first each time, so a slot that
another has settled is simply done, whoever it was, and after a death there is nothing to repair: the next tick finishes
what stands in the database as under way, and goes on from where the chain is.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth_account.signers.local import LocalAccount
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3RPCError, Web3ValueError

from liggare.chain.sender import refusal
from liggare.chain.worker import GRACE, Worker
from liggare.energy.book import Moment
from liggare.energy.client import Energy
from liggare.energy.figures import Figures
from liggare.energy.intake import Carried, Intake
from liggare.energy.messages import UTILITY
from liggare.energy.plan import Clear, Close, Post, Wait, edge, plan, room
from liggare.energy.store import Message, Sending, Store
from liggare.errors import ChainError, ContractRefused

__all__ = ["Operator", "Pace"]

log = logging.getLogger(__name__)

PASSING = frozenset({"EnergyTooEarly", "EnergyWrongSlot", "EnergyHomeJoins", "EnergyMeterChanges"})
"""Refusals of a clearing that tell of a chain that moved on, or of a clock that has not."""


@dataclass(frozen=True)
class Pace:
    """How fast and how carefully the operator works; times in seconds."""

    slots: int = 1
    """Slots of a batch that meters are asked for: batches end at its multiples."""
    most: int = 96
    """Slots in one transaction."""
    gas: int = 15_500_000
    """Gas limit of one transaction, at most; the block's at most in any case."""
    settle_in: float = 30.0
    """After a start, how long nobody is marked as missing: meters hand in what they could not meanwhile."""
    under_way: int = 8
    """Messages that may wait for their block at once."""
    confirmations: int = 1
    """Blocks, the transaction's own among them, after which an end is an end."""
    patience: float = 30.0
    """How long a transaction may wait for its block before its fee is raised."""
    lease: float = 30.0
    """How long another operator on the same database has for what it began."""
    most_fee: int = 500 * 10**9
    """Wei per gas that is never exceeded."""
    attempts: int = 3
    """Transactions that a message may fail with, and refusals of a clearing before its slot counts as stuck."""


class Operator(Worker):
    """One worker: one account, one database, one market."""

    def __init__(
        self,
        energy: Energy,
        account: LocalAccount,
        store: Store,
        intake: Intake,
        pace: Pace | None = None,
        *,
        figures: Figures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._energy, self._store, self._intake = energy, store, intake
        self.pace, self._figures = pace or Pace(), figures or Figures()
        super().__init__("the operator", energy.w3, account, self.pace.most_fee, self._figures.troubles, clock)
        self._name = secrets.token_hex(16)
        self._since = clock() + self.pace.settle_in
        self._lost: dict[int, float] = {}
        self._bad: set[str] = set()
        self._refusals: dict[int, int] = {}
        self._slots_next = True

    # ------------------------------------------------------------------ the loop

    def run(self, stop: threading.Event, pause: float = 0.5, busy: float = 0.02) -> None:
        """Tick until told to stop: slots are slow, and what is under way has to be looked at."""
        super().run(stop, pause, busy)

    def tick(self) -> bool:
        """Look after what is under way, then send what is next; tell whether something is or was sent."""
        mine: list[Sending] = []
        for sending in self._store.open():
            own = sending.sender == self._account.address
            # another operator looks after its own, unless it is dead
            if (own or self._clock() - sending.made > self.pace.lease) and not self._follow(sending) and own:
                mine.append(sending)
        sent = False
        if not any(sending.kind in ("clear", "close") for sending in mine):
            slots_first, self._slots_next = self._slots_next, not self._slots_next
            if slots_first and not mine:
                sent = self._settle_some()
            if not sent:
                sent = self._carry_some(self.pace.under_way - len(mine)) > 0
            if not sent and not mine and not slots_first:
                sent = self._settle_some()
        self.ticked = self._clock()
        return sent or bool(mine)

    # ------------------------------------------------------------------ what is under way

    def _follow(self, sending: Sending) -> bool:
        """Take a transaction a step further where there is one to take; tell whether it is at its end."""
        landed = self._receipt(sending)
        if landed is None:
            return self._push(sending)
        self._lost.pop(sending.id, None)
        block = int(landed["blockNumber"], 16)
        if max(self._w3.eth.block_number, block) - block + 1 < self.pace.confirmations:
            return False
        where = (landed["transactionHash"], block)
        succeeded = int(landed["status"], 16) == 1
        message = self._store.message_of(sending.id) if sending.kind == "message" else None
        carried = message.id if succeeded and message is not None else None
        if not self._store.end(sending.id, "done" if succeeded else "reverted", where, carried):
            return True  # another process with this key was quicker
        self._figures.cost.inc(int(landed["gasUsed"], 16) * int(landed["effectiveGasPrice"], 16))
        if carried is not None:
            self._figures.finished.labels("done").inc()
        if succeeded and sending.first is not None and sending.end is not None:
            counter = self._figures.cleared if sending.kind == "clear" else self._figures.closed
            counter.inc(sending.end - sending.first)
        if not succeeded:
            self._failed(sending, message)
        return True

    def _failed(self, sending: Sending, message: Message | None) -> None:
        """See what a transaction that failed in its block leaves behind; the next tick plans anew."""
        self._figures.reverts.inc()
        if message is not None:
            self._store.requeue(message.id)
        elif sending.first is not None and self._energy.next_slot() > sending.first:
            log.info("slots from %s on were settled by another", sending.first)
            self._figures.overtaken.inc()

    def _receipt(self, sending: Sending) -> dict[str, Any] | None:
        return self._mined(sending.forms)

    def _push(self, sending: Sending) -> bool:
        """See to it that a transaction without a block gets one; tell whether that is over."""
        used = self._w3.eth.get_transaction_count(self._w3.to_checksum_address(sending.sender))
        if used > sending.nonce:
            # another transaction has its nonce, unless the node is only slow to show the receipt
            since = self._lost.setdefault(sending.id, self._clock())
            if self._clock() - since <= GRACE:
                return False
            log.warning("transaction %s: its nonce went to another", sending.forms[-1].hash)
            self._bury(sending)
            return True
        if not self._knows(sending.forms[-1]):
            if sending.kind in ("clear", "close") and self._energy.next_slot() != sending.first:
                self._figures.overtaken.inc()  # nobody has it: its nonce is free for the next one
                self._bury(sending)
                return True
            self._broadcast(sending.forms[-1])
        elif self._clock() - sending.forms[-1].made > self.pace.patience and sending.sender == self._account.address:
            self._replace(sending)
        return False

    def _bury(self, sending: Sending) -> None:
        message = self._store.message_of(sending.id) if sending.kind == "message" else None
        if self._store.end(sending.id, "dead") and message is not None:
            self._store.requeue(message.id)

    def _replace(self, sending: Sending) -> None:
        """Sign the transaction anew for a higher fee."""
        newest = sending.forms[-1]
        fees = self._raised(newest)
        if fees is None:
            log.warning("transaction %s: its fee is at the most that is given", newest.hash)
            return
        form = self._sign(sending.nonce, sending.to, sending.data, sending.gas, fees)
        self._store.add_form(sending.id, form)
        self._figures.replacements.inc()
        self._broadcast(form)

    # ------------------------------------------------------------------ messages

    def _carry_some(self, most: int) -> int:
        """Send messages that wait, each in a transaction of its own; return how many."""
        if most < 1 or self._store.waiting() == 0:
            return 0
        now, sent = self._clock(), 0
        for message in self._store.claim(self._name, most, now + self.pace.lease, now):
            carried = self._intake.carried(message)
            if self._ended(message, carried):
                continue
            try:
                gas = carried.function.estimate_gas({"from": self._account.address}) * 5 // 4
            except (ContractLogicError, Web3RPCError, Web3ValueError) as exc:
                raise refusal(exc) from None  # the chain moved on since the dry run: again
            sent += self._send("message", carried.function, gas, message=message.id)
        return sent

    def _ended(self, message: Message, carried: Carried) -> bool:
        """End a message that was carried by another, or can't be any more; tell whether it was ended."""
        reason = carried.refusal(self._account.address)
        where = carried.find() if reason is not None or message.attempts else None
        if where is None and reason is None and message.attempts < self.pace.attempts:
            return False
        reason = None if where is not None else reason or "Reverted"
        if self._store.finish(message.id, reason, where):
            self._figures.finished.labels("done" if reason is None else "failed").inc()
        return True

    # ------------------------------------------------------------------ slots

    def _settle_some(self) -> bool:
        """Clear or close what is due; tell whether a transaction was sent."""
        moment = self._energy.book.look()
        now = self._intake.now(moment)
        times = self._intake.times
        self._figures.behind.set(max(times.ended(now) - moment.next_slot, 0))
        gas = min(self.pace.gas, self._w3.eth.get_block("latest")["gasLimit"])
        homes = sum(home.from_slot <= moment.next_slot for home in moment.homes)
        step = plan(
            moment,
            self._store.kept(moment.next_slot),
            now,
            times,
            slots=self.pace.slots,
            most=self._most(homes, gas),
            since=self._since,
            bad=self._bad,
            stuck=self._refusals.get(moment.next_slot, 0) >= self.pace.attempts,
        )
        functions = self._energy.contract.functions
        if isinstance(step, Wait):
            return False
        if isinstance(step, Post):
            calls = [tuple(each.signed(self._energy.domain).message.values().values()) for each in step.batches]
            signatures = [each.signature for each in step.batches]
            posts = [functions.postReadings(*pair) for pair in zip(calls, signatures, strict=True)]
            return sum(self._try("post", post, gas) for post in posts[: self.pace.under_way]) > 0
        if isinstance(step, Close):
            return self._try("close", functions.closeSlots(step.upto), gas, (step.first, step.upto))
        signed = {home: batch.signed(self._energy.domain) for home, batch in step.batches.items()}
        proposal = self._energy.propose(signed, step.count, moment=moment)
        function = functions.clear(proposal.first_slot, proposal.hints, proposal.readings)
        sent = self._try("clear", function, gas, (step.first, step.first + step.count), step)
        if sent:
            self._figures.missing.inc(len(step.missing) * step.count)
        return sent

    def _most(self, homes: int, gas: int) -> int:
        return min(self.pace.most, max(room(homes, gas), 1))

    def wanted(self) -> tuple[Moment, int]:
        """Return the market now, and the slot at which the batch should end that begins with the next one to settle."""
        moment = self._intake.moment()
        homes = sum(home.from_slot <= moment.next_slot for home in moment.homes)
        upto = moment.next_slot + self._most(homes, self.pace.gas)
        return moment, min(edge(moment.next_slot, self.pace.slots, moment.cuts()), upto)

    def _try(
        self,
        kind: str,
        function: ContractFunction,
        most: int,
        slots: tuple[int, int] | None = None,
        step: Clear | None = None,
    ) -> bool:
        """Send what the contract would carry out now; of a clearing that it refuses, note what is to blame."""
        try:
            gas = function.estimate_gas({"from": self._account.address})
        except (ContractLogicError, Web3RPCError, Web3ValueError) as exc:
            error = refusal(exc)
            if step is not None:
                self._blame(error, step)
                return False
            if isinstance(error, ContractRefused):
                return False  # somebody else did it, or the chain moved on
            raise error from None
        return self._send(kind, function, min(gas * 5 // 4, max(most, gas)), slots)

    def _blame(self, error: ChainError, step: Clear) -> None:
        """Leave out the batch that the contract refuses; a slot refused for no home's reason can only be closed."""
        if not isinstance(error, ContractRefused):
            raise error
        if error.name in PASSING or self._energy.next_slot() != step.first:
            return
        log.warning("the contract refuses to clear slots from %s on: %s", step.first, error)
        batch = step.batches.get(error.arguments.get("home", UTILITY))
        if batch is not None:
            self._bad.add(batch.id)
        else:
            self._refusals[step.first] = self._refusals.get(step.first, 0) + 1

    # ------------------------------------------------------------------ sending

    def _send(
        self,
        kind: str,
        function: ContractFunction,
        gas: int,
        slots: tuple[int, int] | None = None,
        message: str | None = None,
    ) -> bool:
        """Sign the transaction, write it, and only then send it; False where another has taken it over."""
        used = self._w3.eth.get_transaction_count(self._account.address)
        fees, now = self._fees(), self._clock()
        to, data = self._energy.contract.address, function._encode_transaction_data()
        with self._store.booking() as booking:
            if slots is not None and booking.taken(self._account.address, slots[0], now - self.pace.lease):
                return False
            nonce = booking.nonce(self._account.address, used)
            form = self._sign(nonce, to, bytes.fromhex(data[2:]), gas, fees)
            values = {"kind": kind, "sender": self._account.address, "nonce": nonce, "to": to}
            values |= {"data": bytes.fromhex(data[2:]), "gas": gas, "made": now}
            values |= {"first": None, "end": None} if slots is None else {"first": slots[0], "end": slots[1]}
            if not booking.write(values, form, message):
                return False
        self._broadcast(form)
        return True
