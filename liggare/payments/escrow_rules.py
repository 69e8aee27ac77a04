"""The rules of purchases, as a plain-Python twin of Escrow fed by its events and the money's.

Each purchase is paid in once, by its buyer, under the terms that its id is the hash of; it ends once, in time,
and its money goes where its end says. At the end every purchase stands where the chain says, and the escrow holds
what open purchases and plain gifts make, to the unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from liggare.chain.deployments import Deployments
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State as Chain
from liggare.payments.due import Due
from liggare.payments.escrow import State, escrow_domain
from liggare.payments.purchase import NOBODY, Purchase

__all__ = ["EscrowRules"]

CONTRACT, MONEY = "Escrow", "ZeroFeePayments"
ENDS = {
    "PurchaseReleased": State.RELEASED,
    "PurchaseRefunded": State.REFUNDED,
    "PurchaseClaimed": State.CLAIMED,
    "PurchaseReclaimed": State.RECLAIMED,
    "PurchaseArbitrated": State.ARBITRATED,
}


class EscrowRules:
    """Replays the purchases of one deployment."""

    contracts: tuple[str, ...] = (CONTRACT, MONEY)
    anew: tuple[str, ...] = ("domain",)
    kinds: tuple[type[Any], ...] = (Due, Purchase, State)

    def __init__(self, deployments: Deployments) -> None:
        self.domain = escrow_domain(deployments)
        self.escrow = self.domain.verifying_contract
        self.purchases: dict[bytes, Purchase] = {}
        self.states: dict[bytes, State] = {}
        self.gifts = 0
        self._due = Due()
        self._paying: Purchase | None = None  # funded, its payment has not come yet
        self._authorized: tuple[str, bytes] | None = None  # the newest authorization: payer, nonce
        self._nonces: set[bytes] = set()  # of authorizations that may have brought a gift, or a purchase untold
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------------ replay

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event of the escrow or the money."""
        yield from self._due.overdue(row.place, row.transaction)
        if row.contract == MONEY:
            yield from self._money(row)
        elif row.event == "PurchaseFunded":
            yield from self._funded(row)
        else:
            yield from self._ended(row)

    def _money(self, row: Row) -> Iterator[Finding]:
        values = row.arguments
        if row.event == "AuthorizationUsed":
            self._authorized = values["authorizer"], values["nonce"]
        elif row.event == "Transfer" and self.escrow in (values["from"], values["to"]):
            if not self._due.take(row):
                yield from self._untold(row)
            elif self._paying is not None:
                signed = (self._paying.buyer, bytes(self._paying.id))
                if self._authorized != signed:
                    yield Finding(row.place, "the buyer's signature binds the terms", signed, self._authorized)
                self._paying = None

    def _untold(self, row: Row) -> Iterator[Finding]:
        """Money that no event of the escrow announced: in it is a gift, out it has no reason."""
        values = row.arguments
        if values["from"] == self.escrow:
            yield Finding(row.place, "money leaves the escrow for a purchase only", "none", values["value"])
            self.gifts -= values["value"]
        if values["to"] == self.escrow:
            self.gifts += values["value"]
            if self._authorized is not None:
                self._nonces.add(self._authorized[1])

    def _funded(self, row: Row) -> Iterator[Finding]:
        values = row.arguments
        names = ("buyer", "seller", "arbiter", "value", "claimAfter", "reclaimAfter", "orderHash")
        purchase = Purchase(self.domain, *(values[name] for name in names))
        id_ = values["id"]
        if bytes(purchase.id) != id_:
            yield Finding(row.place, "a purchase's id is the hash of its terms", purchase.id.hex(), id_.hex())
        if id_ in self.states:
            yield Finding(row.place, "a purchase is paid in once", State.NONE.name, self.states[id_].name)
        if not row.timestamp <= purchase.claim_after <= purchase.reclaim_after:
            times = (row.timestamp, purchase.claim_after, purchase.reclaim_after)
            yield Finding(row.place, "a purchase is paid in before its deadlines", "in this order", times)
        self.purchases[id_], self.states[id_], self._paying = purchase, State.OPEN, purchase
        self._due.announce(row, (purchase.buyer, self.escrow, purchase.value))
        self._counts["purchases"] += 1

    def _ended(self, row: Row) -> Iterator[Finding]:
        id_, end = row.arguments["id"], ENDS[row.event]
        state = self.states.get(id_, State.NONE)
        if state != State.OPEN:
            yield Finding(row.place, "an open purchase ends, once", State.OPEN.name, state.name)
            return
        purchase = self.purchases[id_]
        self.states[id_] = end
        self._counts["purchases ended"] += 1
        yield from self._in_time(row, purchase, end)
        if end == State.ARBITRATED:
            yield from self._arbitrated(row, purchase)
        else:
            to = purchase.seller if end in (State.RELEASED, State.CLAIMED) else purchase.buyer
            self._due.announce(row, (self.escrow, to, purchase.value))

    def _in_time(self, row: Row, purchase: Purchase, end: State) -> Iterator[Finding]:
        if end == State.CLAIMED and not purchase.claim_after < row.timestamp <= purchase.reclaim_after:
            window = f"after {purchase.claim_after}, up to {purchase.reclaim_after}"
            yield Finding(row.place, "the seller claims between the deadlines", window, row.timestamp)
        if end == State.RECLAIMED and row.timestamp <= purchase.reclaim_after:
            window = f"after {purchase.reclaim_after}"
            yield Finding(row.place, "the money goes back after the last deadline", window, row.timestamp)

    def _arbitrated(self, row: Row, purchase: Purchase) -> Iterator[Finding]:
        to_buyer, to_seller = row.arguments["toBuyer"], row.arguments["toSeller"]
        if purchase.arbiter == NOBODY:
            yield Finding(row.place, "who divides was named by both", "an arbiter", "none")
        if to_buyer + to_seller != purchase.value:
            yield Finding(row.place, "the parts are the whole", purchase.value, to_buyer + to_seller)
        parts = ((purchase.buyer, to_buyer), (purchase.seller, to_seller))
        self._due.announce(row, *((self.escrow, to, part) for to, part in parts if part))

    # ------------------------------------------------------------------ comparison

    def compare(self, state: Chain) -> Iterator[Finding]:
        """Compare every purchase's state and the money held with the chain's own."""
        yield from self._due.overdue(CONTRACT)
        for id_, expected in self.states.items():
            actual = State(state.call(CONTRACT, "stateOf", id_))
            if actual != expected:
                place = f"{CONTRACT} purchase 0x{id_.hex()}"
                yield Finding(place, "a purchase stands where its events lead", expected.name, actual.name)
        for nonce in self._nonces - set(self.states):
            if state.call(CONTRACT, "stateOf", nonce) != State.NONE:
                place = f"{CONTRACT} purchase 0x{nonce.hex()}"
                yield Finding(place, "each purchase that was paid in is told", "PurchaseFunded", "a gift")
        open_ = sum(self.purchases[id_].value for id_, where in self.states.items() if where == State.OPEN)
        held = state.call(MONEY, "balanceOf", self.escrow)
        if held != open_ + self.gifts:
            yield Finding(CONTRACT, "the escrow holds all open purchases", open_ + self.gifts, held)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)
