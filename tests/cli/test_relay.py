"""`pay --relay` and `invoice pay --relay`: no ether, no carrier, and the chain has the last word."""

from __future__ import annotations

import pytest

from liggare.payments.client import Payments
from liggare.payments.relay import State
from liggare.relay.terms import Limits, Pace
from liggare.web.relay import assemble
from tests.web.conftest import Served

KRONA = 10**6


@pytest.fixture
def relay(w3, deployments, carrier, tmp_path):
    """A relayer that serves this run's chain; its sponsor is the carrier."""
    database = f"sqlite:///{tmp_path}/relay.db"
    service = assemble(Payments(w3, deployments), carrier.account, database, Limits(per_account=3), Pace(wait=0.02))
    with Served(service) as served:
        yield served
    service.outbox.close()


def test_pay_through_a_relayer(liggare, money, relay, w3, anna, anna_file, bo, carrier):
    code, out, err = liggare("pay", bo.address, "12.50", "--key", anna_file, "--relay", relay.url, "--json")
    assert code == 0, err
    assert (out["value"], out["carrier"]) == (12_500_000, carrier.account.address)
    assert money.balanceOf(bo.address) == 12_500_000
    assert w3.eth.get_balance(anna.address) == 0
    code, out, _ = liggare("pay", bo.address, "1", "--key", anna_file, "--relay", relay.url)
    assert code == 0
    assert f"paid by {carrier.account.address}" in out


def test_the_relayer_may_come_from_the_environment(liggare, money, relay, anna_file, bo, carrier, monkeypatch):
    monkeypatch.setenv("LIGGARE_RELAY_URL", relay.url)
    code, out, err = liggare("pay", bo.address, "12.50", "--key", anna_file, "--json")
    assert code == 0, err
    assert out["carrier"] == carrier.account.address


def test_an_invoice_is_paid_through_a_relayer_once(liggare, money, relay, anna_file, key_file, bo):
    bo_file = key_file(bo, "bo")
    code, out, err = liggare("invoice", "new", "20", "--key", bo_file, "--for", "cider", "--json")
    assert code == 0, err
    words = ("invoice", "pay", out["uri"], "--key", anna_file, "--relay", relay.url, "--json")
    code, _, err = liggare(*words)
    assert code == 0, err
    assert money.balanceOf(bo.address) == 20 * KRONA
    code, out, _ = liggare(*words)
    assert (code, money.balanceOf(bo.address)) == (1, 20 * KRONA)


def test_a_refusal_of_the_relayer_is_told_by_its_name(liggare, money, relay, anna_file, bo):
    code, out, err = liggare("pay", bo.address, "5000", "--key", anna_file, "--relay", relay.url, "--json")
    assert (code, out["error"]) == (1, "BalanceShort")
    assert "5000000000 are needed" in err
    for _ in range(3):
        assert liggare("pay", bo.address, "1", "--key", anna_file, "--relay", relay.url)[0] == 0
    code, out, _ = liggare("pay", bo.address, "1", "--key", anna_file, "--relay", relay.url, "--json")
    assert (code, out["error"]) == (1, "QuotaExceeded")


def test_a_relayer_that_lies_is_found_out(liggare, money, relay, anna_file, bo, monkeypatch):
    """It says `paid` at once; the command asks the chain, which shows nothing."""
    lie = State("0x" + "00" * 32, "paid", None, "0x" + "11" * 32, 5)
    monkeypatch.setattr("liggare.payments.relay.Relay.post", lambda self, items: [lie])
    code, out, _ = liggare("pay", bo.address, "1", "--key", anna_file, "--relay", relay.url, "--json")
    assert (code, out["error"]) == (1, "RelayLied")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x"])
def test_a_relayer_that_is_none(liggare, money, anna_file, bo, url):
    code, out, _ = liggare("pay", bo.address, "1", "--key", anna_file, "--relay", url, "--json")
    assert (code, out["error"]) == (1, "RelayUnreachable")


def test_a_relayer_and_a_carrier_are_one_too_many(liggare, money, anna_file, carrier_file, bo):
    words = ("--carrier", carrier_file, "--relay", "http://127.0.0.1:1")
    code, _, err = liggare("pay", bo.address, "1", "--key", anna_file, *words)
    assert code == 2
    assert "either --carrier or --relay" in err
