"""A payroll: many payments of one payer from a CSV file, none of them twice however often it is run.

    file -> rows, or every bad line -> what the chain shows as paid -> bundles of the rest -> receipts

A run has a name. Its bundles (one signature for many rows, paid whole or not at all) have nonces that only the
payer's key makes from that name and the bundle's number; they are carried one after the other. So nothing has to be
kept between two tries: the nonces' uses on the chain tell what is paid already, whoever carried it and however the
last try ended. Rows may be added and moved between two tries; one that was paid and is gone or changed stops the run.
"""

from __future__ import annotations

import csv
import hmac
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.errors import ContractRefused, PayrollChanged, PayrollInvalid, PayrollUncovered, UsageError
from liggare.messages import address
from liggare.payments.client import Payments, amount, text
from liggare.payments.codec import VALUE, Outcome, decode
from liggare.payments.messages import PaymentBundle
from liggare.payments.uses import Use

__all__ = ["Payroll", "Receipt", "Row", "read"]

COLUMNS = ["payee", "amount", "reference"]
SIZE = 200
"""Rows of a bundle: 200 payees who never had money take 5.1 million gas, a sixth of a block of 30 million."""


@dataclass(frozen=True)
class Row:
    """One line of the file: `value` units to `payee`; the reference is the payer's own and never leaves the file."""

    line: int
    payee: ChecksumAddress
    value: int
    reference: str


@dataclass(frozen=True)
class Receipt:
    """A row that is paid: its bundle's message id where the transaction shows it, its transaction and block.

    `fresh` is false where an earlier try paid it.
    """

    row: Row
    id: str
    transaction: str
    block: int
    fresh: bool


def read(path: Path) -> list[Row]:
    """Read a file in UTF-8 with the columns payee, amount (in the currency), reference.

    Raises PayrollInvalid with every bad line: an address or amount that is none, nothing to pay, a line that is
    there twice.
    """
    problems: list[tuple[int, str]] = []
    rows: dict[tuple[str, int, str], Row] = {}
    for line, fields in _lines(path):
        try:
            row = _row(line, fields)
        except UsageError as exc:
            problems.append((line, str(exc)))
            continue
        first = rows.setdefault((row.payee, row.value, row.reference), row)
        if first is not row:
            problems.append((line, f"the same as line {first.line}; tell them apart by their references"))
    if not rows and not problems:
        problems.append((1, "there is nothing to pay"))
    if problems:
        raise PayrollInvalid(str(path), problems)
    return list(rows.values())


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the file's lines after its header, each with its number; empty ones are left out."""
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            if header != COLUMNS:
                raise PayrollInvalid(str(path), [(1, f"the first line is {','.join(COLUMNS)}")])
            for fields in lines:
                line = lines.line_num
                if any(fields):
                    yield line, [field.strip() for field in fields]
    except OSError as exc:
        raise PayrollInvalid(str(path), [(line, f"it can't be read: {exc.strerror}")]) from None
    except (csv.Error, UnicodeDecodeError) as exc:
        raise PayrollInvalid(str(path), [(line, f"it is no CSV file in UTF-8: {exc}")]) from None


def _row(line: int, fields: Sequence[str]) -> Row:
    if len(fields) != len(COLUMNS):
        raise UsageError(f"{len(fields)} columns instead of {len(COLUMNS)}")
    payee, value, reference = address(fields[0]), amount(fields[1]), fields[2]
    if int(payee, 16) == 0:
        raise UsageError("the zero address can't be paid")
    if not 0 < value < VALUE:
        raise UsageError(f"{fields[1]} is no amount to pay: more than nothing, less than 2^64 units")
    return Row(line, payee, value, reference)


