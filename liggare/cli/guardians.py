"""`liggare records guardian|recover|emergency`: who acts for a patient, and how a lost key is replaced.

A guardian's key for a ward is made of the guardian's own seed phrase and the ward's pseudonym, as an organisation's is;
so is a successor's. Whoever acts for somebody else names the pseudonym by `--for`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes

from liggare.chain.sender import Sender
from liggare.cli.options import Json, RelayUrl, Session, carried, tell, when, write_private
from liggare.cli.records import CarrierOrRelay, For, Number, Phrase, carry, moment, pseudonyms, way_of
from liggare.errors import ContractRefused, DataError, UsageError
from liggare.messages import Signed, address
from liggare.records.categories import RIGHTS, mask, names
from liggare.records.client import Records
from liggare.records.messages import Recover
from liggare.records.wire import Approved, Item

__all__ = ["actor_of", "register"]

Organisation = Annotated[
    str | None, typer.Option("--organisation", help="The organisation that knows the patient by the pseudonym meant.")
]

DAY = 86_400

guardian = typer.Typer(help="Who acts for a patient, with which rights, until when.", no_args_is_help=True)
recover = typer.Typer(help="How a lost key is replaced by guardians, after a delay.", no_args_is_help=True)


def register(records: typer.Typer) -> None:
    """Add the groups to the group of the records."""
    records.add_typer(guardian, name="guardian")
    records.add_typer(recover, name="recover")
    records.command()(emergency)


def actor_of(phrase: Path, organisation: str | None, number: int, whom: str | None) -> tuple[LocalAccount, str]:
    """Return who signs, and the pseudonym that it is about: one's own at an organisation, or another's by `--for`."""
    if (organisation is None) is (whom is None):
        raise UsageError("name the pseudonym: your own by --organisation, or another's by --for")
    known_as = pseudonyms(phrase).relationship(address(organisation or whom or ""), number)
    return known_as.account, address(whom) if whom else known_as.patient


# ------------------------------------------------------------------ guardians


@guardian.command("address")
def guardian_address(
    ward: Annotated[str, typer.Argument(help="The pseudonym that one is to act for.")],
    phrase: Phrase,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Tell by which address one is a guardian, or a successor, of this pseudonym and of no other."""
    found = pseudonyms(phrase).relationship(address(ward), number).patient
    tell({"address": found, "ward": address(ward)}, found, as_json=as_json)


