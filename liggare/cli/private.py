"""The private sides of `liggare verify`: a patient's by the seed phrase, a home's by its number.

options -> rules beside those for everybody -> one replay -> findings; grants, accesses and bill in clear
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from liggare.cli.accesses import access_line, grant_line, log_name, read_heads, read_shares
from liggare.cli.options import Session
from liggare.cli.records import pseudonyms
from liggare.cli.study import bill_words
from liggare.energy.bills import BillRules
from liggare.energy.client import Energy
from liggare.errors import AuditError, GatekeeperRefused, LogUnposted, UsageError
from liggare.ledger.rows import Finding
from liggare.ledger.verify import Report, Rules
from liggare.messages import address
from liggare.payments.client import text
from liggare.records.client import Records
from liggare.records.patient import PatientRules
from liggare.records.rules import RecordRules

__all__ = ["Gatekeepers", "Home", "Patient", "PrivateSide", "Shares", "private_side"]

Patient = Annotated[
    Path | None,
    typer.Option(
        "--patient", metavar="SEEDFILE", help="Also check a patient's own side: file with the seed phrase (mode 600)."
    ),
]
Shares = Annotated[
    Path | None, typer.Option(help="With --patient: folder of the shares that were handed out; they tell the terms.")
]
Gatekeepers = Annotated[
    list[str] | None,
    typer.Option(
        "--gatekeeper",
        metavar="CUSTODIAN=URL",
        help="With --patient: ask a custodian's gatekeeper who has read; may be repeated.",
    ),
]
Home = Annotated[
    int | None, typer.Option("--home", min=1, help="Also check a home's bill, to the unit; it needs no key.")
]


@dataclass
class PrivateSide:
    """What somebody checks beyond what everybody can; empty where nobody asked for it."""

    patient: PatientRules | None = None
    home: BillRules | None = None
    gatekeepers: dict[str, str] = field(default_factory=dict)
    """URLs by custodian."""
    phrase: Path = Path()

    @property
    def rules(self) -> list[Rules]:
        """The rules to replay under, behind those for everybody."""
        return [each for each in (self.patient, self.home) if each is not None]

    @property
    def unchecked(self) -> Counter[str]:
        """How many of what could not be checked, and why."""
        return self.patient.unchecked if self.patient else Counter()

    def finish(self, report: Report, head: int) -> None:
        """Ask the gatekeepers, after the replay, and put what is found into the report."""
        if self.patient and self.gatekeepers:
            for custodian, url in self.gatekeepers.items():
                report.findings.extend(self._ask(self.patient, custodian, url, head))
            report.checked.update(self.patient.checked())

    def _ask(self, patient: PatientRules, custodian: str, url: str, head: int) -> Iterator[Finding]:
        """Ask one gatekeeper under each pseudonym; `liggare records log` keeps the heads seen, they are read here."""
        from liggare.records.visit import Gatekeeper  # here: every other command would start half a second later

        records = patient.records
        remembered = read_heads(self.phrase.with_name(f"{self.phrase.name}.heads.json"))
        seen = remembered.get(log_name(records, custodian))
        with Gatekeeper(url, custodian, records) as gate:
            for pseudonym in patient.used:
                try:
                    account = patient.known[pseudonym].account
                    with gate.sign_in(account, "PATRQT", ["patient/*.rs"], patient=pseudonym) as visit:
                        found = visit.accesses(pseudonym, seen)
                except GatekeeperRefused as exc:
                    patient.unchecked[f"pseudonyms whose accesses a gatekeeper does not tell: {exc.reason}"] += 1
                except LogUnposted as exc:
                    patient.unchecked["pseudonyms at custodians that have posted no head of their log yet"] += 1
                    yield from patient.hear(custodian, exc.shown, head)
                except AuditError as exc:
                    rule = "a gatekeeper tells a patient all accesses, as they stand under the posted head"
                    yield Finding(
                        f"access log of {custodian}, {pseudonym}", rule, "all", f"{type(exc).__name__}: {exc}"
                    )
                else:
                    yield from patient.hear(custodian, found.accesses, head)

    def document(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON: members `patient` and `home`, where they were asked for."""
        told: dict[str, Any] = {}
        if self.patient:
            told["patient"] = self.patient.document()
        if self.home:
            home = self.home
            money = {"deposited": home.deposited, "withdrawn": home.withdrawn, "balance": home.balance}
            told["home"] = {**dataclasses.asdict(home.bill), **money}
        return told

    def words(self) -> str:
        """Tell it to a person; empty where there is nothing to tell."""
        lines: list[str] = []
        if self.patient:
            lines += ["granted by the patient's words", *map(grant_line, self.patient.grants)]
            lines += [
                "who has read",
                *(f"{access_line(own.access)}  at {own.custodian}" for own in self.patient.accesses),
            ]
        if self.home:
            home = self.home
            lines += [bill_words(home.bill), f"deposited {text(home.deposited)}, withdrawn {text(home.withdrawn)}"]
        lines += ["not checked of the private side"] * bool(self.unchecked)
        lines += [f"  {count:>9,}  {why}" for why, count in sorted(self.unchecked.items())]
        return "\n".join(lines)


def private_side(
    session: Session,
    rules: Sequence[Rules],
    patient: Path | None,
    shares: Path | None,
    gatekeepers: list[str] | None,
    home: int | None,
) -> PrivateSide:
    """Return the private sides that the options ask for; `rules` are those for everybody. Raises UsageError."""
    side = PrivateSide()
    if patient is None and (shares or gatekeepers):
        raise UsageError("--shares and --gatekeeper are of a patient's own side: name the seed phrase by --patient")
    if home is not None:
        homes = int(Energy(session.w3, session.deployments).contract.functions.homeCount().call())
        if home > homes:
            raise UsageError(f"there is no home {home}: homes are 1 to {homes}" if homes else "there are no homes yet")
        side.home = BillRules(session.deployments, home)
    if patient is not None:
        side.phrase, side.gatekeepers = patient, dict(_gatekeeper(words) for words in gatekeepers or [])
        replayed = next(each for each in rules if isinstance(each, RecordRules))
        records, told = Records(session.w3, session.deployments), [] if shares is None else read_shares(shares)
        side.patient = PatientRules(records, pseudonyms(patient), replayed, told, side.gatekeepers)
    return side


def _gatekeeper(words: str) -> tuple[str, str]:
    custodian, _, url = words.partition("=")
    if not url:
        raise UsageError(f"{words!r} is not CUSTODIAN=URL")
    return address(custodian), url
