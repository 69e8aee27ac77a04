"""Carry what is in the outbox to the chain, and see it to its end.

    claim -> dry run -> sign -> row -> send -> (replace | send again) -> block -> confirmations -> end

Whatever happens between two of these steps, the next `tick` of this relayer or another goes on from what stands
in the outbox and on the chain. Nothing is doubled, since the contract takes each message once; nothing is lost,
since a message leaves the outbox only by an end that the chain shows.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from eth_account.signers.local import LocalAccount
from web3 import Web3

from liggare.chain.worker import GRACE, Form, Worker
from liggare.relay.cargo import WAITS, Cargo, Landed
from liggare.relay.metrics import Metrics
from liggare.relay.outbox import Batch, Lane, Outbox, Result, Row
from liggare.relay.terms import Pace

__all__ = ["Relayer"]

log = logging.getLogger(__name__)


class Relayer(Worker):
    """One worker: one account, one outbox, one cargo of each kind; nonces are chosen under the outbox's lock."""

    def __init__(
        self,
        w3: Web3,
        account: LocalAccount,
        outbox: Outbox,
        cargoes: Sequence[Cargo],
        pace: Pace | None = None,
        *,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Of several cargoes the first may have all transactions under way, each other half of them."""
        self._pace, self._metrics, self._outbox = pace or Pace(), metrics or Metrics(), outbox
        super().__init__("the relayer", w3, account, self._pace.most_fee, self._metrics.troubles, clock)
        self._cargoes = {cargo.kind: cargo for cargo in cargoes}
        self._first = cargoes[0].kind
        self._lanes = [lane for cargo in cargoes for lane in cargo.lanes]
        self._name = secrets.token_hex(16)
        self._missing: dict[int, float] = {}

    # ------------------------------------------------------------------ the loop

    def tick(self) -> bool:
        """Look after every transaction under way, then send what waits; tell whether there was anything new to send."""
        head = self._w3.eth.block_number
        under_way: Counter[str] = Counter()
        for batch in self._outbox.batches("open", "mined"):
            if batch.kind not in self._cargoes:
                continue  # another relayer carries such
            mine = batch.sender == self._account.address
            # another relayer looks after its own, unless it is dead
            if (mine or self._clock() - batch.made > self._pace.lease) and not self._follow(batch, head):
                under_way[batch.kind] += mine
        self._fill_gap()
        sent = 0
        for lane in self._lanes:
            made = self._send_some(lane, self._room(lane.kind, under_way))
            under_way[lane.kind] += made
            sent += made
        self._lanes = [*self._lanes[1:], self._lanes[0]]  # no lane always comes last
        self.ticked = self._clock()
        return sent > 0

    def _room(self, kind: str, under_way: Counter[str]) -> int:
        """Return how many more transactions of this kind may be under way."""
        own = self._pace.under_way if kind == self._first else max(1, self._pace.under_way // 2)
        return min(self._pace.under_way - under_way.total(), own - under_way[kind])

    # ------------------------------------------------------------------ what is under way

    def _follow(self, batch: Batch, head: int) -> bool:
        """Take a transaction a step further where there is one to take; tell whether it is at its end."""
        landed = self._receipt(batch)
        if landed is not None:
            self._missing.pop(batch.id, None)
            return self._land(batch, landed, head)
        if batch.status == "mined" and self._outbox.unmine(batch.id, self._clock()):
            self._metrics.reorganisations.inc()
            log.warning("batch %s: its block is gone", batch.id)
        return self._push(batch)

    def _receipt(self, batch: Batch) -> Landed | None:
        receipt = self._mined(batch.sendings)
        if receipt is None:
            return None
        used = int(receipt["gasUsed"], 16)
        return Landed(
            receipt["transactionHash"],
            int(receipt["blockNumber"], 16),
            receipt["blockHash"],
            int(receipt["status"], 16) == 1,
            used,
            used * int(receipt["effectiveGasPrice"], 16),
            receipt["logs"],
        )

    def _land(self, batch: Batch, landed: Landed, head: int) -> bool:
        """Note the block of a batch, and once it is confirmed what became of each message."""
        facts: dict[str, Any] = {
            "transaction": landed.transaction,
            "block": landed.block,
            "block_hash": landed.block_hash,
            "gas_used": landed.gas_used,
            "cost": str(landed.cost),
        }
        head = max(head, landed.block)  # a block may have come since it was asked for
        if head - landed.block + 1 < self._pace.confirmations:
            if batch.status == "mined" and batch.block_hash != facts["block_hash"]:
                self._outbox.unmine(batch.id, self._clock())
                self._metrics.reorganisations.inc()
            self._outbox.mine(batch.id, facts, self._clock())
            return True
        if not landed.succeeded:
            log.warning("batch %s: reverted, its messages go back into the queue", batch.id)
            self._metrics.reverts.inc()
            self._outbox.bury(batch.id, facts, self._clock())
            return True
        rows, cargo = self._outbox.rows(batch.id), self._cargoes[batch.kind]
        reasons = cargo.outcomes(landed, rows)
        results = [
            Result(row.id, reason, landed.transaction, landed.block) for row, reason in zip(rows, reasons, strict=True)
        ]
        skipped = [row for row, reason in zip(rows, reasons, strict=True) if reason is not None]
        results = self._with_strangers(cargo, results, skipped)
        now = self._clock()
        if self._outbox.settle(batch.id, results, facts, now):
            self._metrics.landed(batch.kind, rows, results, facts, now)
        return True

    def _with_strangers(self, cargo: Cargo, results: Sequence[Result], skipped: Sequence[Row]) -> list[Result]:
        """Return the results with those corrected whose nonce was used because somebody else had carried them."""
        found = cargo.find(skipped) if skipped else {}
        return [Result(each.id, None, *found[each.id]) if each.id in found else each for each in results]

    def _push(self, batch: Batch) -> bool:
        """See to it that a transaction without a block gets one; tell whether that is over."""
        used = self._w3.eth.get_transaction_count(to_sender(batch))
        if used > batch.nonce:
            # another transaction has its nonce, unless the node is only slow to show the receipt
            since = self._missing.setdefault(batch.id, self._clock())
            if self._clock() - since > GRACE and self._is_settled(batch):
                log.warning("batch %s: its nonce went to another transaction", batch.id)
                self._outbox.bury(batch.id, {}, self._clock())
            return True
        newest = batch.sendings[-1]
        if self._clock() - newest.made > self._pace.patience and batch.sender == self._account.address:
            newest = self._replace(batch, newest)
        if not self._knows(newest):
            self._broadcast(newest)
        return False

    def _is_settled(self, batch: Batch) -> bool:
        """Tell whether the nonce is gone so many blocks ago that the chain will not give it back."""
        block = max(0, self._w3.eth.block_number - self._pace.confirmations + 1)
        return self._w3.eth.get_transaction_count(to_sender(batch), block) > batch.nonce

    def _replace(self, batch: Batch, newest: Form) -> Form:
        """Sign the transaction anew for a higher fee."""
        fees = self._raised(newest)
        if fees is None:
            log.warning("batch %s: its fee is at the most that is given", batch.id)
            return newest
        sending = self._sign(batch.nonce, batch.to, batch.data, batch.gas, fees, json.loads(batch.access))
        with self._outbox.write() as connection:
            self._outbox.add_sending(connection, batch.id, sending)
        self._metrics.replacements.inc()
        log.info("batch %s: fee raised to %s", batch.id, fees[0])
        return sending

    def _fill_gap(self) -> None:
        """See to it that the chain has a transaction for the sender's next nonce, where later ones wait for it.

        A chain that was set back further than the confirmations has forgotten ours: the same one is sent again.
        """
        used = self._w3.eth.get_transaction_count(self._account.address)
        batch = self._outbox.batch_at(self._account.address, used)
        if batch is not None:
            if batch.status == "done" and not self._knows(batch.sendings[-1]):
                log.warning("batch %s: the chain forgot it, sent again", batch.id)
                self._metrics.reorganisations.inc()
                self._broadcast(batch.sendings[-1])
        elif any(each.sender == self._account.address and each.nonce > used for each in self._outbox.batches("open")):
            log.warning("nonce %s is nobody's and others wait for it: an empty transaction takes it", used)
            self._broadcast(self._sign(used, self._account.address, b"", 21_000, self._fees()))

    # ------------------------------------------------------------------ what waits

    def _send_some(self, lane: Lane, room: int) -> int:
        """Send what is enough for a transaction or has waited long enough; return how many, `room` at most."""
        now, cargo = self._clock(), self._cargoes[lane.kind]
        sender = self._account.address
        count, oldest = self._outbox.waiting(self._name, lane, now, sender) if room > 0 else (0, now)
        if count == 0 or (not lane.alone and count < self._pace.most and now - oldest < self._pace.wait):
            return 0
        limit = self._pace.alone if lane.alone else self._pace.most
        rows: Sequence[Row] = self._outbox.claim(self._name, lane, limit, now + self._pace.lease, now, sender)
        good = self._sift(cargo, rows if lane.alone else self._cut(cargo, rows)) if rows else []
        loads = [[row] for row in good[:room]] if lane.alone else [good] if good else []
        for load in loads:
            self._send(cargo, load)
        return len(loads)

    def _cut(self, cargo: Cargo, rows: Sequence[Row]) -> Sequence[Row]:
        """Return as many of the rows as fit one transaction; one that failed too often goes alone."""
        weary = [row for row in rows if row.attempts >= self._pace.attempts]
        if weary:
            return weary[:1]
        room = min(self._pace.gas, self._w3.eth.get_block("latest")["gasLimit"] // 2)
        return rows[: cargo.fit(rows, room)]

    def _sift(self, cargo: Cargo, rows: Sequence[Row]) -> list[Row]:
        """End what can't be carried any more, or was by somebody else; return what can be carried now.

        What is refused after the newest block only, and not after the newest confirmed one, waits.
        """
        # what goes alone is tried each time: refused by the contract it costs its whole transaction
        stale = [row for row in rows if row.alone or row.attempts or self._clock() - row.accepted > self._pace.fresh]
        why_not = self._dry_run(cargo, stale) if stale else {}
        reasons = [why_not.get(row.id) for row in rows]
        refused = [row for row, reason in zip(rows, reasons, strict=True) if reason is not None]
        settled = max(0, self._w3.eth.block_number - self._pace.confirmations + 1)
        before = cargo.dry_run(refused, settled) if refused and self._pace.confirmations > 1 else None
        still = {row.id: reason for row, reason in zip(refused, before or [], strict=False)}
        ended, good = [], []
        for row, reason in zip(rows, reasons, strict=True):
            if reason is None and row.attempts <= (1 if row.alone else self._pace.attempts):
                good.append(row)
            elif reason in {WAITS, *cargo.passing} or (reason is not None and still.get(row.id, reason) is None):
                continue
            else:
                ended.append(row)
        why = {row.id: reason or "Reverted" for row, reason in zip(rows, reasons, strict=True)}
        results = self._with_strangers(cargo, [Result(row.id, why[row.id]) for row in ended], ended)
        self._outbox.finish(results, self._clock())
        self._metrics.ended(cargo.kind, results)
        return good

    def _dry_run(self, cargo: Cargo, rows: Sequence[Row]) -> dict[str, str | None]:
        """Return by id why rows would not be carried out after the newest block and what is on its way."""
        with self._outbox.read() as connection:  # before the chain: what lands in between is then on both sides
            others = self._outbox.outstanding(connection, cargo.kind, {row.account for row in rows})
        return dict(zip((row.id for row in rows), cargo.dry_run(rows, others=others), strict=True))

    def _send(self, cargo: Cargo, rows: Sequence[Row]) -> None:
        """Sign the transaction, write it, and only then send it."""
        freight = cargo.load(rows)
        used = self._w3.eth.get_transaction_count(self._account.address)
        fees = self._fees()
        now = self._clock()
        with self._outbox.write() as connection:
            nonce = self._outbox.free_nonce(connection, self._account.address, used)
            sending = self._sign(nonce, freight.to, freight.data, freight.gas, fees, freight.access)
            batch = self._outbox.book(
                connection,
                self._name,
                [row.id for row in rows],
                {
                    "kind": cargo.kind,
                    "sender": self._account.address,
                    "nonce": nonce,
                    "to": freight.to,
                    "data": freight.data,
                    "access": json.dumps(freight.access),
                    "gas": freight.gas,
                    "cost": "0",
                },
                now,
            )
            if batch is None:
                log.warning("a claim ended before its batch was made; it is made anew")
                return
            self._outbox.add_sending(connection, batch, sending)
        self._metrics.sent(rows)
        self._broadcast(sending)

    def price(self) -> int:
        """Return what a unit of gas costs now, in wei."""
        return int(self._w3.eth.gas_price)


def to_sender(batch: Batch) -> Any:
    """Return the batch's sender in the type that web3 wants."""
    return Web3.to_checksum_address(batch.sender)
