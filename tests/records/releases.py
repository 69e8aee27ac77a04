"""Releases as a gatekeeper would write them down: with a real sign-in, and on the chain's newest block."""

from __future__ import annotations

import itertools
from dataclasses import replace

from coincurve import PrivateKey
from eth_account import Account

from liggare.messages import Domain
from liggare.records.audit import Release
from liggare.records.messages import Terms
from liggare.records.share import Share
from liggare.records.signin import Door, build, parse

SERVER = "https://hospital.example"
ALL = ["patient/*.rs"]
nonces = itertools.count(10**8)


def person(number):
    """A key for a patient or an organisation of no chain."""
    return Account.from_key((number + 1).to_bytes(32, "big"))


def signed(account, text):
    """The signature of a sign-in by a key."""
    signature = PrivateKey(bytes(account.key)).sign_recoverable(parse(text).hash, hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


class Desk:
    """Makes a custodian's releases: `desk.release(reader, patient, "Observation/f001", shares=(share,))`."""

    def __init__(self, custodian, domain, newest):
        self.custodian, self.domain, self.newest = custodian, domain, newest
        self.door = Door(SERVER, domain.chain_id, custodian)

    def sign_in(self, reader, purpose, time, *, door=None, scopes=ALL, lasts=600, **words):
        """The text of a sign-in, issued ten seconds before the time."""
        nonce = f"{next(nonces)}"
        return build(door or self.door, reader.address, purpose, scopes, nonce, time - 10, time - 10 + lasts, **words)

    def release(
        self, reader, patient, *records, shares=(), purpose="HRESCH", emergency=False, query="", signin=None, **changes
    ):
        """A release on a sign-in that fits it; `signin` changes that, further words change the release."""
        block = self.newest()
        time = block["timestamp"]
        ground = {"shares": shares} if shares else {"emergency" if emergency else "patient": patient}
        words = {"reader": reader, "purpose": purpose, "time": time, **ground, **(signin or {})}
        text = self.sign_in(**words)
        query = query or ("" if len(records) == 1 else "Observation?_count=50")
        made = Release(
            custodian=self.custodian,
            server=SERVER,
            client="192.0.2.7",
            reader=reader.address,
            patient=patient,
            purpose=purpose,
            interaction="search" if query else "read",
            query=query,
            records=records,
            time=time,
            block=block["number"],
            block_hash="0x" + bytes(block["hash"]).hex(),
            message=text,
            signature=signed(words["reader"], text),
            shares=tuple(shares),
            emergency=emergency,
        )
        return replace(made, **changes)


SECRET = b"\x5e" * 32
"""What covers the logs of these tests at rest."""
NOWHERE = Domain("Liggare Records", "1", 1337, person(998).address)
"""The records of a chain that is not there."""


def plain_desk(custodian=None):
    """A desk of no chain."""
    block = {"number": 7, "hash": b"\x77" * 32, "timestamp": 1_796_000_000}
    return Desk(custodian or person(1).address, NOWHERE, lambda: block)


def plain_share(patient, reader, domain=NOWHERE):
    """A share that no chain knows."""
    terms = Terms.of(["Observation", "Condition"], ["HRESCH", "TREAT"], 0, 2**40)
    return Share(domain.chain_id, domain.verifying_contract, patient, reader, b"\x05" * 32, terms)


def plain_release(number=0, whose=0, **changes):
    """A release of a patient's records to the one reader, of no chain; any member can be changed."""
    desk, reader, patient = plain_desk(), person(2), person(100 + whose).address
    share = plain_share(patient, reader.address)
    return replace(desk.release(reader, patient, f"Observation/o{number}", shares=(share,)), **changes)
