"""`liggare verify`, `status`, `export`: the ledger for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from web3 import Web3

from liggare.chain.calls import Caller
from liggare.chain.deployments import Deployments
from liggare.cli.options import Json, Session, tell
from liggare.cli.private import Gatekeepers, Home, Patient, PrivateSide, Shares, private_side
from liggare.energy.client import Energy
from liggare.energy.rules import EnergyRules
from liggare.energy.witness import MarketWitness
from liggare.errors import CheckpointReorged, DataError, UnknownName, UsageError
from liggare.ledger.checkpoint import Known
from liggare.ledger.checkpoint import read as load
from liggare.ledger.checkpoint import write as save
from liggare.ledger.code import check_code
from liggare.ledger.exports import FORMATS, write
from liggare.ledger.reader import Reader
from liggare.ledger.rows import read_copy
from liggare.ledger.signatures import Signatures
from liggare.ledger.verify import ChainState, KeptRules, Report, Rules
from liggare.ledger.verify import verify as replay
from liggare.ledger.witness import Witness, Witnesses
from liggare.messages import address
from liggare.payments.client import Payments, text
from liggare.payments.escrow_rules import EscrowRules
from liggare.payments.rules import PaymentRules
from liggare.payments.vault_rules import VaultRules
from liggare.payments.witness import EscrowWitness, MoneyWitness, VaultWitness
from liggare.records.messages import record_domain
from liggare.records.rules import RecordRules
from liggare.records.signin import ask_wallet
from liggare.records.tree import read_lines
from liggare.records.witness import RecordWitness

__all__ = ["all_calls", "all_rules", "register"]


def register(app: typer.Typer) -> None:
    """Add the ledger's commands."""
    app.command()(verify)
    app.command()(status)
    app.command()(export)


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal's stderr how far the reading has come."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def verify(
    context: typer.Context,
    copy: Annotated[
        Path | None, typer.Option(help="Check this copy of the ledger (`liggare export`) instead of the node's events.")
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="CUSTODIAN=FILE", help="Also check a custodian's access log; may be repeated."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Replay the events alone: no transaction, sender or signature is looked at.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Where nothing is off, write a checkpoint here, signed by --key.")
    ] = None,
    since: Annotated[
        Path | None, typer.Option(help="Go on from this checkpoint, which the owner of --key or --signer signed.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Key file of who signs checkpoints.")] = None,
    signer: Annotated[
        str | None, typer.Option(help="Address of who signed the checkpoint, else that of --key.")
    ] = None,
    patient: Patient = None,
    shares: Shares = None,
    gatekeeper: Gatekeepers = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Replay the whole ledger and check every rule; exit code 1 if anything is off.

    Trusts no service: only the deployment record, which is checked against the chain and the
    sources, a node, and who signed the checkpoint where one is gone on from.
    """
    session: Session = context.obj
    if (checkpoint or since) and (copy or log or quick):
        raise UsageError("a checkpoint is of all that a node shows: it goes with neither --copy, --log nor --quick")
    if (checkpoint or since) and (patient or home):
        raise UsageError("a private side is of the whole history: it goes with neither --checkpoint nor --since")
    account = session.account(key) if key and (checkpoint or since) else None
    by = address(signer) if signer else account and account.address
    if (checkpoint and account is None) or (since and by is None):
        raise UsageError("--key names who signs a checkpoint; to go on from one, its --signer will do")
    logs = dict(_custodian_log(words) for words in log or [])
    head = session.w3.eth.block_number
    reader = Reader(session.w3, session.deployments, proven=not quick)
    state = ChainState(session.w3, session.deployments, head)
    rules = all_rules(session.w3, session.deployments, logs)
    side = private_side(session, rules, patient, shares, gatekeeper, home)
    with all_calls(session.w3, session.deployments, rules) as calls:
        known = Known(rules, calls[1], Report())
        after = _go_on(since, by, session.deployments, known, reader) if since and by else -1
        with _progress("blocks") as progress:
            rows = read_copy(copy) if copy else reader.rows(after + 1 if since else None, head, progress)
            everybodys = None if quick else calls
            report = replay(rows, [*rules, *side.rules], state, everybodys, report=known.report, after=after)
    report.findings.extend(check_code(session.w3, session.deployments, head))
    report.checked["contracts' code"] = len(session.deployments.contracts)
    side.finish(report, head)
    if checkpoint and account and reader.proven and report.ok:
        save(checkpoint, account, session.deployments, reader.proven.settled(), known)
    tell(_result(report, head, side), _words(report, head, side), as_json=as_json)
    if not report.ok:
        raise typer.Exit(1)


def _go_on(since: Path, signer: str, deployments: Deployments, known: Known, reader: Reader) -> int:
    """Take in what a checkpoint knows; return its block, upon which the reader must find the next."""
    made = load(since, signer, deployments, known)
    if reader.proven is None or not reader.proven.follow(made.block, "0x" + made.block_hash.hex()):
        raise CheckpointReorged(made.block)
    return made.block


def _custodian_log(words: str) -> tuple[str, list[bytes]]:
    custodian, _, file = words.partition("=")
    if not file:
        raise UsageError(f"{words!r} is not CUSTODIAN=FILE")
    path = Path(file)
    try:
        return address(custodian), read_lines(path.read_bytes(), path)
    except OSError as exc:
        raise DataError(f"the access log {path} can't be read: {exc.strerror}") from None


@contextmanager
def all_calls(w3: Web3, deployments: Deployments, rules: Sequence[Rules]) -> Iterator[tuple[Caller, Witnesses]]:
    """Give what `verify` needs to hold events against calls and signatures, with every domain's witness."""
    witnesses: list[Witness] = []
    made: dict[type[Rules], Callable[[Any], Witness]] = {
        PaymentRules: lambda rules: MoneyWitness(deployments, rules),
        RecordRules: lambda rules: RecordWitness(deployments, rules),
        EnergyRules: MarketWitness,
        EscrowRules: lambda _: EscrowWitness(deployments),
        VaultRules: lambda _: VaultWitness(deployments),
    }
    for one in rules:
        witnesses.append(made[type(one)](one))
    with Signatures(lambda number: ask_wallet(w3, number)) as signatures:
        yield Caller(w3, deployments), Witnesses(witnesses, signatures)


