"""What a patient's pseudonyms have granted, found again from the seed phrase alone.

    phrase -> a pseudonym for each organisation ever accredited -> its events -> what stands, and how
    phrase and a ward -> the guardian's or successor's key -> what it granted for the ward

Which organisation and which state the ledger tells to who has the phrase; the terms are a commitment there, and only a
share that matches it tells them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from liggare.errors import PseudonymReused
from liggare.messages import address
from liggare.records.client import Records, Refusal
from liggare.records.messages import Terms, blind
from liggare.records.pseudonyms import Pseudonyms, Relationship
from liggare.records.share import Share

__all__ = ["SALTS", "Held", "check_alone", "grants_for", "grants_of", "relationships", "search"]

SALTS = 8
"""How many grants of one relationship are looked for."""


@dataclass(frozen=True)
class Held:
    """One grant as it stands at the newest block. `author` is the pseudonym itself, a guardian or a successor.

    `status` is `live`, `revoked`, or IRecordAccess's reason why nobody reads by it (`Expired`, `AllRevoked`, …);
    without its terms it is `granted` where nothing else tells more. `organisation` is None where only a share could
    tell it: what a guardian granted, to the patient. `number` is of the relationship whose key the reader has.
    """

    organisation: ChecksumAddress | None
    number: int
    patient: ChecksumAddress
    author: ChecksumAddress
    blinded: bytes
    version: int
    status: str
    terms: Terms | None

    def document(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        terms = self.terms
        told = None
        if terms is not None:
            told = {
                "categories": list(terms.category_names),
                "purposes": list(terms.purpose_names),
                "notBefore": terms.not_before,
                "expiry": terms.expiry,
            }
        return {
            "organisation": self.organisation,
            "number": self.number,
            "patient": self.patient,
            "author": self.author,
            "blinded": "0x" + self.blinded.hex(),
            "version": self.version,
            "status": self.status,
            "terms": told,
        }


def relationships(
    pseudonyms: Pseudonyms, organisations: Iterable[str], used: Callable[[list[str]], set[str]]
) -> dict[str, Relationship]:
    """Return the relationships with these organisations that were used, and of each one more, by pseudonym.

    `used` tells under which of some pseudonyms something was granted.
    """
    known: dict[str, Relationship] = {}
    pending = [(organisation, 0) for organisation in organisations]
    while pending:  # another number of a relationship is looked for where the one before it was used
        fresh: dict[str, Relationship] = {
            made.patient: made for made in (pseudonyms.relationship(*each) for each in pending)
        }
        known |= fresh
        found = used(list(fresh))
        pending = [(made.organisation, made.number + 1) for made in fresh.values() if made.patient in found]
    return known


def search(records: Records, pseudonyms: Pseudonyms) -> tuple[dict[str, Relationship], list[Any]]:
    """Return the relationships that the node tells of, by pseudonym, and the events by which something was granted."""
    found: list[Any] = []

    def used(patients: list[str]) -> set[str]:
        logs = _events(records, patients)
        found.extend(logs)
        return {each["args"]["patient"] for each in logs}

    return relationships(pseudonyms, _organisations(records), used), found


def grants_of(records: Records, pseudonyms: Pseudonyms, shares: Iterable[Share] = ()) -> list[Held]:
    """Return all that was ever granted for these pseudonyms, in the order of the ledger. One look at the logs."""
    known, found = search(records, pseudonyms)
    held = []
    for patient, author, blinded in _keys(found):
        made = known[patient]
        mine = author == patient and any(blind(made.organisation, made.salt(one)) == blinded for one in range(SALTS))
        organisation = made.organisation if mine else None
        held.append(_held(records, patient, author, blinded, organisation, made.number, shares))
    return held


def grants_for(
    records: Records, pseudonyms: Pseudonyms, ward: str, shares: Iterable[Share] = (), number: int = 0
) -> list[Held]:
    """Return all that these pseudonyms granted for a ward, as its guardian or successor, in the ledger's order."""
    me = pseudonyms.relationship(ward, number)
    filters = {"patient": address(ward), "author": me.patient}
    found = records.contract.events.GrantedFor().get_logs(argument_filters=filters, from_block=0)
    known = {
        blind(organisation, me.salt(one, grantee=organisation)): organisation
        for organisation in (_organisations(records) if found else ())
        for one in range(SALTS)
    }
    return [
        _held(records, patient, author, blinded, known.get(blinded), number, shares)
        for patient, author, blinded in _keys(found)
    ]


def _organisations(records: Records) -> list[ChecksumAddress]:
    """Return all that ever were accredited."""
    told = records.registry.events.Accredited().get_logs(from_block=0)
    return list(dict.fromkeys(address(each["args"]["organisation"]) for each in told))


def _keys(found: Iterable[Any]) -> list[tuple[ChecksumAddress, ChecksumAddress, bytes]]:
    """Return patient, author and blinded grantee of these events, each once."""
    words = (each["args"] for each in sorted(found, key=lambda log: (log["blockNumber"], log["logIndex"])))
    keys = ((each["patient"], each.get("author", each["patient"]), bytes(each["blinded"])) for each in words)
    return list(dict.fromkeys(keys))


def check_alone(records: Records, known_as: Relationship) -> None:
    """Raise PseudonymReused where something was granted under a pseudonym that is not for its own organisation.

    Two organisations that know a patient by one pseudonym know that it is one patient; so does everybody else.
    """
    patient = known_as.patient
    mine = {blind(known_as.organisation, known_as.salt(number)) for number in range(SALTS)}
    for log in records.contract.events.Granted().get_logs(argument_filters={"patient": patient}, from_block=0):
        if bytes(log["args"]["blinded"]) not in mine:
            raise PseudonymReused(patient, known_as.organisation)


def _events(records: Records, patients: Sequence[str]) -> list[Any]:
    wanted = (records.contract.events.Granted(), records.contract.events.GrantedFor())
    filters = {"patient": list(patients)}
    return [log for event in wanted for log in event.get_logs(argument_filters=filters, from_block=0)]


def _held(
    records: Records,
    patient: ChecksumAddress,
    author: ChecksumAddress,
    blinded: bytes,
    organisation: ChecksumAddress | None,
    number: int,
    shares: Iterable[Share],
) -> Held:
    state = records.state(patient, blinded, author=author)
    mine = [share for share in shares if (share.patient, share.author, share.blinded) == (patient, author, blinded)]
    fits = [each for each in mine if each.terms.commitment(each.salt, state.version)[:22] == state.terms]
    share = fits[0] if fits else None  # another is of before a change
    terms = None if share is None else share.terms
    if organisation is None and mine:
        organisation = mine[0].grantee
    status = "revoked" if state.terms == bytes(22) else "granted"
    if share is not None and terms is not None:
        reasons = {
            records.why_not(share, 1 << bit, terms.purposes & -terms.purposes) for bit in _bits(terms.categories)
        }
        status = "live" if Refusal.NOTHING in reasons else min(reasons).solidity
    elif status == "granted" and author == patient and records.actor(patient) != patient:
        status = Refusal.KEY_REPLACED.solidity
    elif status == "granted" and author == patient and state.epoch != records.epoch(patient):
        status = Refusal.ALL_REVOKED.solidity
    elif status == "granted" and author != patient and not records.may_act(patient, author, ["grant"]):
        status = Refusal.NOT_AUTHOR.solidity
    return Held(organisation, number, patient, author, blinded, state.version, status, terms)


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
