"""Sealed releases: records that only the reader who asked for them can open (HPKE, RFC 9180).

    X25519, HKDF-SHA256, AES-256-GCM, mode base, one message each: the encapsulated key (32 bytes), then the ciphertext

Whoever carries a release, or keeps a copy of the traffic, reads nothing. That it comes from the custodian is not said
by the seal but by the connection. `info` binds it to its use: both sides must give the same, such as session and query.
Any implementation of the RFC opens it, with empty `aad`.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from liggare.errors import SealBroken, UsageError

__all__ = ["SEAL_USE", "new_private_key", "open_sealed", "public_key", "seal"]

SEAL_USE = b"liggare release/1"
"""What a sealed release is bound to, with the hash of the sign-in after it."""
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_private_key() -> bytes:
    """Return a new key of a reader, 32 bytes; one for each session is best."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """Return what others seal for, 32 bytes. Raises UsageError."""
    return _private(private).public_key().public_bytes_raw()


def seal(public: bytes, plaintext: bytes, info: bytes = b"") -> bytes:
    """Seal for the owner of an X25519 key. Raises UsageError where the key is none, or one that hides nothing."""
    try:
        return SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError:  # not 32 bytes, or a point of small order, for which anybody knows the secret
        raise UsageError("that is no X25519 public key to seal for") from None


def open_sealed(private: bytes, sealed: bytes, info: bytes = b"") -> bytes:
    """Open what was sealed for this key and this use. Raises SealBroken; UsageError where the key is none."""
    key = _private(private)
    try:
        return SUITE.decrypt(sealed, key, info)
    except (InvalidTag, ValueError):
        raise SealBroken("the sealed release does not open: it is for another key or use, or was altered") from None


def _private(private: bytes) -> X25519PrivateKey:
    try:
        return X25519PrivateKey.from_private_bytes(private)
    except ValueError:
        raise UsageError("that is no X25519 private key: it has 32 bytes") from None
