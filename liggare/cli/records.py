"""`liggare records grant|revoke|pseudonym|phrase|accredit|suspend|resume`, and what its other commands share."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from eth_account.signers.local import LocalAccount
from web3.types import TxReceipt

from liggare.chain.sender import Sender
from liggare.cli.options import Json, Key, RelayUrl, Session, carried, note, tell, when, write_private
from liggare.errors import DataError, KeyFileMissing, MessageUncertain, RelayRefused, UsageError
from liggare.messages import address
from liggare.records.categories import CATEGORIES, names
from liggare.records.client import Records, Standing
from liggare.records.grants import check_alone
from liggare.records.messages import Terms, blind
from liggare.records.pseudonyms import Pseudonyms, Relationship, new_phrase
from liggare.records.relay import PATIENCE, Relay, State
from liggare.records.share import Share
from liggare.records.wire import Item, function

__all__ = ["register"]

Phrase = Annotated[
    Path,
    typer.Option("--phrase", help="File with the patient's seed phrase; only its owner may read it (mode 600)."),
]
CarrierOrRelay = Annotated[
    Path | None,
    typer.Option("--carrier", help="Key file of who carries the message and pays the gas; or name a --relay."),
]
TIMEOUT = 120.0
"""Seconds after which a relayer is waited for no longer."""
LATER = 8
"""How many messages about one grant may be on their way before another."""
SAFE = "24 words in {path}: copy them on paper. They bring back every grant; without them only guardians can help"
For = Annotated[
    str | None,
    typer.Option("--for", help="The pseudonym for whom one acts, as its guardian or successor; else one's own."),
]
Number = Annotated[int, typer.Option(min=0, help="Which relationship with this organisation, where there are several.")]


records_ = typer.Typer(
    help="Medical records: who may read, who has read, who acts for a patient.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the domain's commands: the group `records`, and the shortest words of it at the top."""
    from liggare.cli import accesses, guardians  # they share what is below

    for group in (app, records_):
        group.command()(grant)
        group.command()(revoke)
        group.command("read")(accesses.read)
        group.command()(accredit)
        group.command("phrase")(phrase_new)
    records_.command("pseudonym")(pseudonym)
    records_.command()(suspend)
    records_.command()(resume)
    accesses.register(records_)
    guardians.register(records_)
    app.add_typer(records_, name="records")


