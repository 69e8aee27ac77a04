"""The gatekeeper: a custodian releases a record only as the ledger lets it, and only after writing that down.

    request -> form -> signature -> lifetime -> once -> ledger -> record -> access log, fsync -> release

Refusals come in that order, from cheap to costly. All up to the ledger's depend on the request and the ledger alone,
so a record that may not be read can't be told from one that does not exist. If the chain does not answer, nothing is
released.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from liggare.errors import (
    AccessRefused,
    RecordUnavailable,
    RequestExpired,
    RequestInvalid,
    RequestReplayed,
    UnknownName,
)
from liggare.messages import Signed, address
from liggare.records.categories import PURPOSES, category_of, mask
from liggare.records.client import REASONS, Records, Refusal
from liggare.records.logfile import LogFile
from liggare.records.messages import RECORD, ReadRequest
from liggare.records.share import Share
from liggare.records.vault import Vault

__all__ = ["Gatekeeper", "log_entry"]

LONGEST = 300
"""The longest lifetime of a request, in seconds."""
SKEW = 30
"""How far a requester's clock may be ahead of ours, in seconds."""


def log_entry(signed: Signed[ReadRequest], share: Share, block: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return what the access log keeps of a release: who asked for what, by which grant, at which block."""
    return {
        "id": signed.id.to_0x_hex(),
        "time": now,
        "block": block["number"],
        "blockHash": block["hash"].to_0x_hex(),
        "request": signed.message.typed_data()["message"],
        "signature": "0x" + signed.signature.hex(),
        "share": share.document(),
    }


class Gatekeeper:
    """One custodian's door to its records. Times are those of `records.now`."""

    def __init__(self, records: Records, custodian: str, vault: Vault, log: LogFile) -> None:
        self.records, self.vault, self.log = records, vault, log
        self.custodian = address(custodian)
        self._served = {entry["id"] for entry in log.entries}
        self._lock = threading.Lock()

    def read(self, signed: Signed[ReadRequest], share: Share) -> dict[str, Any]:
        """Return the record asked for, once the release is in the access log.

        Raises SignatureError or AccessError by kind; ChainError where the ledger can't be asked.
        """
        request = signed.message
        self._check_form(request, share)
        signed.check(request.grantee)
        block = self.records.newest()
        now = max(int(self.records.clock()), int(block["timestamp"]))
        self._check_time(request, now)
        self._check_once(signed)
        self._check_ledger(request, share, block["number"], now)
        resource = self.vault.find(request.patient, request.record)
        if resource is None:
            raise RecordUnavailable(f"no {request.record} of this patient here")
        entry = log_entry(signed, share, block, now)
        with self._lock:
            self._check_once(signed)  # again: another thread may have been faster
            self.log.append(entry)
            self._served.add(entry["id"])
        return resource

    def _check_form(self, request: ReadRequest, share: Share) -> None:
        """Raise RequestInvalid unless request and share belong together and here."""
        domain = self.records.domain
        if request.domain != domain or (share.chain_id, share.contract) != (domain.chain_id, domain.verifying_contract):
            raise RequestInvalid("the request or the share is for another chain or contract")
        if request.custodian != self.custodian:
            raise RequestInvalid(f"the request is for the custodian {request.custodian}, this is {self.custodian}")
        if (request.grantee, request.patient) != (share.grantee, share.patient):
            raise RequestInvalid("the request is not of the share's grantee and patient")
        if not RECORD.fullmatch(request.record):
            raise RequestInvalid(f"{request.record!r} names no record, such as Claim/100150")
        if request.purpose not in PURPOSES:
            raise RequestInvalid(str(UnknownName(request.purpose, PURPOSES)))

    def _check_time(self, request: ReadRequest, now: int) -> None:
        """Raise RequestExpired unless the request is fresh and short-lived."""
        lifetime = request.expiry - request.issued_at
        if not (0 < lifetime <= LONGEST and request.issued_at <= now + SKEW and now < request.expiry):
            raise RequestExpired(request.issued_at, request.expiry, now)

    def _check_once(self, signed: Signed[ReadRequest]) -> None:
        """Raise RequestReplayed where the request was served before, also by an earlier process."""
        if signed.id.to_0x_hex() in self._served:
            raise RequestReplayed("this request was served before; sign another")

    def _check_ledger(self, request: ReadRequest, share: Share, block: int, now: int) -> None:
        """Raise AccessRefused unless the ledger lets it at this block, and the grant has not ended since."""
        try:
            category = category_of(request.record)
        except UnknownName:
            reason = Refusal.CATEGORY_NOT_GRANTED  # a type without a bit can't be granted
        else:
            reason = self.records.why_not(share, category, mask(PURPOSES, [request.purpose]), block=block)
        if reason is Refusal.NOTHING and now >= share.terms.expiry:
            reason = Refusal.EXPIRED  # the newest block is older than our clock
        if reason is not Refusal.NOTHING:
            raise AccessRefused(reason.solidity, REASONS[reason])
