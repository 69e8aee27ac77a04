"""A patient's pseudonyms: one derived key for each relationship, all from one seed phrase.

    seed phrase -> BIP-39 seed -> m/44'/60'/7447'/a'/b'/c'/d'/n' -> key -> address on the chain

a, b, c and d are 31 bits each of the hash of the organisation's address, n counts relationships with the same
organisation. All steps are hardened: a key that leaks says nothing of another. The salts of a relationship come from
its key, so the phrase alone brings back everything; no list has to be kept.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from eth_account import Account
from eth_account.hdaccount import generate_mnemonic, key_from_seed, seed_from_mnemonic
from eth_account.signers.local import LocalAccount
from eth_account.types import Language
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from liggare.errors import SeedPhraseMalformed
from liggare.messages import address

__all__ = ["Pseudonyms", "Relationship", "new_phrase", "path"]

PURPOSE = 7447
"""Keeps these keys apart from the wallet accounts of the same phrase, which lie under m/44'/60'/0'."""


def new_phrase() -> str:
    """Return a new seed phrase of 24 English words (BIP-39)."""
    return generate_mnemonic(24, Language.ENGLISH)


def path(organisation: str, number: int = 0) -> str:
    """Return the HD path of the `number`th relationship with an organisation."""
    digest = int.from_bytes(keccak(bytes.fromhex(address(organisation)[2:])), "big")
    steps = [PURPOSE, *(digest >> 31 * step & 0x7FFFFFFF for step in range(4)), number]
    return "m/44'/60'/" + "/".join(f"{step}'" for step in steps)


@dataclass(frozen=True)
class Relationship:
    """What one organisation knows a patient by; `account` signs."""

    organisation: ChecksumAddress
    number: int
    account: LocalAccount = field(repr=False)

    @property
    def patient(self) -> ChecksumAddress:
        """The pseudonym."""
        return self.account.address

    def salt(self, number: int = 0, grantee: str | None = None) -> bytes:
        """Return the salt of the `number`th grant of this relationship, 32 bytes that nobody else can guess.

        Who acts for another patient grants to several organisations by one key, and names the `grantee`.
        """
        whom = b"" if grantee is None else bytes.fromhex(address(grantee)[2:])
        words = b"liggare grant salt" + number.to_bytes(4, "big") + whom
        return hmac.digest(bytes(self.account.key), words, hashlib.sha256)


class Pseudonyms:
    """All of a patient's relationships."""

    def __init__(self, phrase: str, passphrase: str = "") -> None:
        """`phrase` is BIP-39 words, `passphrase` its optional thirteenth word. Raises SeedPhraseMalformed."""
        try:
            self._seed: bytes = seed_from_mnemonic(" ".join(phrase.split()), passphrase)
        except (ValidationError, ValueError):  # the library's texts quote the phrase: say nothing of it
            raise SeedPhraseMalformed("not a seed phrase: a word is unknown, missing or out of place") from None

    def __repr__(self) -> str:
        return "Pseudonyms()"

    def relationship(self, organisation: str, number: int = 0) -> Relationship:
        """Return the relationship with an organisation, the same at each call."""
        account: LocalAccount = Account.from_key(key_from_seed(self._seed, path(organisation, number)))
        return Relationship(address(organisation), number, account)