class Payroll:
    """One named run of one payer in the money on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments, payer: LocalAccount, run: str, *, size: int = SIZE) -> None:
        """`size` is the most rows that one bundle pays. Raises UsageError for a run without a name."""
        if not run.strip():
            raise UsageError("a payroll's run needs a name, such as 2026-11")
        self.w3, self.payer, self.run, self.size = w3, payer, run, size
        self.payments = Payments(w3, deployments)
        self._uses: list[Use | None] = []  # by the bundle's number; None where its nonce was canceled

    def nonce(self, number: int) -> bytes:
        """Return the nonce of a bundle: HMAC-SHA256 under the payer's key, so that it tells nobody of the run."""
        domain = self.payments.domain
        words = f"liggare payroll\0{domain.chain_id}\0{domain.verifying_contract}\0{number}\0{self.run}"
        found = hmac.digest(bytes(self.payer.key), words.encode(), "sha256")
        if int.from_bytes(found, "big") < 2**64:
            raise UsageError("this run's name makes a counter nonce, once in 2^192; take another")
        return found

    def settled(self, rows: Sequence[Row]) -> dict[Row, Use]:
        """Return the rows that the chain shows as paid, each with the use that paid it.

        Raises PayrollChanged where the run paid what is not among the rows.
        """
        self._scan()
        paid = Counter((transfer, use) for use in self._uses if use for transfer in use.transfers)
        found = {}
        for row in rows:
            for use in self._uses:
                if use and paid[(row.payee, row.value), use] > 0:
                    paid[(row.payee, row.value), use] -= 1
                    found[row] = use
                    break
        for ((payee, value), _), count in paid.items():
            if count > 0:
                raise PayrollChanged(self.run, text(value), payee)
        return found

    def pay(self, rows: Sequence[Row], sender: Sender) -> Iterator[Receipt]:
        """Pay the rows that are not paid; yield a receipt for each row as soon as the chain shows it paid.

        Raises PayrollInvalid for a row that can't be paid, PayrollChanged, PayrollUncovered before anything is sent;
        ContractRefused where a bundle was skipped, with nothing of it paid.
        """
        self._check(rows)
        before = self.settled(rows)
        missing = sum(row.value for row in rows if row not in before)
        if (balance := self.payments.balance(self.payer.address)) < missing:
            raise PayrollUncovered(text(missing), text(balance))
        yield from self._receipts(before, fresh=False)
        told = set(before)
        while due := [row for row in rows if row not in told][: self.size]:
            self._carry(due, sender)
            news = {row: use for row, use in self.settled(rows).items() if row not in told}
            yield from self._receipts(news, fresh=True)
            told |= set(news)

    def _check(self, rows: Sequence[Row]) -> None:
        nobody = {self.payer.address: "the payer", self.payments.contract.address: "the money's own contract"}
        problems = [(row.line, f"{nobody[row.payee]} can't be paid") for row in rows if row.payee in nobody]
        if problems:
            raise PayrollInvalid(f"run {self.run}", problems)

    def _scan(self) -> None:
        """Go on from the first bundle that was not used when last looked at."""
        used = self.payments.contract.functions.authorizationState
        while used(self.payer.address, nonce := self.nonce(len(self._uses))).call():
            self._uses.append(next(iter(self.payments.uses.find(nonce, self.payer.address)), None))

    def _carry(self, due: Sequence[Row], sender: Sender) -> None:
        """Carry one bundle. Where somebody else carried its nonce at the same time, that is as good."""
        nonce = self.nonce(len(self._uses))
        bundle = self.payments.bundle(self.payer, [(row.payee, row.value) for row in due], nonce=nonce)
        _, (outcome,) = self.payments.carry_batch([bundle], sender)
        if outcome not in (Outcome.PAID, Outcome.NONCE_USED):
            raise ContractRefused(
                "PaymentSkipped", {"outcome": outcome.name, "first line": due[0].line, "rows": len(due)}
            )

    def _receipts(self, found: dict[Row, Use], *, fresh: bool) -> Iterator[Receipt]:
        ids = {use: self._id(use) for use in set(found.values())}
        for row, use in found.items():
            yield Receipt(row, ids[use], use.transaction, use.block, fresh)

    def _id(self, use: Use) -> str:
        """Return the id of the bundle that a transaction carried; empty where another contract carried it."""
        sent = self.w3.eth.get_transaction(use.transaction)  # type: ignore[arg-type]
        if sent["to"] != self.payments.contract.address:
            return ""
        function, words = self.payments.contract.decode_function_input(sent["input"])
        if function.fn_name != "payBatch":
            return ""
        nonce = self.nonce(self._uses.index(use))
        for item in decode(words["batch"], self.payments.domain):
            message = item.message
            if isinstance(message, PaymentBundle) and message.nonce == nonce:
                return item.id.to_0x_hex()
        return ""
