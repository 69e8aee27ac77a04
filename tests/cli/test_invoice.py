"""`liggare invoice`: asked by a URI or its QR code, looked at, and paid once."""

from __future__ import annotations

import re

import pytest
import zxingcpp
from PIL import Image

from tests.cli.conftest import KRONA

pytestmark = pytest.mark.usefixtures("money")


@pytest.fixture
def bo_file(bo, key_file):
    """Bo's key file: the payee's."""
    return key_file(bo, "bo")


@pytest.fixture
def uri(liggare, bo_file):
    """Bo's invoice over 12.50 for a ladder, for anyone to pay."""
    code, out, _ = liggare("invoice", "new", "12.50", "--key", bo_file, "--for", "a ladder", "--json")
    assert code == 0
    return out["uri"]


def test_an_invoice_is_made_shown_paid_and_shown_as_paid(liggare, money, uri, anna_file, carrier_file, anna, bo):
    code, out, _ = liggare("invoice", "show", uri)
    assert code == 0
    for words in ("12.50 LKR", bo.address, "a ladder", "the payee's own", "not paid", "anyone"):
        assert words in out
    code, out, _ = liggare("invoice", "pay", uri, "--key", anna_file, "--carrier", carrier_file)
    assert code == 0
    assert "paid 12.50 LKR" in out
    assert money.balanceOf(bo.address) == 12_500_000
    code, out, _ = liggare("invoice", "show", uri, "--json")
    assert (code, out["state"], out["paid"]["payer"], out["signature"]) == (0, "paid", anna.address, "good")


def test_an_invoice_is_paid_once(liggare, money, uri, anna_file, carrier_file, bo):
    words = ("invoice", "pay", uri, "--key", anna_file, "--carrier", carrier_file, "--json")
    assert liggare(*words)[0] == 0
    code, out, err = liggare(*words)
    assert (code, out["error"], err.count("\n")) == (1, "InvoicePaid", 1)
    assert money.balanceOf(bo.address) == 12_500_000


def test_the_invoices_id_is_the_payments_nonce(liggare, money, uri, anna_file, carrier_file, anna):
    _, out, _ = liggare("invoice", "pay", uri, "--key", anna_file, "--carrier", carrier_file, "--json")
    assert out["invoice"] != out["id"]
    assert money.authorizationState(anna.address, out["invoice"])


def test_an_altered_invoice_is_shown_as_wrong_and_not_paid(liggare, money, uri, anna_file, carrier_file, bo):
    altered = uri.replace("value=12500000", "value=12500001")
    code, out, _ = liggare("invoice", "show", altered)
    assert code == 1
    assert "WRONG, do not pay" in out
    code, out, _ = liggare("invoice", "pay", altered, "--key", anna_file, "--carrier", carrier_file, "--json")
    assert code == 1
    assert out["error"] in ("WrongSigner", "SignatureMalformed")
    assert money.balanceOf(bo.address) == 0


def test_an_invoice_for_another_is_refused_by_name(liggare, bo_file, anna_file, carrier):
    _, out, _ = liggare(
        "invoice", "new", "1", "--key", bo_file, "--payer", carrier.account.address, "--valid", 60, "--json"
    )
    code, out, _ = liggare("invoice", "pay", out["uri"], "--key", anna_file, "--json")
    assert (code, out["error"]) == (1, "InvoiceForAnother")


@pytest.mark.parametrize("words", ["", "liggare:", "http://example.org", "{uri}x", "{uri}&for=b"])
def test_what_is_no_invoice_is_wrong_use(liggare, uri, anna_file, words):
    for command in (("show",), ("pay", "--key", anna_file)):
        code, out, err = liggare("invoice", *command, words.format(uri=uri), "--json")
        assert (code, out["error"], err.count("\n")) == (2, "InvoiceMalformed", 1)


@pytest.mark.parametrize("sum_", ["0", "x", "-1", "0.0000001"])
def test_an_invoice_over_nothing_is_wrong_use(liggare, bo_file, sum_):
    assert liggare("invoice", "new", "--key", bo_file, "--", sum_)[0] == 2


def test_a_reader_of_qr_codes_reads_the_uri_from_the_file_and_from_the_terminal(liggare, uri, tmp_path):
    path = tmp_path / "invoice.png"
    code, out, _ = liggare("invoice", "show", uri, "--qr", "--qr-file", path)
    assert code == 0
    with Image.open(path) as image:
        assert [each.text for each in zxingcpp.read_barcodes(image)] == [uri]
    assert [each.text for each in zxingcpp.read_barcodes(screen(out))] == [uri]


def screen(out: str) -> Image.Image:
    """The half blocks of a terminal as light and dark squares: white on black, as terminals are."""
    rows = [line for line in out.splitlines() if re.fullmatch(r"[ ▀▄█]{40,}", line)]
    image = Image.new("L", (len(rows[0]), 2 * len(rows)))
    for y, row in enumerate(rows):
        for x, block in enumerate(row):
            image.putpixel((x, 2 * y), 255 * (block in "▀█"))
            image.putpixel((x, 2 * y + 1), 255 * (block in "▄█"))
    return image.resize((image.width * 4, image.height * 4), Image.Resampling.NEAREST)


def test_the_qr_code_of_a_plain_invoice_fits_a_terminal_of_80_columns(liggare, bo_file):
    _, out, _ = liggare("invoice", "new", "12.50", "--key", bo_file, "--qr")
    assert out.startswith("liggare:pay-0x")
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_qr_code_is_drawn_as_svg_and_as_nothing_else(liggare, uri, tmp_path):
    assert liggare("invoice", "show", uri, "--qr-file", tmp_path / "invoice.svg")[0] == 0
    assert "<svg" in (tmp_path / "invoice.svg").read_text()
    assert liggare("invoice", "show", uri, "--qr-file", tmp_path / "invoice.exe")[0] == 2
    code, _, err = liggare("invoice", "show", uri, "--qr-file", tmp_path / "none" / "invoice.svg")
    assert (code, err.count("\n")) == (2, 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["invoice.svg"]


def test_pay_and_invoice_pay_tell_machines_the_same(liggare, uri, anna_file, carrier_file, bo):
    words = ("--key", anna_file, "--carrier", carrier_file, "--json")
    _, plain, _ = liggare("pay", bo.address, "1", *words)
    _, invoiced, _ = liggare("invoice", "pay", uri, *words)
    assert set(invoiced) - set(plain) == {"invoice"}
    assert plain["value"] == KRONA