@guardian.command()
def appoint(
    context: typer.Context,
    who: Annotated[str, typer.Argument(metavar="GUARDIAN", help="The guardian's address for this pseudonym.")],
    phrase: Phrase,
    right: Annotated[list[str], typer.Option(help="grant, appoint, recover or read; may be repeated.")],
    until: Annotated[str, typer.Option(help="When the guardianship ends, such as 2027-06-30.")],
    organisation: Organisation = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Let somebody act for a pseudonym; anew for one that stands, whose earlier grants then end."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    signer, patient = actor_of(phrase, organisation, number, whom)
    records = Records(session.w3, session.deployments)
    version = records.guardian(patient, address(who)).version + 1
    end = moment(until)
    signed, receipt = carry(
        session, records, way, lambda later: records.appoint(signer, patient, who, right, end, version=version + later)
    )
    result = {"id": signed.id, "patient": patient, "guardian": address(who), "rights": right, **carried(receipt)}
    words = f"appointed in block {result['block']}: {who} may {', '.join(right)} for {patient} until {when(end)}"
    tell(result, words, as_json=as_json)


@guardian.command()
def dismiss(
    context: typer.Context,
    phrase: Phrase,
    who: Annotated[
        str | None, typer.Argument(metavar="[GUARDIAN]", help="Whom to dismiss; without it oneself, by --for.")
    ] = None,
    organisation: Organisation = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """End a guardianship, and with it all that the guardian granted and whomever it appointed."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    signer, patient = actor_of(phrase, organisation, number, whom)
    ended = address(who) if who else signer.address
    records = Records(session.w3, session.deployments)
    version = records.guardian(patient, ended).version + 1
    signed, receipt = carry(
        session, records, way, lambda later: records.dismiss(signer, patient, ended, version=version + later)
    )
    result = {"id": signed.id, "patient": patient, "guardian": ended, **carried(receipt)}
    tell(result, f"dismissed in block {result['block']}: {ended} acts for {patient} no more", as_json=as_json)


@guardian.command("show")
def guardian_show(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(help="The pseudonym.")],
    who: Annotated[str, typer.Argument(metavar="GUARDIAN", help="The guardian's address.")],
    as_json: Json = False,
) -> None:
    """Tell what a guardian may do now."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    found = records.guardian(patient, who)
    live = [right for right in names(RIGHTS, found.rights) if records.may_act(patient, who, [right])]
    result = {"patient": address(patient), "guardian": address(who), "rights": live, "until": found.until}
    words = (
        f"{who} may {', '.join(live)} until {when(found.until)}" if live else f"{who} is no guardian of {patient} now"
    )
    tell(result, words, as_json=as_json)


# ------------------------------------------------------------------ recovery


@recover.command("set")
def recover_set(
    context: typer.Context,
    phrase: Phrase,
    guardians: Annotated[
        int, typer.Option(min=0, max=255, help="How many guardians with the right recover it takes; 0: none can.")
    ],
    days: Annotated[float, typer.Option(min=1, help="Days in which the old key can stop it.")] = 7,
    organisation: Organisation = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Set how many guardians together replace a pseudonym's key, and how long that takes."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    actor, patient = actor_of(phrase, organisation, number, whom)
    records = Records(session.w3, session.deployments)
    version, delay = records.recovery(patient).version + 1, int(timedelta(days=days).total_seconds())

    def sign(later: int) -> Item:
        return records.set_recovery(actor, guardians, delay, patient=patient, version=version + later)

    signed, receipt = carry(session, records, way, sign)
    result = {"id": signed.id, "patient": patient, "threshold": guardians, "delay": delay, **carried(receipt)}
    how = f"{guardians} guardians can replace the key of {patient}; it can stop them for {days:g} days"
    how = how if guardians else f"nobody can replace the key of {patient}"
    tell(result, f"set in block {result['block']}: {how}", as_json=as_json)


@recover.command()
def approve(
    context: typer.Context,
    successor: Annotated[str, typer.Argument(help="The new key's address, by `guardian address` of the new phrase.")],
    phrase: Phrase,
    whom: Annotated[str, typer.Option("--for", help="The pseudonym whose key is replaced.")],
    out: Annotated[Path, typer.Option(help="Where to write the approval, to hand to whoever starts the recovery.")],
    deadline: Annotated[
        str | None, typer.Option(help="Until when it may be started; the same for all who approve. Else 7 to 8 days.")
    ] = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Approve, as a guardian, that another key shall act for the pseudonym. Nothing is sent."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    account, patient = actor_of(phrase, None, number, whom)
    if account.address == records.actor(patient) or not records.may_act(patient, account.address, ["recover"]):
        # what it signed would be found useless only when the recovery starts
        raise ContractRefused("RecordsMayNotAct", {"who": account.address, "rights": mask(RIGHTS, ["recover"])})
    end = (records.now() // DAY + 8) * DAY if deadline is None else moment(deadline)
    signed = records.recover(account, patient, successor, deadline=end)
    approval = {"message": signed.message.typed_data()["message"], "signature": "0x" + signed.signature.hex()}
    write_private(out, json.dumps(approval, indent=2) + "\n")
    result = {"id": signed.id, "guardian": account.address, "patient": patient, "approval": out, "deadline": end}
    words = (
        f"approved by {account.address} until {when(end)}: {out}\n"
        f"id           {signed.id.to_0x_hex()}: the same for all who approve, else one names --deadline"
    )
    tell(result, words, as_json=as_json)


@recover.command()
def start(
    context: typer.Context,
    approvals: Annotated[list[Path], typer.Argument(metavar="APPROVAL...", help="What the guardians wrote.")],
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    as_json: Json = False,
) -> None:
    """Start a recovery by its guardians' approvals; from then on the old key has the delay to stop it."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    records = Records(session.w3, session.deployments)
    signed = [_approval(records, path) for path in approvals]
    if len({each.id for each in signed}) > 1:
        told = "; ".join(
            f"{path.name}: {each.message.successor}, number {each.message.version}, until {when(each.message.deadline)}"
            for path, each in zip(approvals, signed, strict=True)
        )
        raise UsageError(f"the approvals are not of one and the same recovery ({told}): approve again, alike")
    message, receipt = carry(session, records, way, lambda _: Approved.of(signed))
    patient = signed[0].message.patient
    found = records.recovery(patient)
    result = {"id": message.id, "patient": patient, "readyAt": found.ready_at, **carried(receipt)}
    words = f"started in block {result['block']}: {found.successor} can act for {patient} from {when(found.ready_at)}"
    tell(result, f"{words}, by `recover complete`, if the old key does not stop it", as_json=as_json)


def _approval(records: Records, path: Path) -> Signed[Recover]:
    try:
        given = json.loads(path.read_text())
        words = given["message"]
        message = Recover(
            records.domain,
            address(words["patient"]),
            address(words["successor"]),
            int(words["version"]),
            int(words["deadline"]),
        )
        return Signed(message, bytes(HexBytes(given["signature"])))
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise DataError(f"{path} is no approval of a recovery: {type(exc).__name__}") from None


@recover.command()
def stop(
    context: typer.Context,
    phrase: Phrase,
    organisation: Organisation = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Stop, with the key that is to be replaced, a recovery on its way, and void approvals that nobody sent yet."""
    session: Session = context.obj
    way = way_of(session, carrier, relay)
    actor, patient = actor_of(phrase, organisation, number, whom)
    records = Records(session.w3, session.deployments)
    version = records.recovery(patient).version + 1
    signed, receipt = carry(
        session, records, way, lambda later: records.stop_recovery(actor, patient=patient, version=version + later)
    )
    result = {"id": signed.id, "patient": patient, **carried(receipt)}
    tell(result, f"stopped in block {result['block']}: the key of {patient} stays", as_json=as_json)


@recover.command()
def complete(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(help="The pseudonym whose recovery's delay is over.")],
    carrier: Annotated[Path, typer.Option("--carrier", help="Key file of who pays the gas; it needs no right.")],
    as_json: Json = False,
) -> None:
    """Complete a recovery: the new key acts from now on, and what the old one signed counts no more."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    receipt = records.complete_recovery(patient, Sender(session.w3, session.account(carrier)))
    result = {"patient": address(patient), "actor": records.actor(patient), **carried(receipt)}
    tell(result, f"completed in block {result['block']}: {result['actor']} acts for {patient}", as_json=as_json)


@recover.command("show")
def recover_show(
    context: typer.Context,
    patient: Annotated[str, typer.Argument(help="The pseudonym.")],
    as_json: Json = False,
) -> None:
    """Tell how a pseudonym's key is recovered, and whether a recovery is on its way."""
    session: Session = context.obj
    records = Records(session.w3, session.deployments)
    found, actor = records.recovery(patient), records.actor(patient)
    on_its_way = {"successor": found.successor, "readyAt": found.ready_at} if found.ready_at else None
    result = {"actor": actor, "threshold": found.threshold, "delay": found.delay, "onItsWay": on_its_way}
    words = [f"{actor} acts for {patient}"]
    if found.threshold:
        days = found.delay / DAY
        words.append(f"{found.threshold} guardians can replace the key; it can stop them for {days:g} days")
    else:
        words.append("nobody can replace the key")
    if on_its_way:
        words.append(f"a recovery is on its way: {found.successor} can act from {when(found.ready_at)}, unless stopped")
    tell(result, "\n".join(words), as_json=as_json)


# ------------------------------------------------------------------ emergencies


def emergency(
    context: typer.Context,
    answer: Annotated[str, typer.Argument(metavar="allow|refuse", help="Whether emergency services may read unasked.")],
    phrase: Phrase,
    organisation: Organisation = None,
    whom: For = None,
    carrier: CarrierOrRelay = None,
    relay: RelayUrl = None,
    number: Number = 0,
    as_json: Json = False,
) -> None:
    """Let emergency services break the glass for a pseudonym, as at first, or let nobody."""
    session: Session = context.obj
    if answer not in ("allow", "refuse"):
        raise UsageError(f"{answer!r} is neither allow nor refuse")
    way = way_of(session, carrier, relay)
    actor, patient = actor_of(phrase, organisation, number, whom)
    records = Records(session.w3, session.deployments)
    version = records.emergency_word(patient)[1] + 1

    def sign(later: int) -> Item:
        return records.set_emergency(actor, answer == "allow", patient=patient, version=version + later)

    signed, receipt = carry(session, records, way, sign)
    result = {"id": signed.id, "patient": patient, "allowed": answer == "allow", **carried(receipt)}
    words = (
        f"set in block {result['block']}: emergency services may {'' if result['allowed'] else 'not '}break the glass"
    )
    tell(result, f"{words} for {patient}", as_json=as_json)
