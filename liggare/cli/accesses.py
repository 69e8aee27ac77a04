"""`liggare records list|log|read|break-glass|consent`: what is granted, who has read, and reading."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

import typer

from liggare.cli.guardians import Organisation, actor_of
from liggare.cli.options import LAST, Json, Key, RelayUrl, Session, carried, note, tell, when, write_private
from liggare.cli.records import CarrierOrRelay, For, Number, Phrase, carry, open_share, pseudonyms, way_of
from liggare.errors import DataError, GatekeeperRefused, LogUnposted, UnknownName, UsageError
from liggare.messages import address
from liggare.records.accesses import Access
from liggare.records.client import Records
from liggare.records.grants import Held, grants_for, grants_of
from liggare.records.share import Share
from liggare.records.tree import Head

__all__ = ["access_line", "grant_line", "log_name", "read_heads", "read_shares", "register"]

UNLINKED = "if it should be there: does the custodian know the patient by this pseudonym? (`liggare custodian link`)"

GatekeeperUrl = Annotated[str, typer.Option("--gatekeeper", help="The custodian's gatekeeper: its public URL.")]
Custodian = Annotated[str, typer.Option(help="The custodian's address: the sign-in is for it and nobody else.")]


def register(records: typer.Typer) -> None:
    """Add the commands to the group of the records."""
    records.command("list")(list_)
    records.command("log")(log)
    records.command("break-glass")(break_glass)
    records.command("consent")(consent)


def list_(
    context: typer.Context,
    phrase: Phrase,
    shares: Annotated[
        Path | None, typer.Option(help="Folder of the shares that were handed out: they tell the terms.")
    ] = None,
    whom: Annotated[
        str | None, typer.Option("--for", help="The pseudonym of a ward: what was granted for it by these words.")
    ] = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """List everything that was granted, to whichever accredited organisation, and how it stands.

    The seed phrase is enough to find it all on the ledger. What was granted in detail is in the shares alone.
    """
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    known = [] if shares is None else list(read_shares(shares))
    mine = pseudonyms(phrase)
    found = grants_of(records, mine, known) if whom is None else grants_for(records, mine, whom, known, number)
    result = {"grants": [held.document() for held in found]}
    words = "\n".join(map(grant_line, found)) or "nothing was ever granted by these words" + (
        f" for {whom}" if whom else ""
    )
    tell(result, words, as_json=as_json)


def read_shares(folder: Path) -> list[Share]:
    """Read all shares in a folder. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"no folder of shares at {folder}")
    return [open_share(path) for path in sorted(folder.glob("*.json"))]


def grant_line(held: Held) -> str:
    """Tell a grant to a person, in two lines or three."""
    terms = held.terms
    what = "" if held.status == "revoked" else "terms in no share here"
    if terms is not None:
        what = f"{', '.join(terms.category_names)} for {', '.join(terms.purpose_names)} until {when(terms.expiry)}"
    who = held.organisation or "an organisation that only the guardian's share tells"
    numbered = f", number {held.number}" if held.number else ""
    by = "" if held.author == held.patient else f"\n  granted by {held.author}, who acts for the patient"
    return (
        f"{who}  {held.status}  {what}".rstrip() + f"\n  pseudonym {held.patient}{numbered}, version {held.version}{by}"
    )


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
    from liggare.records.visit import Gatekeeper  # here: every other command would start half a second later

    session: Session = context.obj
    reader, patient = actor_of(phrase, organisation if whom is None else None, number, whom)
    records = Records(session.w3, session.deployments)
    memory, name = seen or phrase.with_name(f"{phrase.name}.heads.json"), log_name(records, custodian)
    heads = read_heads(memory)
    purpose = "PATRQT" if records.actor(patient) == reader.address else "FAMRQT"
    with Gatekeeper(gatekeeper, custodian, records) as gate:
        try:
            with gate.sign_in(reader, purpose, ["patient/*.rs"], patient=patient) as visit:
                found = visit.accesses(patient, heads.get(name))
        except LogUnposted as exc:
            if not as_json and exc.shown:
                typer.echo("\n".join(map(access_line, exc.shown)))
            raise
    heads[name] = found.head
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
    lines = list(map(access_line, found.accesses)) or [f"nobody has read anything under {patient}"]
    verdict = f"checked against the head of {found.head.size} entries on the ledger: nothing is left out or rewritten"
    result = {"patient": patient, "head": found.head.size, "accesses": rows}
    tell(result, "\n".join([*lines, verdict]), as_json=as_json)


def access_line(access: Access) -> str:
    """Tell an access to a person, in a line."""
    told = ", ".join(access.records) or "(looked, found nothing)"
    later = "" if access.on_ledger else "  (not on the ledger yet)"
    return f"{access.serial:>5}  {when(access.time)}  {access.organisation}  {access.purpose:8}  {told}{later}"


