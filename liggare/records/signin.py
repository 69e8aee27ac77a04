"""Signing in with Ethereum (ERC-4361): what a reader signs once, and a custodian keeps as the evidence of every read.

    hospital.example wants you to sign in with your Ethereum account:
    0x…                                                              who reads

    Read health records at this custodian, for the purpose below.

    URI: https://hospital.example
    Version: 1
    Chain ID: 1337
    Nonce: …                                                         the custodian's, good once
    Issued At: 2026-11-25T08:00:00Z
    Expiration Time: 2026-11-25T08:10:00Z                            15 minutes later at most
    Resources:
    - urn:liggare:custodian:0x…                                      one
    - urn:liggare:purpose:TREAT                                      one
    - urn:liggare:scope:patient/Observation.rs                       one or more, SMART v2 (or v1)
    - urn:liggare:share:0x<keccak of a share's canonical JSON>       the grants that are shown; or
    - urn:liggare:patient:0x<pseudonym>                              the patient, or a guardian who may read; or
    - urn:liggare:emergency:0x<pseudonym>                            a broken glass; or none of these: the staff
    - urn:liggare:seal:0x<X25519 public key>                         seal what is released to this key

A message is taken only if it is, character for character, what it means written down; nothing in it is ignored.
Nothing here asks a database, and only the signature of a contract wallet asks the chain. Times are unix seconds.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from eth_abi.abi import encode
from eth_account.messages import defunct_hash_message
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from pydantic import ValidationError
from web3 import Web3
from web3.exceptions import Web3Exception, Web3RPCError

from liggare.chain.raw import ask
from liggare.errors import ChainError, ChainUnreachable, SettingsError, SignatureMalformed, SignInRefused, UsageError
from liggare.messages import address, recover
from liggare.records.categories import EMERGENCIES, PURPOSES
from liggare.records.share import Share
from liggare.records.tree import canonical

__all__ = ["Door", "Scope", "SignIn", "Wallet", "ask_wallet", "build", "check", "check_signature", "digest", "parse"]

LONGEST = 900
"""The longest lifetime of a sign-in, in seconds."""
SKEW = 30
"""How far a reader's clock may be ahead of ours, in seconds."""
LARGEST = 16_384
"""Characters of a message: some 150 shares."""
WALLET_GAS = 150_000
"""What a contract wallet may use to answer, as in the contracts."""

STATEMENT = "Read health records at this custodian, for the purpose below."
OWN_PURPOSES = ("PATRQT", "FAMRQT")
"""What a patient, or a guardian who may read, reads for."""

Kind = Literal["grants", "patient", "emergency", "staff"]
Wallet = Callable[[ChecksumAddress, bytes, bytes], bool]
"""Tells whether the contract at an address takes a signature for a digest (ERC-1271)."""


@dataclass(frozen=True)
class Door:
    """Where one signs in: a custodian's public URL, as configured and never as a request says, and its chain."""

    url: str
    chain_id: int
    custodian: ChecksumAddress

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        plain = re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?", self.url)
        if not plain or not parts.hostname or self.url.endswith("/"):
            raise SettingsError(f"{self.url!r} is no public URL, such as https://hospital.example (no / at its end)")

    @property
    def domain(self) -> str:
        """Host and port, as ERC-4361's domain has it."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Scope:
    """A SMART scope: `patient/Observation.rs`; `context` is patient or user, `kind` a type or `*`."""

    context: str
    kind: str
    letters: str

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Read a scope of SMART v2, or of v1, whose `.read` means `.rs`. Raises SignInRefused."""
        found = re.fullmatch(r"(patient|user)/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)", text)
        if found is None or not found[3]:
            raise SignInRefused("ScopeUnknown", "a scope is none that is served here, such as patient/Observation.rs")
        letters = {"read": "rs", "write": "cud", "*": "cruds"}.get(found[3], found[3])
        return cls(found[1], found[2], letters)

    def __str__(self) -> str:
        return f"{self.context}/{self.kind}.{self.letters}"


@dataclass(frozen=True)
class SignIn:
    """What a reader signed, member by member; `text` is the message itself."""

    text: str
    reader: ChecksumAddress
    domain: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: int
    expiry: int
    custodian: ChecksumAddress
    purpose: str
    scopes: tuple[Scope, ...]
    shares: tuple[bytes, ...]
    patient: ChecksumAddress | None
    emergency: ChecksumAddress | None
    seal: bytes | None

    @property
    def kind(self) -> Kind:
        """What the reader reads by: grants shown, its own being the patient, a broken glass; or it is staff."""
        if self.shares:
            return "grants"
        if self.patient:
            return "patient"
        return "emergency" if self.emergency else "staff"

    @property
    def hash(self) -> bytes:
        """What is signed: the message's EIP-191 digest."""
        return bytes(defunct_hash_message(text=self.text))


