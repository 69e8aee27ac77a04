"""`liggare records list|log|read|break-glass|consent`: what is granted, who has read, and reading."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from liggare.cli.guardians import actor_of
from liggare.cli.options import Json, Key, RelayUrl, Session, carried, tell
from liggare.cli.records import CarrierOrRelay, For, Number, Phrase, carry, open_share, pseudonyms, way_of
from liggare.errors import DataError, UsageError
from liggare.messages import address
from liggare.records.client import Records
from liggare.records.grants import Held, grants_of
from liggare.records.log import Head
from liggare.records.share import Share
from liggare.records.visit import Gatekeeper

__all__ = ["register"]

LAST = 253_402_300_799
"""The last second of the year 9999."""

GatekeeperUrl = Annotated[str, typer.Option("--gatekeeper", help="The custodian's gatekeeper: its public URL.")]
Custodian = Annotated[str, typer.Option(help="The custodian's address: the sign-in is for it and nobody else.")]


def register(records: typer.Typer) -> None:
    """Add the commands to the group of the records."""
    records.command("list")(list_)
    records.command("log")(log)
    records.command("break-glass")(break_glass)
    records.command("consent")(consent)


def _when(time: int) -> str:
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def list_(
    context: typer.Context,
    phrase: Phrase,
    shares: Annotated[
        Path | None, typer.Option(help="Folder of the shares that were handed out: they tell the terms.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List everything that the patient's pseudonyms granted, to whichever accredited organisation, and how it stands.

    The seed phrase is enough to find it all on the ledger. What was granted in detail is in the shares alone.
    """
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    known = [] if shares is None else list(_shares(shares))
    found = grants_of(records, pseudonyms(phrase), known)
    result = {"grants": [held.document() for held in found]}
    words = "\n".join(_line(held) for held in found) or "nothing is granted"
    tell(result, words, as_json=as_json)


def _shares(folder: Path) -> list[Share]:
    if not folder.is_dir():
        raise DataError(f"no folder of shares at {folder}")
    return [open_share(path) for path in sorted(folder.glob("*.json"))]


def _line(held: Held) -> str:
    terms = held.terms
    what = "terms in no share here"
    if terms is not None:
        what = f"{', '.join(terms.category_names)} for {', '.join(terms.purpose_names)} until {_when(terms.expiry)}"
    return f"{held.organisation}  {held.status:12}  {what}\n  pseudonym {held.patient}, version {held.version}"


