"""What a patient hands a grantee, off the chain: the salt and the terms that open one blinded grant.

Whoever holds it can show a custodian, and anyone else, what was granted; so it is as private as a letter. It gives no
right by itself: the chain must hold the commitment, and the reader must sign as the grantee.

    {"liggare": "share/1", "chainId": 1337, "contract": "0x…", "patient": "0x…", "grantee": "0x…", "salt": "0x…",
     "terms": {"categories": ["Claim"], "purposes": ["HPAYMT"], "notBefore": 0, "expiry": 1798675200}}

One that a guardian or a recovery's successor granted names it after the patient as `"author": "0x…"`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from liggare.errors import DataError, UsageError
from liggare.messages import address
from liggare.records.messages import Terms, blind

__all__ = ["FORM", "Share"]

FORM = "share/1"


@dataclass(frozen=True)
class Share:
    """One grant, opened; `by` is who granted in the patient's stead, None where the patient did."""

    chain_id: int
    contract: ChecksumAddress
    patient: ChecksumAddress
    grantee: ChecksumAddress
    salt: bytes
    terms: Terms
    by: ChecksumAddress | None = None

    @property
    def author(self) -> ChecksumAddress:
        """Who granted: the patient, or who did so in its stead."""
        return self.patient if self.by is None else self.by

    @property
    def blinded(self) -> bytes:
        """The grantee as the chain shows it."""
        return blind(self.grantee, self.salt)

    def document(self) -> dict[str, Any]:
        """Return the share as plain values, ready for JSON."""
        return {
            "liggare": FORM,
            "chainId": self.chain_id,
            "contract": self.contract,
            "patient": self.patient,
            **({} if self.by is None else {"author": self.by}),
            "grantee": self.grantee,
            "salt": "0x" + self.salt.hex(),
            "terms": {
                "categories": list(self.terms.category_names),
                "purposes": list(self.terms.purpose_names),
                "notBefore": self.terms.not_before,
                "expiry": self.terms.expiry,
            },
        }

    def to_json(self) -> str:
        """Return the share as text to hand over."""
        return json.dumps(self.document(), indent=2) + "\n"

    @classmethod
    def from_document(cls, document: Any) -> Share:
        """Read a share from plain values, taking nothing for granted. Raises DataError."""
        try:
            if document["liggare"] != FORM:
                raise DataError(f"not a share of the form {FORM}: {document['liggare']!r}")
            terms = document["terms"]
            salt = bytes.fromhex(document["salt"].removeprefix("0x"))
            if len(salt) != 32:
                raise DataError(f"the share's salt is 32 bytes, not {len(salt)}")
            share = cls(
                _whole(document["chainId"]),
                address(document["contract"]),
                address(document["patient"]),
                address(document["grantee"]),
                salt,
                Terms.of(terms["categories"], terms["purposes"], _whole(terms["notBefore"]), _whole(terms["expiry"])),
                address(document["author"]) if "author" in document else None,
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise DataError(f"the share lacks something or has it in another form: {exc!r}") from None
        except UsageError as exc:  # a name, an address or terms that there can't be
            raise DataError(f"the share is off: {exc}") from None
        except ValueError as exc:
            raise DataError(f"the share's salt is no hexadecimal: {exc}") from None
        if share.by == share.patient:
            raise DataError("the share names its patient as who granted in the patient's stead")
        if share.document() != document:
            raise DataError("the share has members that it should not have, or names twice or out of order")
        return share

    @classmethod
    def from_json(cls, text: str) -> Share:
        """Read a share from text. Raises DataError."""
        try:
            document = json.loads(text)
        except ValueError as exc:
            raise DataError(f"the share is no JSON: {exc}") from None
        return cls.from_document(document)


def _whole(value: Any) -> int:
    """Return a whole number, which `True` and `1.0` are not."""
    if type(value) is not int:
        raise DataError(f"the share has {value!r} where a whole number should be")
    return value