def moment(words: str) -> int:
    """Return a point of time given as ISO 8601 ("2027-06-30" or "2027-06-30T12:00+02:00") in unix seconds.

    Without an offset it is UTC.
    """
    try:
        when = datetime.fromisoformat(words)
    except ValueError:
        raise UsageError(f"{words!r} is no date, such as 2027-06-30") from None
    return int((when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp())


def pseudonyms(path: Path) -> Pseudonyms:
    """Open a seed phrase file. A file that others may read is refused."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path} may be read by others; `chmod 600 {path}` first")
        return Pseudonyms(path.read_text())
    except FileNotFoundError:
        raise KeyFileMissing(f"no seed phrase at {path}") from None
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{path} can't be read as a seed phrase") from None


def open_share(path: Path) -> Share:
    """Read the share that a patient handed over."""
    try:
        return Share.from_json(path.read_text())
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"the share {path} can't be read: {exc}") from None


@dataclass(frozen=True)
class Way:
    """How a signed message gets to the chain: by a carrier's key file or by a relayer's URL, one of the two."""

    carrier: Path | None
    relay: str | None


def way_of(session: Session, carrier: Path | None, relay: str | None) -> Way:
    """Return the way that the options choose; LIGGARE_RELAY_URL counts where neither is given. Raises UsageError."""
    if carrier and relay:
        raise UsageError("either --carrier or --relay: one of them takes the message to the chain")
    way = Way(carrier, None if carrier else relay or session.settings.relay_url)
    if not way.carrier and not way.relay:
        raise UsageError("--relay or --carrier: a pseudonym holds no ether, somebody has to pay the gas")
    return way


def carry(session: Session, records: Records, way: Way, sign: Callable[[int], Item]) -> tuple[Item, TxReceipt]:
    """Take a message to the chain and return it with the receipt that the chain shows.

    `sign` is told how many messages about the same grant are on their way before: the relayer may have one that has
    not landed yet. Then this one lands after it.
    """
    if way.carrier:
        signed = sign(0)
        return signed, Sender(session.w3, session.account(way.carrier)).send(function(records, signed))
    with Relay(way.relay or "", records) as relay:
        for later in range(LATER):
            signed = sign(later)
            try:
                return signed, relay.carry(signed, timeout=TIMEOUT, patience=PATIENCE, late=_late)
            except RelayRefused as exc:
                if exc.reason != "NonceQueued" or later == LATER - 1:
                    raise
    raise AssertionError  # pragma: no cover


def _late(state: State) -> None:
    """Say that the relayer keeps one waiting, and what to do about it."""
    words = (
        f"liggare: message {state.id} is not on the ledger yet (the relayer says: {state.status}). Nothing has changed"
        " so far. Waiting; any carrier can carry the same message: the same command with --carrier KEYFILE"
        " in place of --relay"
    )
    typer.echo(words, err=True)


def phrase_new(
    path: Annotated[Path, typer.Argument(help="The file to write; an existing one is never replaced.")],
    as_json: Json = False,
) -> None:
    """Make a patient's seed phrase and write it to a file that only its owner may read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} exists; a seed phrase is never overwritten") from None
    except OSError as exc:
        raise UsageError(f"{path} can't be written: {exc.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(new_phrase() + "\n")
    tell({"path": path}, SAFE.format(path=path), as_json=as_json)


def grant(
    context: typer.Context,
    grantee: Annotated[str, typer.Argument(help="The organisation's address.")],
    categories: Annotated[
        list[str], typer.Argument(metavar="CATEGORY...", help="FHIR types, such as Claim; RESTRICTED.")
    ],
    phrase: Phrase,
    purpose: Annotated[list[str], typer.Option(help="v3 PurposeOfUse code, such as HPAYMT; may be repeated.")],
    until: Annotated[str, typer.Option(help="When the grant ends, such as 2027-06-30 (its first second, UTC).")],
    share: Annotated[Path, typer.Option(help="Where to write what the organisation must be handed.")],
    start: Annotated[str | None, typer.Option("--from", help="When the grant begins; at once without it.")] = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Let an organisation read these kinds of record, or change what it may read.

    With RESTRICTED among them it may also read those that are labelled higher than normal, else it doesn't see them.
    """
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    terms = Terms.of(categories, purpose, moment(start) if start else 0, moment(until))
    records = Records(session.w3, session.deployments)
    author, patient, salt = granting(phrase, grantee, number, whom)
    if whom is None:
        check_alone(records, Relationship(address(grantee), number, author))
    _check_grantee(records, grantee, terms)
    handed = records.share(patient, grantee, salt, terms, author=author.address)
    fresh = share.with_name(f".{share.name}.new")
    write_private(fresh, handed.to_json())  # before it lands: a grant without its share could not be used
    version = records.state(patient, handed.blinded, author=author.address).version + 1

    def sign(later: int) -> Item:
        if whom is None:
            return records.grant(author, grantee, salt, terms, version=version + later)[0]
        return records.grant_for(author, whom, grantee, salt, terms, version=version + later)[0]

    try:
        signed, receipt = carry(session, records, way, sign)
    except MessageUncertain:
        fresh.replace(share)  # it may land still
        raise
    except BaseException:
        fresh.unlink()
        raise
    fresh.replace(share)
    result = {"id": signed.id, "patient": patient, "share": share, **carried(receipt)}
    words = (
        f"granted in block {result['block']}: {', '.join(terms.category_names)} for"
        f" {', '.join(terms.purpose_names)} until {when(terms.expiry)}\n"
        f"id           {signed.id.to_0x_hex()}\n"
        f"pseudonym    {patient}: who keeps your records has to know it, once\n"
        f"share        {share}: hand it to the organisation, and to nobody else"
    )
    tell(result, words, as_json=as_json)


def _check_grantee(records: Records, grantee: str, terms: Terms) -> None:
    """Refuse to grant to whom nobody accredited; note what it may not read now, though granted."""
    standing, found = records.standing(grantee), records.organisation(grantee)
    if standing is Standing.NOT_ACCREDITED:
        raise UsageError(f"{grantee} is no accredited organisation and could read nothing; is the address right?")
    if standing is not Standing.GOOD:
        words = {Standing.SUSPENDED: "is suspended", Standing.NOT_YET_VALID: "begins later"}.get(standing, "has ended")
        note(f"the accreditation of {grantee} {words}: it can read nothing until that changes")
    beyond = names(CATEGORIES, terms.categories & ~found.categories)
    if beyond:
        note(f"an organisation like {grantee} may never read {', '.join(beyond)}, whatever is granted")


def revoke(
    context: typer.Context,
    grantee: Annotated[str, typer.Argument(help="The organisation's address.")],
    phrase: Phrase,
    everything: Annotated[
        bool, typer.Option("--all", help="End all that was granted to whomever under this pseudonym, by guardians too.")
    ] = False,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """End what an organisation may read, from the next block on; no share is needed for it."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    records = Records(session.w3, session.deployments)
    author, patient, salt = granting(phrase, grantee, number, whom)
    blinded = blind(address(grantee), salt)
    version = records.state(patient, blinded, author=author.address).version + 1
    if version == 1 and not everything:
        words = "nothing that these words granted to it is on the ledger; is it another organisation, or a --number?"
        note(f"{grantee}: {words}")

    def sign(later: int) -> Item:
        if everything:
            return records.revoke_all(author, patient=patient)
        if whom is None:
            return records.revoke(author, grantee, salt, version=version + later)
        return records.revoke_for(author, patient, author.address, blinded, version=version + later)

    signed, receipt = carry(session, records, way, sign)
    result = {"id": signed.id, "patient": patient, **carried(receipt)}
    what = f"all that was granted under {patient}" if everything else f"{grantee} reads nothing under {patient}"
    tell(result, f"revoked in block {result['block']}: {what}\nid           {signed.id.to_0x_hex()}", as_json=as_json)


def granting(phrase: Path, grantee: str, number: int, whom: str | None) -> tuple[LocalAccount, str, bytes]:
    """Return who signs a grant, for which pseudonym, and its salt: one's own, or by `whom` another's."""
    known_as = pseudonyms(phrase).relationship(address(whom or grantee), number)
    salt = known_as.salt() if whom is None else known_as.salt(grantee=grantee)
    return known_as.account, known_as.patient if whom is None else address(whom), salt


def pseudonym(
    organisation: Annotated[str, typer.Argument(help="The organisation's address.")],
    phrase: Phrase,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Tell by which pseudonym an organisation knows the patient; the custodian has to be told, to link it."""
    found = pseudonyms(phrase).relationship(address(organisation), number).patient
    tell({"pseudonym": found, "organisation": address(organisation)}, found, as_json=as_json)


def accredit(
    context: typer.Context,
    organisation: Annotated[str, typer.Argument(help="The organisation's address.")],
    key: Key,
    role: Annotated[list[str], typer.Option(help="provider, insurer, research or emergency; may be repeated.")],
    category: Annotated[list[str], typer.Option(help="A FHIR type that it may be granted, or RESTRICTED; repeatable.")],
    until: Annotated[str, typer.Option(help="When the accreditation ends, such as 2028-12-31.")],
    quota: Annotated[int, typer.Option(min=0, max=65535, help="How often a day it may break the glass.")] = 0,
    as_json: Json = False,
) -> None:
    """Accredit an organisation or renew it. Only the accreditor may."""
    session: Session = context.obj
    end = moment(until)
    records = Records(session.w3, session.deployments)
    sender = Sender(session.w3, session.account(key))
    receipt = records.accredit(sender, organisation, role, category, 0, end, quota)
    result = {"organisation": address(organisation), **carried(receipt)}
    words = f"accredited {organisation} as {', '.join(role)} until {until} in block {result['block']}"
    tell(result, words, as_json=as_json)


def suspend(
    context: typer.Context,
    organisation: Annotated[str, typer.Argument(help="The organisation's address.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """Let an organisation read nothing from the next block on, whatever it was granted. Only the accreditor may."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    receipt = records.suspend(Sender(session.w3, session.account(key)), organisation)
    result = {"organisation": address(organisation), **carried(receipt)}
    tell(result, f"suspended {organisation} in block {result['block']}", as_json=as_json)


def resume(
    context: typer.Context,
    organisation: Annotated[str, typer.Argument(help="The organisation's address.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """End an organisation's suspension. Only the accreditor may."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    receipt = records.resume(Sender(session.w3, session.account(key)), organisation)
    result = {"organisation": address(organisation), **carried(receipt)}
    tell(result, f"resumed {organisation} in block {result['block']}", as_json=as_json)
