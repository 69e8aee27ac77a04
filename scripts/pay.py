"""Pay a payroll from a CSV file: `brownie run pay main FILE RUN KEY [CARRIER]`.

    FILE     a line for each payment: payee,amount,reference (that is also its first line)
    RUN      the run's name, such as 2026-11: run again under the same name, it pays nobody twice
    KEY      key file of the payer
    CARRIER  key file of who pays the gas; without it the payer does

The contracts' record and the password file are those of LIGGARE_DEPLOYMENTS and LIGGARE_PASSWORD_FILE. What was paid,
in which transaction and block, goes to FILE.receipt.csv, which is written anew each time from what the chain shows.
"""

import csv
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import requests
from brownie import web3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.cli.options import Session
from liggare.errors import LiggareError, PayrollInvalid, UsageError
from liggare.payments.client import text
from liggare.payments.payroll import Payroll, Receipt, Row, read
from liggare.settings import Settings

HEADER = ["line", "payee", "amount", "reference", "status", "id", "transaction", "block"]


def write_receipts(path: Path, rows: Iterable[Row], receipts: dict[Row, Receipt]) -> None:
    """Write every row with what became of it, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(HEADER)
            lines.writerows(line(row, receipts.get(row)) for row in rows)
        partial.replace(path)
    except OSError as exc:
        raise LiggareError(f"{path} can't be written: {exc.strerror}; run it again, nobody is paid twice") from None


def line(row: Row, paid: Receipt | None) -> list[object]:
    """Return a row's line of the receipts."""
    words: list[object] = [row.line, row.payee, text(row.value), row.reference]
    if paid is None:
        return [*words, "not paid", "", "", ""]
    return [*words, "paid now" if paid.fresh else "paid before", paid.id, paid.transaction, paid.block]


def pay(file: Path, run: str, key: Path, carrier: Path | None, console: Console) -> Path:
    """Pay what is not paid yet, telling how far it is; return the receipts' path."""
    rows = read(file)
    session = Session(Settings.from_environment())
    w3 = connect(web3.provider.endpoint_uri, session.settings.chain_id)
    deployments = Deployments.load(session.settings.deployments, w3.eth.chain_id)
    deployments.check(w3)
    payer = session.account(key)
    payroll = Payroll(w3, deployments, payer, run)
    session.w3 = w3
    sender = session.sender(payer, carrier)
    target = file.with_name(f"{file.name}.receipt.csv")
    receipts: dict[Row, Receipt] = {}
    columns = (TextColumn("paying"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=len(rows))
            for receipt in payroll.pay(rows, sender):
                receipts[receipt.row] = receipt
                bar.advance(task)
    finally:
        if receipts:
            write_receipts(target, rows, receipts)
    fresh = [each.row.value for each in receipts.values() if each.fresh]
    symbol = payroll.payments.symbol
    console.print(
        f"paid {text(sum(fresh))} {symbol} in {len(fresh)} of {len(rows)} rows;"
        f" {len(rows) - len(fresh)} were paid before. Receipts: {target}",
        highlight=False,
        soft_wrap=True,
    )
    return target


def main(file: str = "", run: str = "", key: str = "", carrier: str = "") -> None:
    """Run it for people: an error is one line, bad lines one line each."""
    try:
        if not (file and run and key):
            raise UsageError("usage: brownie run pay main FILE RUN KEY [CARRIER]")
        pay(Path(file), run, Path(key), Path(carrier) if carrier else None, Console())
    except PayrollInvalid as exc:
        for line, problem in exc.problems:
            print(f"pay: line {line}: {problem}", file=sys.stderr)
        print("pay: nothing was paid", file=sys.stderr)
        sys.exit(exc.exit_code)
    except LiggareError as exc:
        print(f"pay: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except requests.RequestException:
        print("pay: the chain went away half way through; run it again, nobody is paid twice", file=sys.stderr)
        sys.exit(1)