def log(
    context: typer.Context,
    organisation: Annotated[
        str, typer.Argument(help="The organisation that knows the patient by the pseudonym meant.")
    ],
    phrase: Phrase,
    gatekeeper: GatekeeperUrl,
    custodian: Custodian,
    seen: Annotated[
        Path | None,
        typer.Option(help="Where the head seen last is kept; the log must go on from it. Default: beside the phrase."),
    ] = None,
    whom: For = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Show who has read under a pseudonym, and check it against the ledger: nothing left out, nothing rewritten."""
    session: Session = context.obj
    if whom is None:
        reader, patient = actor_of(phrase, organisation, number, None)
    else:
        reader, patient = actor_of(phrase, None, number, whom)
    records = Records(session.w3, session.deployments)
    memory = seen or phrase.with_name(f"{phrase.name}.heads.json")
    heads = _heads(memory)
    with Gatekeeper(gatekeeper, custodian, records) as gate:
        visit = gate.sign_in(reader, "PATRQT" if whom is None else "FAMRQT", ["patient/*.rs"], patient=patient)
        found = visit.accesses(patient, heads.get(address(custodian)))
        visit.end()
    heads[address(custodian)] = found.head
    _remember(memory, heads)
    rows = [
        {
            "serial": each.serial,
            "time": each.time,
            "organisation": each.organisation,
            "purpose": each.purpose,
            "records": list(each.records),
            "onLedger": each.on_ledger,
        }
        for each in found.accesses
    ]
    lines = [
        f"{each.serial:>5}  {_when(each.time)}  {each.organisation}  {each.purpose:8}"
        f"  {', '.join(each.records) or '(looked, found nothing)'}"
        + ("" if each.on_ledger else "  (not on the ledger yet)")
        for each in found.accesses
    ]
    verdict = f"checked against the head of {found.head.size} entries on the ledger: nothing is left out or rewritten"
    result = {"patient": patient, "head": found.head.size, "accesses": rows}
    tell(result, "\n".join([*(lines or ["nobody has read anything"]), verdict]), as_json=as_json)


def _heads(path: Path) -> dict[str, Head]:
    try:
        kept = json.loads(path.read_text())
        return {address(who): Head(int(size), bytes.fromhex(root)) for who, (size, root) in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise DataError(f"{path} does not hold the heads seen last: {type(exc).__name__}") from None


def _remember(path: Path, heads: dict[str, Head]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps({who: [head.size, head.root.hex()] for who, head in heads.items()}, indent=2) + "\n")
    partial.replace(path)


def read(
    context: typer.Context,
    record: Annotated[
        str, typer.Argument(help="FHIR reference, such as Claim/100150; or a search: 'Claim?created=2014'.")
    ],
    key: Key,
    purpose: Annotated[str, typer.Option(help="Why: a v3 PurposeOfUse code, such as HPAYMT.")],
    gatekeeper: GatekeeperUrl,
    custodian: Custodian,
    share: Annotated[list[Path] | None, typer.Option(help="What the patient handed over; may be repeated.")] = None,
    emergency: Annotated[str | None, typer.Option(help="Read by a broken glass: the patient's pseudonym.")] = None,
    seal: Annotated[
        bool, typer.Option("--seal", help="Let the release be sealed to this reading alone (HPKE).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask a custodian's gatekeeper for records; the ledger decides, and the release is written down first."""
    session: Session = context.obj
    if bool(share) is bool(emergency):
        raise UsageError("one reads by a --share that the patient handed over, or by --emergency")
    records = Records(session.w3, session.deployments)
    handed = [open_share(path) for path in share or []]
    reader = session.account(key)
    kind, _, rest = record.partition("/")
    kind, _, query = kind.partition("?")
    with Gatekeeper(gatekeeper, custodian, records) as gate:
        words: dict[str, Any] = {"shares": handed, "emergency": emergency, "sealed": seal}
        visit = gate.sign_in(reader, purpose, [f"patient/{kind}.rs"], **words)
        if rest:
            found = [visit.read(record)]
        else:
            pairs = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
            found = list(visit.search(kind, pairs))
        visit.end()
    result = {"resource": found[0]} if rest else {"total": len(found), "resources": found}
    shown: Any = found[0] if rest else found
    tell(result, json.dumps(shown, indent=2, default=str), as_json=as_json)


def break_glass(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(help="The pseudonym, as the custodian or the patient's card tells it.")],
    key: Key,
    reason: Annotated[str, typer.Option(help="ETREAT, BTG, DISASTER or THREAT.")],
    hours: Annotated[float, typer.Option(min=0.01, max=24, help="For how long, in hours.")] = 4,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    as_json: Json = False,
) -> None:
    """Read without a grant in an emergency, as an accredited service: for hours, for a reason, for everyone to see."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    organisation = session.account(key)
    records = Records(session.w3, session.deployments)
    version = records.emergency(organisation.address, patient).version + 1
    until = records.now() + int(hours * 3600) - 60  # the block may be a minute behind

    signed, receipt = carry(
        session,
        records,
        way,
        lambda later: records.break_glass(organisation, patient, reason, until, version=version + later),
    )
    result = {"id": signed.id, "patient": address(patient), "until": until, **carried(receipt)}
    tell(result, f"the glass is broken in block {result['block']}, until {_when(until)}", as_json=as_json)


def consent(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A share, to be shown as a FHIR Consent; or a Consent, to be granted.")],
    organization: Annotated[
        str, typer.Option(help="FHIR reference of the custodian that obeys the consent.")
    ] = "Organization/custodian",
    grantee: Annotated[
        list[str] | None, typer.Option(help="REFERENCE=ADDRESS of an organisation that the Consent names; repeat it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a grant as a FHIR Consent (R4), or tell by which words of `liggare records grant` a Consent is granted."""
    from liggare.records.consent import from_consent, to_consent
    from liggare.records.fhir import parse

    session: Session = context.obj
    try:
        text = file.read_bytes()
    except OSError as exc:
        raise DataError(f"{file} can't be read: {exc.strerror}") from None
    if b'"liggare"' in text:
        made = to_consent(open_share(file), Records(session.w3, session.deployments).now(), organization=organization)
        tell({"consent": made}, json.dumps(made, indent=2), as_json=as_json)
        return
    known = dict(pair.partition("=")[::2] for pair in grantee or [])
    found, lines = [], []
    for given in from_consent(parse(text)):
        who, terms = known.get(given.grantee, given.grantee), given.terms
        found.append(
            {
                "grantee": who,
                "categories": list(terms.category_names),
                "purposes": list(terms.purpose_names),
                "notBefore": terms.not_before,
                "expiry": terms.expiry,
            }
        )
        words = [*terms.category_names, *(f"--purpose {purpose}" for purpose in terms.purpose_names)]
        if terms.not_before:
            words.append(f"--from {_moment(terms.not_before)}")
        lines.append(f"liggare records grant {who} {' '.join(words)} --until {_moment(terms.expiry)}")
    tell({"grants": found}, "\n".join(lines), as_json=as_json)


def _moment(time: int) -> str:
    """Return a time as the commands read it; one without end is the last that they can."""
    return _when(min(time, LAST)).replace(" ", "T")
