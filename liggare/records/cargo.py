"""The records' messages as the relayer's cargo: grants and revokes by patients' keys gathered, all others alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.crypto import keccak
from web3.contract.contract import ContractFunction
from web3.exceptions import Web3RPCError
from web3.types import BlockIdentifier, RPCEndpoint

from liggare.chain.sender import refusal
from liggare.errors import ContractRefused, DataError, RelayRefused, SignatureMalformed
from liggare.messages import address, recover
from liggare.records.client import Records
from liggare.records.landings import Landings
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    StopRecovery,
    grant_key,
    grant_key_by,
)
from liggare.records.wire import Approved, Item, document, function, item, read
from liggare.relay.cargo import WAITS, Allowance, Facts, Freight, Landed
from liggare.relay.outbox import Entry, Lane, Pending, Row
from liggare.relay.terms import Limits

__all__ = ["RecordCargo"]

KIND = "record"
MARGIN = 30
"""Seconds that a message must still have when it is taken."""
TRIES = 2
"""Transactions that a message which goes alone may cost: it is sent once more where the first was overtaken."""
AHEAD = 64
"""How many messages about the same thing may be on their way before another."""
SIGNER = {Grant: "patient", Revoke: "patient", GrantBundle: "patient", GrantFor: "author", Appoint: "appointer"} | {
    Dismiss: "by",
    BreakGlass: "organisation",
}
"""The member that names who signs; of the others the actor does, whom only the chain knows."""

SKIPPED = keccak(text="Skipped(uint256,bytes32,bytes4)")

# the most that a message uses, in gas: the prices of shanghai, and what tests/relay/test_record_cargo.py measures
CALL = 26_000  # a batch without its items
NEW = 34_000  # an item of a batch, and of a bundle
ALONE = 120_000  # any other message; a guardian's word is looked up through four appointers at most
APPROVAL = 20_000
WALLET = 190_000
SIGNATURE = 40  # a byte, copied twice


class RecordCargo:
    """See `liggare.relay.cargo.Cargo`. A message's nonce is what it is about, 27 bytes, and its version, 5."""

    kind = KIND
    lanes: tuple[Lane, ...] = (Lane(KIND, ordered=True), Lane(KIND, alone=True, ordered=True))
    passing: frozenset[str] = frozenset()

    def __init__(self, records: Records) -> None:
        self._records, self._domain = records, records.domain
        self._landings = Landings(records)
        self._item = lru_cache(4_096)(self._parse)
        errors = [each for each in cast(Any, records.contract.abi) if each["type"] == "error"]
        self._errors = {function_abi_to_4byte_selector(each): str(each["name"]) for each in errors}

    # ------------------------------------------------------------------ taking in

    def read(self, document_: Any) -> Entry:
        """Return the message of a JSON document, or of the model of one."""
        try:
            given = read(document_)
        except DataError as exc:
            raise RelayRefused("Malformed", str(exc), at=str(exc).partition(":")[0]) from None
        if given.chain_id != self._domain.chain_id:
            words = f"the message is for chain {given.chain_id}, this relayer serves {self._domain.chain_id}"
            raise RelayRefused("WrongChain", words, given=given.chain_id, served=self._domain.chain_id)
        if given.contract != self._domain.verifying_contract:
            words = f"the message is for {given.contract}, this relayer serves {self._domain.verifying_contract}"
            raise RelayRefused("WrongContract", words, given=given.contract, served=self._domain.verifying_contract)
        signed = item(given, self._domain)
        message = signed.message
        if isinstance(message, Grant) and not any(message.terms):
            raise RelayRefused("Malformed", "message.terms: a grant of nothing; a Revoke ends one", at="message.terms")
        signer = _signer(signed)
        alone = not (isinstance(message, Grant | Revoke) and signer == message.patient)
        return Entry(
            id=signed.id.to_0x_hex(),
            kind=KIND,
            alone=alone,
            account=_account(signed, signer),
            nonce=_nonce(_place(message), _version(message)),
            total=0,
            units=_units(message),
            gas=TRIES * _alone_gas(signed) if alone else CALL + NEW,  # it may have to go without company
            body=json.dumps(document(signed), separators=(",", ":")),
            signature=signed.signature,
        )

    def check_time(self, entry: Entry, now: int) -> None:
        """Refuse what can't land now and for MARGIN seconds more."""
        message = self._of(entry).message
        if message.deadline < now + MARGIN:
            words = f"the message may land until {message.deadline}, and now it is {now}"
            raise RelayRefused("Expired", words, deadline=message.deadline, now=now)

    def check_signer(self, entry: Entry) -> None:
        """Refuse what another key signed than the message names; wallets and the actor are the dry run's to ask."""
        signed = self._of(entry)
        if isinstance(signed, Approved):
            pairs = [(who, _recovered(signed.id, signature)) for who, signature in signed.approvals]
        elif type(signed.message) in SIGNER:
            pairs = [(getattr(signed.message, SIGNER[type(signed.message)]), _signer(signed))]
        else:
            pairs = []
        for expected, signer in pairs:
            if signer != expected and not self._records.w3.eth.get_code(address(expected)):
                words = f"{expected} should have signed, {signer or 'nobody'} did"
                raise RelayRefused("WrongSigner", words, expected=expected, actual=signer)

    def allowance(self, entry: Entry, limits: Limits) -> Allowance:
        """Return how much a message may use of what the sponsor gives.

        Who takes back what was given may do so as often again as the quota says. An emergency is bounded by the
        quota that the registry gives its organisation, and may use the last tenth of the budget, which nobody else may.
        """
        message = self._of(entry).message
        if isinstance(message, BreakGlass):
            return Allowance(2**16, limits.budget)
        budget = None if limits.budget is None else limits.budget * 9 // 10
        return Allowance(limits.per_account * (2 if _ends(message) else 1), budget)

    def payees(self, entry: Entry) -> Collection[str]:  # noqa: ARG002
        """Return nobody: no money moves."""
        return ()

    def used(self, entries: Sequence[Entry]) -> list[bool]:
        """Leave that to the dry run, which compares the versions."""
        return [False] * len(entries)

    def facts(self, accounts: Collection[str]) -> Mapping[str, Facts]:  # noqa: ARG002
        """Return nothing: no money moves."""
        return {}

    def check_room(self, entry: Entry, facts: Mapping[str, Facts], others: Sequence[Pending]) -> None:
        """Let everything pass: a message that is too far ahead of the others shows in the dry run."""

    # ------------------------------------------------------------------ carrying

    def dry_run(
        self, entries: Sequence[Entry | Row], block: BlockIdentifier = "latest", others: Sequence[Pending] = ()
    ) -> list[str | None]:
        """Return the contract's own answer for each, by a call of its own.

        One that is only too early waits for `others` and for entries before it; in a batch it does not even wait.
        """
        pending = {other.nonce for other in others}
        reached: set[str] = set()
        reasons: list[str | None] = []
        for entry, error in zip(entries, self._try(entries, block), strict=True):
            reason = None if error is None else error.name
            if error is not None and error.name == "RecordsWrongVersion":
                if not entry.alone and _before(entry.nonce) in reached:
                    reason = None
                elif all(nonce in pending for nonce in _between(entry.nonce, error.arguments)):
                    reason = WAITS
            if reason in (None, WAITS):
                pending.add(entry.nonce)
            if reason is None and not entry.alone:
                reached.add(entry.nonce)
            reasons.append(reason)
        return reasons

    def _try(self, entries: Sequence[Entry | Row], block: BlockIdentifier) -> list[ContractRefused | None]:
        """Call each message's function, all in one request."""
        if not entries:
            return []
        place = hex(block) if isinstance(block, int) else block
        requests = []
        for entry in entries:
            signed = self._of(entry)
            gas = _alone_gas(signed)
            call = {"to": self._records.contract.address, "data": "0x" + self._data(signed).hex(), "gas": hex(gas)}
            requests.append((RPCEndpoint("eth_call"), [call, place]))
        answers = cast(Any, self._records.w3.provider).make_batch_request(requests)
        return [_error(answer) for answer in answers]

    def refused(self, entry: Entry, reason: str) -> RelayRefused:
        """Return the refusal of a message that the contract would not carry out."""
        message = self._of(entry).message
        if reason == "RecordsInvalidSignature":
            return RelayRefused("WrongSigner", f"the contract does not take the signature of this {message.TYPE}")
        if reason == "RecordsExpired":
            return RelayRefused("Expired", f"the message may land until {message.deadline}", deadline=message.deadline)
        if reason in ("RecordsWrongVersion", "RecordsWrongEpoch"):
            words = "the version or epoch is not the next one: used, superseded, or ahead of what is on its way"
            return RelayRefused("OutOfTurn", words, outcome=reason)
        return RelayRefused("NotCarriable", f"the contract would answer {reason}", outcome=reason)

    def fit(self, entries: Sequence[Entry | Row], gas: int) -> int:
        """Return how many of the first entries use at most that much gas in one batch; one at least."""
        return 1 if entries[0].alone else min(len(entries), max(1, (gas - CALL) // NEW))

    def load(self, entries: Sequence[Entry | Row]) -> Freight:
        """Return the call of `grantBatch` with them all, or of the one that goes alone."""
        place = self._records.contract.address
        if entries[0].alone:
            signed = self._of(entries[0])
            return Freight(place, self._data(signed), _alone_gas(signed), [])
        batch = self._records.batch([cast(Any, self._of(entry)) for entry in entries])
        return Freight(place, _encoded(batch), CALL + NEW * len(entries), [])

    def outcomes(self, landed: Landed, entries: Sequence[Row]) -> list[str | None]:
        """Return the skipped ones' reasons, as the contract's events tell them; what went alone was carried out."""
        reasons: list[str | None] = [None] * len(entries)
        place = self._records.contract.address.lower()
        for log in landed.logs:
            if log["topics"][0] == "0x" + SKIPPED.hex() and log["address"].lower() == place:
                data = bytes.fromhex(log["data"][2:])
                reasons[int.from_bytes(data[:32], "big")] = self._errors[data[32:36]]
        return reasons

    def find(self, entries: Sequence[Entry | Row]) -> Mapping[str, tuple[str, int]]:
        """Return by id in which transaction and block the messages landed, where they did."""
        found = self._landings.find_all([self._of(entry).message for entry in entries])
        return {"0x" + id_.hex(): (landing.transaction, landing.block) for id_, landing in found.items()}

    # ------------------------------------------------------------------ internal

    def _of(self, entry: Entry) -> Item:
        return self._item(entry.body)

    def _parse(self, body: str) -> Item:
        return item(read(json.loads(body)), self._domain)

    def _data(self, signed: Item) -> bytes:
        return _encoded(function(self._records, signed))


def _encoded(call: ContractFunction) -> bytes:
    """Return a call's data; every field is given, so that the node is asked nothing."""
    fields: Any = {"gas": 0, "nonce": 0, "chainId": 0, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    return bytes.fromhex(cast(str, call.build_transaction(fields)["data"])[2:])


def _error(answer: Any) -> ContractRefused | None:
    """Return the contract's refusal in a node's answer. Raises Web3RPCError where the node itself failed."""
    if answer.get("error") is None:
        return None
    failure = Web3RPCError(str(answer["error"]), rpc_response=answer)
    found = refusal(failure)
    if isinstance(found, ContractRefused):
        return found
    if "revert" in str(answer["error"]).lower() or "gas" in str(answer["error"]).lower():
        return ContractRefused("Reverted")
    raise failure


def _signer(signed: Item) -> str | None:
    """Return whose key signed; None where no key did, or several."""
    return None if isinstance(signed, Approved) else _recovered(signed.id, signed.signature)


def _recovered(id_: bytes, signature: bytes) -> str | None:
    try:
        return recover(id_, signature)
    except SignatureMalformed:
        return None


def _account(signed: Item, signer: str | None) -> str:
    """Return who speaks, on whose quota: who signs by the message's own words, else whose key did."""
    message = signed.message
    if isinstance(signed, Approved):
        return signed.approvals[0][0]
    if type(message) in SIGNER:
        return str(getattr(message, SIGNER[type(message)]))
    return signer or str(message.author if isinstance(message, RevokeFor) else message.patient)


def _place(message: Any) -> bytes:
    """Return what a message's version counts: messages of one place land in the order of their versions."""
    if isinstance(message, Grant | Revoke):
        return grant_key(message.patient, message.blinded)
    if isinstance(message, GrantFor | RevokeFor):
        return grant_key_by(message.patient, message.author, message.blinded)
    if isinstance(message, GrantBundle | RevokeAll):
        return bytes(message.id)  # many places, or none
    if isinstance(message, Appoint | Dismiss):
        return keccak(text=f"guardian {message.patient} {message.guardian}")
    if isinstance(message, BreakGlass):
        return keccak(text=f"emergency {message.patient} {message.organisation}")
    return keccak(text=f"{'opting' if isinstance(message, SetEmergency) else 'recovery'} {message.patient}")


def _version(message: Any) -> int:
    return 0 if isinstance(message, GrantBundle | RevokeAll) else int(message.version)


def _nonce(place: bytes, version: int) -> str:
    return "0x" + place[:27].hex() + version.to_bytes(5, "big").hex()


def _before(nonce: str) -> str:
    """Return the nonce of the message that must land before."""
    version = int(nonce[-10:], 16)
    return nonce[:-10] + f"{max(0, version - 1):010x}"


def _between(nonce: str, arguments: Mapping[str, Any]) -> Sequence[str]:
    """Return the nonces of those that must land before, by what the contract expected; where it is used, none's."""
    version, expected = int(nonce[-10:], 16), int(arguments["expected"])
    if not expected < version <= expected + AHEAD:
        return ("nobody's",)
    return [nonce[:-10] + f"{each:010x}" for each in range(expected, version)]


def _ends(message: Any) -> bool:
    """Tell whether a message only takes back what was given."""
    if isinstance(message, GrantBundle):
        return not any(any(row["terms"]) for row in message.grants)
    refuses = isinstance(message, SetEmergency) and not message.allowed
    return refuses or isinstance(message, Revoke | RevokeFor | RevokeAll | Dismiss | StopRecovery)


def _units(message: Any) -> int:
    return len(message.grants) if isinstance(message, GrantBundle) else 1


def _alone_gas(signed: Item) -> int:
    """Return the most that a message uses in a transaction of its own."""
    message = signed.message
    if isinstance(signed, Approved):
        pairs = ((signature, _recovered(signed.id, signature) == who) for who, signature in signed.approvals)
        return ALONE + sum(APPROVAL + (0 if by_key else _wallet_gas(signature)) for signature, by_key in pairs)
    rows = NEW * len(message.grants) if isinstance(message, GrantBundle) else 0
    named = message.author if isinstance(message, RevokeFor) else getattr(message, SIGNER.get(type(message), "patient"))
    if _signer(signed) == named:
        return ALONE + rows
    wallets = 2 if isinstance(message, RevokeFor) else 1  # the author may be asked, then the actor
    return ALONE + rows + wallets * _wallet_gas(signed.signature)


def _wallet_gas(signature: bytes) -> int:
    """Return the most that asking a contract wallet uses."""
    return WALLET + SIGNATURE * len(signature)
