"""What every signed message shares."""

from __future__ import annotations

import pytest

from liggare.errors import InvalidAddress, SignatureMalformed
from liggare.messages import HALF_ORDER, address, attribute, compact, expand

# ERC-55's own examples
CHECKSUMMED = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("text", CHECKSUMMED)
def test_the_examples_of_erc_55(text):
    assert address(text) == text
    assert address(text.lower()) == text
    swapped = text[:2] + text[2:].swapcase()
    with pytest.raises(InvalidAddress, match="checksum"):
        address(swapped)


@pytest.mark.parametrize("text", ["", "0x", "anna", CHECKSUMMED[0][:-1], CHECKSUMMED[0] + "0", "0x" + "g" * 40])
def test_what_is_no_address(text):
    with pytest.raises(InvalidAddress, match="no address"):
        address(text)


def test_attributes_are_the_fields_as_python_names_them():
    assert [attribute(name) for name in ("from", "to", "validAfter", "value")] == [
        "from_",
        "to",
        "valid_after",
        "value",
    ]


# EIP-2098's own examples
EXAMPLES = [
    (
        "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90"
        "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
        27,
    ),
    (
        "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76"
        "139c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
        28,
    ),
]


@pytest.mark.parametrize(("rs", "v"), EXAMPLES)
def test_the_examples_of_eip_2098(rs, v):
    signature = bytes.fromhex(rs) + bytes([v])
    assert expand(compact(signature)) == signature
    assert compact(signature)[32] >> 7 == v - 27


def test_a_signature_without_a_short_form():
    for signature in (bytes(64), bytes(64) + b"\x1d", bytes(32) + (HALF_ORDER * 2).to_bytes(32, "big") + b"\x1b"):
        with pytest.raises(SignatureMalformed):
            compact(signature)