@cache
def _siwe() -> Any:
    """Return the library of ERC-4361; imported when first needed, since that takes a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its grammar, which we don't use, warns of itself
        import siwe

    return siwe


@lru_cache(4096)
def digest(share: Share) -> bytes:
    """Return how a sign-in names a share: keccak of its canonical JSON."""
    return keccak(canonical(share.document()))


def build(
    door: Door,
    reader: str,
    purpose: str,
    scopes: Iterable[str],
    nonce: str,
    issued_at: int,
    expiry: int,
    *,
    shares: Sequence[Share] = (),
    patient: str | None = None,
    emergency: str | None = None,
    seal: bytes | None = None,
    statement: str = STATEMENT,
) -> str:
    """Return the message to sign. Raises SignInRefused where no custodian would take it, whatever the time is."""
    resources = [
        f"urn:liggare:custodian:{door.custodian}",
        f"urn:liggare:purpose:{purpose}",
        *(f"urn:liggare:scope:{scope}" for scope in scopes),
        *(f"urn:liggare:share:0x{digest(share).hex()}" for share in shares),
        *([f"urn:liggare:patient:{address(patient)}"] if patient else []),
        *([f"urn:liggare:emergency:{address(emergency)}"] if emergency else []),
        *([f"urn:liggare:seal:0x{seal.hex()}"] if seal else []),
    ]
    _resources(resources)
    try:
        message = _siwe().SiweMessage(
            domain=door.domain,
            address=address(reader),
            uri=door.url,
            version="1",
            chain_id=door.chain_id,
            nonce=nonce,
            issued_at=_written(issued_at),
            expiration_time=_written(expiry),
            statement=statement,
            resources=resources,
        )
        text = str(message.prepare_message())
    except ValidationError:
        raise _malformed() from None
    parse(text)
    return text


def parse(text: str) -> SignIn:
    """Read a message. Raises SignInRefused where anything in it is missing, doubled, unknown or written otherwise."""
    if len(text) > LARGEST or not re.fullmatch(r"[\n\x20-\x7e]*", text):
        raise _malformed()
    try:
        # by its regular expression: the library's grammar needs minutes for a long text that is none
        message = _siwe().SiweMessage.from_message(text, abnf=False)
    except ValueError:
        raise _malformed() from None
    if message.prepare_message() != text or "\n" in message.domain + message.uri:
        raise _malformed()
    if message.scheme or message.not_before or message.request_id is not None:
        raise SignInRefused("Malformed", "the sign-in has a member that means nothing here")
    if message.expiration_time is None:
        raise SignInRefused("TooLong", "the sign-in never expires")
    found = _resources(message.resources or [])
    return SignIn(
        text,
        address(message.address),
        message.domain,
        message.uri,
        int(message.chain_id),
        message.nonce,
        _seconds(message.issued_at),
        _seconds(message.expiration_time),
        _account(found, "custodian"),
        _one(found, "purpose"),
        tuple(Scope.parse(scope) for scope in found.get("scope", [])),
        tuple(bytes.fromhex(share[2:]) for share in found.get("share", [])),
        _account(found, "patient") if "patient" in found else None,
        _account(found, "emergency") if "emergency" in found else None,
        bytes.fromhex(_one(found, "seal")[2:]) if "seal" in found else None,
    )


def check(signin: SignIn, door: Door, now: int) -> None:
    """Raise SignInRefused unless a message is for this door and time, and says one thing that there is.

    Its signature and its nonce are checked elsewhere: `check_signature`, and who gave the nonce.
    """
    for reason, given, here in (
        ("WrongDomain", signin.domain, door.domain),
        ("WrongUri", signin.uri, door.url),
        ("WrongChain", signin.chain_id, door.chain_id),
        ("WrongCustodian", signin.custodian, door.custodian),
    ):
        if given != here:
            raise SignInRefused(reason, f"the sign-in is for {given}, this is {here}")
    if signin.purpose not in PURPOSES:
        raise SignInRefused("PurposeUnknown", "the purpose is no code of PurposeOfUse that is served here")
    if not signin.scopes:
        raise SignInRefused("ScopeMissing", "the sign-in names no scope")
    allowed = {"patient": OWN_PURPOSES, "emergency": EMERGENCIES}.get(signin.kind, PURPOSES.keys())
    if signin.purpose not in allowed:
        raise SignInRefused("WrongPurpose", f"by this way one reads for one of {', '.join(sorted(allowed))}")
    lifetime = signin.expiry - signin.issued_at
    if lifetime > LONGEST:
        raise SignInRefused("TooLong", f"the sign-in is for {lifetime} seconds, {LONGEST} are the most")
    if signin.issued_at > now + SKEW:
        raise SignInRefused("NotYet", f"the sign-in is issued at {signin.issued_at}, and now it is {now}")
    if lifetime <= 0 or now >= signin.expiry:
        raise SignInRefused("Expired", f"the sign-in expired at {signin.expiry}, and now it is {now}")


def check_signature(signin: SignIn, signature: bytes, wallet: Wallet) -> None:
    """Raise SignInRefused unless the reader signed: by its key (s in the lower half), or as an ERC-1271 wallet.

    Raises ChainError where a wallet has to be asked and the chain does not answer.
    """
    try:
        if recover(signin.hash, signature) == signin.reader:
            return
    except SignatureMalformed:
        pass  # a wallet's signature may have any form
    if not wallet(signin.reader, signin.hash, signature):
        raise SignInRefused("WrongSigner", "the signature is not the reader's")


def ask_wallet(w3: Web3, block: int | None = None) -> Wallet:
    """Return who asks contract wallets on a chain, at the newest block or a given one."""
    when = "latest" if block is None else hex(block)

    def takes(account: ChecksumAddress, hash_: bytes, signature: bytes) -> bool:
        data = bytes.fromhex("1626ba7e") + encode(["bytes32", "bytes"], [hash_, signature])
        gas = WALLET_GAS + 21_000 + 16 * len(data)
        try:
            answer = ask(w3, "eth_call", {"to": account, "data": "0x" + data.hex(), "gas": hex(gas)}, when)
        except Web3RPCError:
            return False  # it reverted, or wanted more gas
        except requests.RequestException as exc:
            raise ChainUnreachable("the node", type(exc).__name__) from None
        except (Web3Exception, ValueError, KeyError) as exc:
            raise ChainError(f"the node gave no answer: {type(exc).__name__}") from None
        return isinstance(answer, str) and answer[:66] == "0x1626ba7e" + "00" * 28

    return takes


FORMS = {
    "custodian": r"0x[0-9a-fA-F]{40}",
    "purpose": r"[A-Z]{1,16}",
    "scope": r"[A-Za-z*/.]{1,100}",
    "share": r"0x[0-9a-f]{64}",
    "patient": r"0x[0-9a-fA-F]{40}",
    "emergency": r"0x[0-9a-fA-F]{40}",
    "seal": r"0x[0-9a-f]{64}",
}
SEVERAL = ("scope", "share")


def _resources(given: Sequence[str]) -> dict[str, list[str]]:
    """Sort the resources by their kinds."""
    found: dict[str, list[str]] = {}
    for each in given:
        word, _, value = each.removeprefix("urn:liggare:").partition(":")
        if not each.startswith("urn:liggare:") or word not in FORMS:
            raise SignInRefused("ResourceUnknown", "the sign-in names a resource that means nothing here")
        if not re.fullmatch(FORMS[word], value):
            raise SignInRefused("Malformed", f"a resource of the sign-in is no {word}")
        before = found.setdefault(word, [])
        if before and (word not in SEVERAL or value in before):
            raise SignInRefused("Ambiguous", f"the sign-in names a {word} twice")
        before.append(value)
    if sum(word in found for word in ("share", "patient", "emergency")) > 1:
        raise SignInRefused("Ambiguous", "the sign-in names more than one of share, patient and emergency")
    return found


def _one(found: dict[str, list[str]], word: str) -> str:
    if word not in found:
        raise SignInRefused(f"{word.capitalize()}Missing", f"the sign-in names no {word}")
    return found[word][0]


def _account(found: dict[str, list[str]], word: str) -> ChecksumAddress:
    try:
        return address(_one(found, word))
    except UsageError:
        raise SignInRefused("Malformed", f"the {word} of the sign-in fails its checksum") from None


def _written(time: int) -> Any:
    return _siwe().ISO8601Datetime(datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _seconds(written: str) -> int:
    """Return the whole second that a time is in."""
    try:
        return int(datetime.fromisoformat(written.upper().replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):
        raise SignInRefused("Malformed", "a time of the sign-in is none") from None


def _malformed() -> SignInRefused:
    return SignInRefused("Malformed", "the sign-in is no message of ERC-4361 as it is written here")
