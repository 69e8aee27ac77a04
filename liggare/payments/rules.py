"""The rules of the money, as a plain-Python twin of ZeroFeePayments fed by its events.

Money appears and disappears only by Transfer from and to zero, nobody goes below zero, a nonce
works once, and only the issuer's changes of role change the issuer and add vaults. At the end balances, supply
and nonce windows equal the chain's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State

__all__ = ["PaymentRules"]

ZERO = "0x" + "0" * 40
CONTRACT = "ZeroFeePayments"


class PaymentRules:
    """Replays the money."""

    contracts: tuple[str, ...] = (CONTRACT,)
    anew: tuple[str, ...] = ()
    kinds: tuple[type[Any], ...] = ()

    def __init__(self) -> None:
        self.balances: Counter[str] = Counter()
        self.supply = 0
        self.issuer = ZERO
        self.vaults: set[str] = set()
        self.windows: dict[str, tuple[int, int]] = {}
        self.allowances: Counter[tuple[str, str]] = Counter()
        """By owner and spender, as told last; what was moved under one is taken off where its call is followed."""
        self.permits: Counter[str] = Counter()
        """How many permits of an owner were followed."""
        self._random: set[tuple[str, bytes]] = set()
        self._authorized: tuple[str, str, int] | None = None  # payer, transaction, log index
        self._counts: Counter[str] = Counter()

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event of the money."""
        values = row.arguments
        if row.event == "Transfer":
            yield from self._transfer(row, values["from"], values["to"], values["value"])
        elif row.event in ("AuthorizationUsed", "AuthorizationCanceled"):
            yield from self._nonce(row, values["authorizer"], values["nonce"])
        elif row.event == "IssuerChanged":
            if values["previousIssuer"] != self.issuer:
                yield Finding(row.place, "the issuer hands the role on", self.issuer, values["previousIssuer"])
            self.issuer = values["newIssuer"]
        elif row.event == "VaultAdded":
            self.vaults.add(values["vault"])
        elif row.event == "Approval":
            self.allowances[values["owner"], values["spender"]] = values["value"]
            self._counts["allowances"] += 1

    def _transfer(self, row: Row, payer: str, payee: str, value: int) -> Iterator[Finding]:
        if self._authorized is not None:
            signer, transaction, index = self._authorized
            self._authorized = None
            if (signer, transaction, index + 1) != (payer, row.transaction, row.log_index):
                yield Finding(row.place, "the payment right after an authorization is its signer's", signer, payer)
        if payer == ZERO:
            self.supply += value
            self._counts["mintings"] += 1
        else:
            if self.balances[payer] < value:
                yield Finding(row.place, "nobody pays more than they have", self.balances[payer], value)
            self.balances[payer] -= value
        if payee == ZERO:
            self.supply -= value
            self._counts["burnings"] += 1
        else:
            self.balances[payee] += value
        if ZERO not in (payer, payee):
            self._counts["payments"] += 1

    def is_used(self, payer: str, nonce: bytes) -> bool:
        """Tell whether a nonce can't be used any more: used, canceled, or fallen out of the window."""
        number = int.from_bytes(nonce, "big")
        if number >= 2**64:
            return (payer, nonce) in self._random
        base, window = self.windows.get(payer, (0, 0))
        return number <= base and (base - number > 63 or bool(window >> (base - number) & 1))

    def _nonce(self, row: Row, payer: str, nonce: bytes) -> Iterator[Finding]:
        number, used = int.from_bytes(nonce, "big"), self.is_used(payer, nonce)
        if number < 2**64:
            base, window = self.windows.get(payer, (0, 0))
            if number <= base:
                window |= 1 << min(base - number, 64) & (2**64 - 1)
            else:
                window = (window << min(number - base, 64) | 1) & (2**64 - 1)
            self.windows[payer] = (max(base, number), window)
        else:
            self._random.add((payer, nonce))
        if used:
            yield Finding(row.place, "a nonce works once", "unused", f"{payer} used {number:#x} before")
        if row.event == "AuthorizationUsed":
            self._authorized = (payer, row.transaction, row.log_index)
            self._counts["authorizations"] += 1
        else:
            self._counts["cancellations"] += 1

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare every balance and window, the supply and the issuer with the chain's own."""
        if self._authorized is not None:
            yield Finding(CONTRACT, "every used authorization paid", "a Transfer", "none after the last one")
        supply = state.call(CONTRACT, "totalSupply")
        if supply != self.supply:
            yield Finding(CONTRACT, "the supply is what was minted less what was burned", self.supply, supply)
        if sum(self.balances.values()) != self.supply:
            yield Finding(CONTRACT, "all balances are the supply", self.supply, sum(self.balances.values()))
        if (issuer := state.call(CONTRACT, "issuer")) != self.issuer:
            yield Finding(CONTRACT, "the issuer is the last one named", self.issuer, issuer)
        for vault in self.vaults:
            if not state.call(CONTRACT, "isKnownVault", vault):
                yield Finding(f"{CONTRACT} vault {vault}", "a vault that was added may mint", True, False)
        for account, balance in self.balances.items():
            actual = state.call(CONTRACT, "balanceOf", account)
            if actual != balance:
                yield Finding(f"{CONTRACT} account {account}", "the balance is what its payments make", balance, actual)
        for account in {*self.balances, *self.windows}:
            window, actual = self.windows.get(account, (0, 0)), tuple(state.call(CONTRACT, "nonceState", account))
            if actual != window:
                yield Finding(f"{CONTRACT} account {account}", "the nonces used are those told", window, actual)
        self._counts["balances"] = len(self.balances)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)
