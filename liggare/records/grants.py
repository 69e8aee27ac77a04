"""What a patient's pseudonyms have granted, found again from the seed phrase alone.

    phrase -> a pseudonym for each organisation ever accredited -> its events -> what stands, and how

Which organisation and which state the ledger tells to who has the phrase; the terms are a commitment there, and only a
share that matches it tells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from liggare.errors import PseudonymReused
from liggare.messages import address
from liggare.records.client import Records, Refusal
from liggare.records.messages import Terms, blind
from liggare.records.pseudonyms import Pseudonyms, Relationship
from liggare.records.share import Share

__all__ = ["Held", "check_alone", "grants_of"]

SALTS = 8
"""How many grants of one relationship are looked for."""


@dataclass(frozen=True)
class Held:
    """One grant as it stands at the newest block. `author` is the pseudonym itself, a guardian or a successor.

    `status` is `live`, `revoked`, or IRecordAccess's reason why nobody reads by it (`Expired`, `AllRevoked`, …);
    without its terms it is `granted` where nothing else tells more. `organisation` is None where only a share could
    tell it: a guardian's grant.
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


def grants_of(records: Records, pseudonyms: Pseudonyms, shares: Iterable[Share] = ()) -> list[Held]:
    """Return all that was ever granted for these pseudonyms, in the order of the ledger. One look at the logs."""
    told = records.registry.events.Accredited().get_logs(from_block=0)
    organisations = dict.fromkeys(address(each["args"]["organisation"]) for each in told)
    known: dict[ChecksumAddress, Relationship] = {}
    found: list[Any] = []
    pending = [(organisation, 0) for organisation in organisations]
    while pending:  # another number of a relationship is looked for where the one before it was used
        fresh = {made.patient: made for made in (pseudonyms.relationship(*each) for each in pending)}
        known |= fresh
        logs = _events(records, list(fresh))
        found += logs
        used = {each["args"]["patient"] for each in logs}
        pending = [(made.organisation, made.number + 1) for made in fresh.values() if made.patient in used]
    opened = {(share.patient, share.blinded): share for share in shares}
    keys = dict.fromkeys(
        (each["args"]["patient"], each["args"].get("author", each["args"]["patient"]), bytes(each["args"]["blinded"]))
        for each in sorted(found, key=lambda log: (log["blockNumber"], log["logIndex"]))
    )
    return [_held(records, known[patient], author, blinded, opened) for patient, author, blinded in keys]


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
    known_as: Relationship,
    author: str,
    blinded: bytes,
    opened: dict[tuple[ChecksumAddress, bytes], Share],
) -> Held:
    state = records.state(known_as.patient, blinded, author=author)
    share = opened.get((known_as.patient, blinded))
    terms = None if share is None else share.terms
    if share is not None and share.terms.commitment(share.salt, state.version)[:22] != state.terms:
        terms = None  # a share of before a change
    mine = any(blind(known_as.organisation, known_as.salt(number)) == blinded for number in range(SALTS))
    organisation = known_as.organisation if mine else None if share is None else share.grantee
    status = "revoked" if state.terms == bytes(22) else "granted"
    if share is not None and terms is not None:
        reasons = {
            records.why_not(share, 1 << bit, terms.purposes & -terms.purposes) for bit in _bits(terms.categories)
        }
        status = "live" if Refusal.NOTHING in reasons else min(reasons).solidity
    elif status == "granted" and author == known_as.patient and state.epoch != records.epoch(known_as.patient):
        status = Refusal.ALL_REVOKED.solidity
    return Held(organisation, known_as.number, known_as.patient, address(author), blinded, state.version, status, terms)


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