def log_name(records: Records, custodian: str) -> str:
    """Return what a custodian's log is remembered by: the same custodian has another on another chain."""
    return f"{records.domain.chain_id}/{records.domain.verifying_contract}/{address(custodian)}"


def read_heads(path: Path) -> dict[str, Head]:
    """Read the heads of logs that were seen last, by `log_name`; none where nothing was kept. Raises DataError."""
    try:
        kept = json.loads(path.read_text())
        return {str(name): Head(int(size), bytes.fromhex(root)) for name, (size, root) in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise DataError(f"{path} does not hold the heads seen last: {type(exc).__name__}") from None


def _remember(path: Path, heads: dict[str, Head]) -> None:
    kept = {name: [head.size, head.root.hex()] for name, head in heads.items()}
    write_private(path, json.dumps(kept, indent=2) + "\n")


def read(
    context: typer.Context,
    record: Annotated[
        str,
        typer.Argument(
            help="FHIR reference, such as Claim/100150; a search, 'Claim?created=2014'; or 'Patient/f001/$everything'."
        ),
    ],
    gatekeeper: GatekeeperUrl,
    custodian: Custodian,
    key: Annotated[Path | None, typer.Option("--key", help="Key file of the organisation that reads.")] = None,
    purpose: Annotated[
        str | None, typer.Option(help="Why: a v3 PurposeOfUse code, such as HPAYMT; a patient needs none.")
    ] = None,
    share: Annotated[list[Path] | None, typer.Option(help="What the patient handed over; may be repeated.")] = None,
    emergency: Annotated[str | None, typer.Option(help="Read by a broken glass: the patient's pseudonym.")] = None,
    phrase: Annotated[Path | None, typer.Option("--phrase", help="Read one's own records: the seed phrase.")] = None,
    organisation: Organisation = None,
    whom: For = None,
    seal: Annotated[
        bool, typer.Option("--seal", help="Let the release be sealed to this reading alone (HPKE).")
    ] = False,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Ask a custodian's gatekeeper for records; the ledger decides, and the release is written down first.

    An organisation reads by --key, --purpose and --share, or --emergency; a patient by --phrase and --organisation, and
    who acts for a patient by --phrase and --for.
    """
    from liggare.records.release import KINDS
    from liggare.records.visit import Gatekeeper

    session: Session = context.obj
    if sum(map(bool, (share, emergency, phrase))) != 1:
        raise UsageError(
            "one reads by a --share that the patient handed over, by --emergency, or by one's own --phrase"
        )
    kind, _, rest = record.partition("/")
    kind, _, query = kind.partition("?")
    if kind not in KINDS:
        raise UnknownName(kind, KINDS)
    chart = rest.removesuffix("/$everything") if rest.endswith("/$everything") else ""
    records = Records(session.w3, session.deployments)
    words: dict[str, Any] = {"shares": [open_share(path) for path in share or []], "sealed": seal}
    if phrase is not None:
        if key is not None or purpose is not None:
            raise UsageError("with --phrase one reads one's own records: there is no --key and no --purpose")
        reader, words["patient"] = actor_of(phrase, organisation, number, whom)
        purpose = "PATRQT" if records.actor(words["patient"]) == reader.address else "FAMRQT"
    elif key is None or purpose is None:
        raise UsageError("an organisation reads by its --key, and says why by --purpose")
    else:
        reader, words["emergency"] = session.account(key), emergency
    scope = "patient/*.rs" if chart or "include=" in query else f"patient/{kind}.rs"
    with Gatekeeper(gatekeeper, custodian, records) as gate:
        try:
            with gate.sign_in(reader, purpose, [scope], **words) as visit:
                if chart:
                    found = list(visit.everything(chart))
                elif rest:
                    found = [visit.read(record)]
                else:
                    found = list(visit.search(kind, parse_qsl(query, keep_blank_values=True)))
        except GatekeeperRefused as exc:
            if exc.reason == "RecordUnavailable":
                note(UNLINKED)
            raise
    one = rest and not chart
    if not found:
        note(UNLINKED)
    result = {"resource": found[0]} if one else {"total": len(found), "resources": found}
    tell(result, json.dumps(found[0] if one else found, indent=2, default=str), as_json=as_json)


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
    words = (
        f"the glass is broken in block {result['block']}, until {when(until)}; everyone can see that\n"
        f"read by `liggare records read … --emergency {patient} --purpose {reason}`"
    )
    tell(result, words, as_json=as_json)


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
    return datetime.fromtimestamp(min(time, LAST), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
