"""Sealed releases: opened by their reader, by another implementation too, and by nobody else."""

from __future__ import annotations

import pytest
from pyhpke import AEADId, CipherSuite, KDFId, KEMId
from pyhpke.exceptions import OpenError

from liggare.errors import SealBroken, UsageError
from liggare.records.seal import new_private_key, open_sealed, public_key, seal


@pytest.fixture(scope="module")
def outsider():
    """HPKE by somebody else: the same suite."""
    return CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)


@pytest.fixture
def reader():
    """A reader's key."""
    return new_private_key()


def test_the_reader_opens_what_was_sealed(reader):
    assert open_sealed(reader, seal(public_key(reader), b"a record", b"session"), b"session") == b"a record"
    assert open_sealed(reader, seal(public_key(reader), b"")) == b""


def test_another_implementation_opens_it(reader, outsider):
    sealed = seal(public_key(reader), b"a record", b"session")
    key = outsider.kem.deserialize_private_key(reader)
    assert outsider.create_recipient_context(sealed[:32], key, info=b"session").open(sealed[32:]) == b"a record"
    with pytest.raises(OpenError):
        outsider.create_recipient_context(sealed[:32], key, info=b"other").open(sealed[32:])


def test_what_another_implementation_sealed_is_opened(reader, outsider):
    key = outsider.kem.deserialize_public_key(public_key(reader))
    encapsulated, context = outsider.create_sender_context(key, info=b"session")
    assert open_sealed(reader, encapsulated + context.seal(b"a record"), b"session") == b"a record"


def test_the_same_record_looks_different_each_time(reader):
    assert seal(public_key(reader), b"a record") != seal(public_key(reader), b"a record")


def test_another_reader_another_use_and_an_altered_byte_open_nothing(reader):
    sealed = seal(public_key(reader), b"a record", b"session")
    tries = [(new_private_key(), sealed, b"session"), (reader, sealed, b"other"), (reader, sealed, b"")]
    tries += [
        (reader, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], b"session") for at in range(len(sealed))
    ]
    tries += [(reader, sealed[:length], b"session") for length in (0, 31, 32, 47, len(sealed) - 1)]
    for key, given, info in tries:
        with pytest.raises(SealBroken):
            open_sealed(key, given, info)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32), (1).to_bytes(32, "little")])
def test_a_key_that_is_none_or_hides_nothing_is_refused(key):
    with pytest.raises(UsageError):
        seal(key, b"a record")


def test_a_private_key_of_another_length_is_refused():
    with pytest.raises(UsageError):
        open_sealed(bytes(31), b"")
    with pytest.raises(UsageError):
        public_key(b"")
