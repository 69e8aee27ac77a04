"""What an entry of an access log shows alone: that its reader asked, here and then, for these records of this patient.

Whether the ledger let it is another question (`log_rules`). This one needs nothing but the entry, and the chain only
for the signature of a contract wallet.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from liggare.errors import SignInRefused
from liggare.messages import Domain
from liggare.records.audit import Release
from liggare.records.categories import CATEGORIES
from liggare.records.signin import LONGEST, SKEW, SignIn, Wallet, check_signature, digest, parse

__all__ = ["Fault", "faults"]


class Fault(NamedTuple):
    """A rule that an entry breaks, in words, and both values."""

    rule: str
    expected: Any
    actual: Any


@lru_cache(4096)
def _parsed(message: str) -> SignIn:
    """Read a sign-in; one is the evidence of many entries."""
    return parse(message)


def faults(release: Release, domain: Domain, wallet: Wallet) -> Iterator[Fault]:
    """Yield what is off with the evidence of a release; `domain` is the records' own.

    Raises ChainError where a contract wallet has to be asked and the chain does not answer.
    """
    try:
        signin = _parsed(release.message)
        check_signature(signin, release.signature, wallet)
    except SignInRefused as exc:
        yield Fault("an entry holds a sign-in, signed by its reader", "such a sign-in", exc.reason)
        return
    if signin.reader != release.reader:
        yield Fault("a release is to who signed in", signin.reader, release.reader)
    if signin.custodian != release.custodian:
        yield Fault("a sign-in is for the custodian who serves it", signin.custodian, release.custodian)
    if signin.uri != release.server:
        yield Fault("a sign-in is for the address where it is served", signin.uri, release.server)
    if signin.chain_id != domain.chain_id:
        yield Fault("a sign-in is for this chain", domain.chain_id, signin.chain_id)
    if signin.purpose != release.purpose:
        yield Fault("a release is for the purpose signed", signin.purpose, release.purpose)
    if signin.expiry - signin.issued_at > LONGEST:
        yield Fault("a sign-in is short-lived", f"{LONGEST} s", f"{signin.expiry - signin.issued_at} s")
    if not signin.issued_at - SKEW <= release.time < signin.expiry:
        rule = "a release is within the lifetime of its sign-in"
        yield Fault(rule, f"{signin.issued_at} to {signin.expiry}", release.time)
    yield from _ground(release, signin, domain)
    scopes = {scope.kind for scope in signin.scopes if scope.context == "patient" and {*"rs"} & {*scope.letters}}
    kinds = {record.partition("/")[0] for record in release.records} & CATEGORIES.keys()  # others are of no patient
    if "*" not in scopes and not kinds <= scopes:
        rule = "a release is within the scopes signed"
        yield Fault(rule, "kinds of record that it names", f"{len(kinds - scopes)} others")


def _ground(release: Release, signin: SignIn, domain: Domain) -> Iterator[Fault]:
    """Check that what the release stands on is what the reader signed for."""
    rule = "a release stands on what its sign-in names"
    if release.shares:
        for share in release.shares:
            if digest(share) not in signin.shares:
                yield Fault(rule, "a share that it names", f"urn:liggare:share:0x{digest(share).hex()}")
            if (share.chain_id, share.contract) != (domain.chain_id, domain.verifying_contract):
                yield Fault("a share is for this chain and contract", domain.verifying_contract, share.contract)
        return
    word, named = ("emergency", signin.emergency) if release.emergency else ("patient", signin.patient)
    if named != release.patient:
        yield Fault(rule, f"{word} {release.patient}", f"{word} {named}")
