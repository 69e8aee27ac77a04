"""What landed, read from the chain: which signed message, where, and whether exactly as it was signed.

The contract tells every message that it carried out by its id; each event is compared with the message all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak
from web3.exceptions import Web3RPCError

from liggare.errors import LedgerError
from liggare.messages import address
from liggare.records.client import Records
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
)

__all__ = ["Landing", "Landings"]

EVENTS = {
    Grant: "Granted",
    Revoke: "Revoked",
    RevokeAll: "AllRevoked",
    GrantFor: "GrantedFor",
    RevokeFor: "RevokedFor",
    Appoint: "GuardianAppointed",
    Dismiss: "GuardianDismissed",
    SetRecovery: "RecoverySet",
    Recover: "RecoveryStarted",
    StopRecovery: "RecoveryStopped",
    SetEmergency: "EmergencySet",
    BreakGlass: "GlassBroken",
}
"""By which event each message is told; a bundle's grants by Granted and Revoked."""


@dataclass(frozen=True)
class Landing:
    """Where a message landed; `as_signed` is whether the events under its id say what was signed, and nothing else."""

    transaction: str
    block: int
    as_signed: bool


class Landings:
    """Finds signed messages among the events of the records."""

    def __init__(self, records: Records) -> None:
        self._records = records
        events = {each["name"]: each for each in records.contract.abi if each["type"] == "event"}
        names = {*EVENTS.values()}
        self._topics = {
            "0x" + keccak(text=f"{name}({','.join(each['type'] for each in events[name]['inputs'])})").hex(): name
            for name in names
        }

    def find(self, message: Any) -> Landing | None:
        """Return where a message landed, None where the chain does not show it."""
        return self.find_all([message]).get(bytes(message.id))

    def find_all(self, messages: Sequence[Any]) -> dict[bytes, Landing]:
        """Return by id where messages landed, those that did. Raises LedgerError where the node does not show it."""
        if not messages:
            return {}
        by_id = {bytes(message.id): message for message in messages}
        topics = [[*self._topics], ["0x" + id_.hex() for id_ in by_id]]
        told: dict[bytes, list[Any]] = {}
        for log in self._logs(topics, self._records.first_block, self._records.w3.eth.block_number):
            told.setdefault(bytes(log["topics"][1]), []).append(log)
        return {
            id_: Landing(
                logs[0]["transactionHash"].to_0x_hex(),
                logs[0]["blockNumber"],
                [self._told(log) for log in logs] == _expected(by_id[id_]),
            )
            for id_, logs in told.items()
        }

    def _logs(self, topics: list[Any], first: int, last: int) -> list[Any]:
        """Return the contract's logs; a node that finds the range too long is asked for its halves."""
        place = self._records.contract.address
        try:
            found = self._records.w3.eth.get_logs(
                {"fromBlock": first, "toBlock": last, "address": place, "topics": topics}
            )
            return list(found)
        except Web3RPCError as exc:
            if first >= last:
                raise LedgerError(f"the node refused to show block {first}: {exc}") from None
        middle = (first + last) // 2
        return [*self._logs(topics, first, middle), *self._logs(topics, middle + 1, last)]

    def _told(self, log: Any) -> tuple[str, dict[str, Any]]:
        """Return an event's name and what it says of the message, as `_expected` has it."""
        name = self._topics[log["topics"][0].to_0x_hex()]
        values = dict(self._records.contract.events[name]().process_log(log)["args"])
        return name, {key: value for key, value in values.items() if key not in UNSIGNED[name]}


UNSIGNED: dict[str, set[str]] = {
    **{name: {"id"} for name in EVENTS.values()},
    "AllRevoked": {"id", "epoch"},
    "GuardianAppointed": {"id", "serial", "under"},
    "RecoveryStarted": {"id", "readyAt"},
}
"""What the contract adds by itself."""


def _expected(message: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the events by which the chain tells that exactly this message landed."""
    if isinstance(message, GrantBundle):
        return [
            _grant(message, **row)
            if any(row["terms"])
            else ("Revoked", {"patient": message.patient, "blinded": row["blinded"], "version": row["version"]})
            for row in message.grants
        ]
    if isinstance(message, Grant):
        return [_grant(message, message.blinded, message.terms, message.version)]
    name = EVENTS[type(message)]
    values = {key: value for key, value in message.values().items() if key not in ("deadline", "terms", "epoch")}
    if isinstance(message, GrantFor):
        del values["version"]
        values["slot"] = _slot(message.terms, message.epoch, message.version)
    if isinstance(message, BreakGlass):
        del values["version"]
    return [(name, {key: address(value) if _is_address(value) else value for key, value in values.items()})]


def _grant(message: Grant | GrantBundle, blinded: bytes, terms: bytes, version: int) -> tuple[str, dict[str, Any]]:
    slot = _slot(terms, message.epoch, version)
    return "Granted", {"patient": message.patient, "blinded": blinded, "slot": slot}


def _slot(terms: bytes, epoch: int, version: int) -> bytes:
    """Return the word that is stored, as IRecordAccess draws it."""
    return terms[:22] + epoch.to_bytes(5, "big") + version.to_bytes(5, "big")


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("0x")