def all_rules(w3: Web3, deployments: Deployments, logs: Mapping[str, Sequence[bytes]] | None = None) -> list[KeptRules]:
    """Return every domain's rules, fresh; `logs` are custodians' access logs by address, as lines."""

    def block(number: int) -> tuple[str, int]:
        header = w3.eth.get_block(number)
        return header["hash"].to_0x_hex(), header["timestamp"]

    records = RecordRules(logs, block, record_domain(deployments), lambda number: ask_wallet(w3, number))
    rules: list[KeptRules] = [PaymentRules(), records, EnergyRules(deployments)]
    placed: dict[str, type[EscrowRules | VaultRules]] = {"Escrow": EscrowRules, "StablecoinVault": VaultRules}
    return rules + [made(deployments) for name, made in placed.items() if name in deployments.contracts]


def _result(report: Report, head: int, side: PrivateSide) -> dict[str, Any]:
    findings = [vars(finding) for finding in report.findings]
    return {
        "ok": report.ok,
        "block": head,
        "rows": report.rows,
        "events": report.events,
        "checked": report.checked,
        "unchecked": {**report.unchecked, **side.unchecked},
        "findings": findings,
        **side.document(),
    }


def _words(report: Report, head: int, side: PrivateSide) -> str:
    checked = "\n".join(f"  {count:>9,}  {what}" for what, count in sorted(report.checked.items()))
    verdict = (
        "nothing is off"
        if report.ok
        else "\n".join([f"{len(report.findings)} off:", *(f"  {finding}" for finding in report.findings)])
    )
    without = "\n".join(f"  {count:>9,}  events: {why}" for why, count in sorted(report.unchecked.items()))
    gap = f"\nnot held against what was called and signed\n{without}" if without else ""
    private = f"\n{told}" if (told := side.words()) else ""
    return f"replayed {report.rows:,} events up to block {head:,}; checked\n{checked}{gap}{private}\n{verdict}"


def status(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Also tell this account's money.")] = None,
    as_json: Json = False,
) -> None:
    """Tell which chain answers, where the contracts are, and how much money there is."""
    session: Session = context.obj
    who = address(account) if account else None
    payments = Payments(session.w3, session.deployments)
    energy = Energy(session.w3, session.deployments)
    result: dict[str, Any] = {
        "chainId": session.deployments.chain_id,
        "block": session.w3.eth.block_number,
        "contracts": {name: item.address for name, item in session.deployments.contracts.items()},
        "supply": payments.supply(),
        "homes": int(energy.contract.functions.homeCount().call()),
        "nextSlot": energy.next_slot(),
    }
    lines = [f"chain {result['chainId']} at block {result['block']:,}, its contracts as recorded:"]
    lines += [f"  {name:16} {where}" for name, where in result["contracts"].items()]
    lines.append(f"money   {text(result['supply'])} {payments.symbol}")
    lines.append(f"market  {result['homes']} homes; slot {result['nextSlot']} is next to be settled")
    if who:
        result["account"] = {"address": who, "balance": payments.balance(who)}
        lines.append(f"{who} has {text(result['account']['balance'])} {payments.symbol}")
    tell(result, "\n".join(lines), as_json=as_json)


def export(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file to write: one event a line or row.")],
    form: Annotated[
        str | None, typer.Option("--format", help="json, csv or parquet; else what the file's name ends in, else json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a copy of the whole ledger; `liggare verify --copy` checks one in JSON."""
    session: Session = context.obj
    ending = path.suffix.removeprefix(".")
    chosen = form or (ending if ending in FORMATS else "json")
    if chosen not in FORMATS:
        raise UnknownName(chosen, FORMATS)
    with _progress("blocks") as progress:
        count = write(Reader(session.w3, session.deployments).rows(progress=progress), path, chosen)
    tell({"rows": count, "path": path, "format": chosen}, f"wrote {count:,} events to {path}", as_json=as_json)
