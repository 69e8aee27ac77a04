"""A ledger with a bit of everything on it, the explorer that shows it, and a real browser to look at it."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import httpx
import pytest

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from liggare.payments.client import Payments
from liggare.payments.invoices import Invoices
from liggare.records.client import Records
from liggare.records.messages import Terms
from liggare.web.explorer.app import explorer
from liggare.web.ledger import assemble
from scripts.nodes import hang_up
from tests.energy.operator.town import BO, CIA, UTILITY, Desk, Town, isolation
from tests.ledger.test_follower import until
from tests.nodes import KRONA, Proxy, funded, node, wallet
from tests.web import browser
from tests.web.conftest import Served

__all__ = ["BO", "CIA", "UTILITY", "isolation"]

ANNA, BERT, ARCHIVE = 1, 2, 7
SLOTS = 3


def a_day(made, database: str) -> SimpleNamespace:
    """Let things happen: payments, an invoice paid and one open, grants, log heads, slots of a street."""
    made.deploy = functools.partial(made.deploy, records=True)
    town = Town(made)
    issuer, w3, record = Sender(made.w3, funded(0)), made.w3, town.record
    payments, records, invoices = Payments(w3, record), Records(w3, record), Invoices(w3, record)
    anna, bert, archive = wallet(ANNA), wallet(BERT), wallet(ARCHIVE)
    payments.mint(anna.address, 1_000 * KRONA, issuer)
    paid = payments.carry(payments.pay(anna, bert.address, 12_500_000), issuer)
    asked = invoices.make(bert, 80 * KRONA, text="<b>a lesson</b>", valid_before=2**39)
    opened = invoices.make(bert, 5 * KRONA, text="honey", valid_before=2**39)
    payments.carry(invoices.pay(anna, asked), issuer)
    records.accredit(issuer, archive.address, ["provider"], ["Observation"], 0, 2**40)
    terms = Terms(1, 1, 0, 2**40)
    records.carry(records.grant(anna, archive.address, b"\1" * 32, terms)[0], issuer)
    records.carry(records.revoke(anna, archive.address, b"\1" * 32), issuer)
    custodian = Sender(w3, archive)
    made.rpc("anvil_setBalance", archive.address, hex(10**18))
    for size in (3, 5):
        records.post_log_head(custodian, size, bytes([size]) * 32)
    desk = Desk(town, database)
    for slot in range(town.first, town.first + SLOTS):
        town.end_of(slot)
        desk.take(town.documents(town.read(slot)))
        desk.run()
    assert set(town.cleared()) >= set(range(town.first, town.first + SLOTS))
    desk.store.close()
    transfer = next(log for log in paid["logs"] if len(log["topics"]) == 3 and len(log["data"]) == 32)
    return SimpleNamespace(
        node=made,
        town=town,
        record=record,
        payments=payments,
        issuer=issuer,
        invoices=(asked, opened),
        anna=anna,
        bert=bert,
        archive=archive,
        payment=(paid["transactionHash"].to_0x_hex(), transfer["logIndex"]),
    )


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """The ledger, behind a proxy that may fail."""
    with node("anvil") as made:
        found = a_day(made, f"sqlite:///{tmp_path_factory.mktemp('operator')}/market.db")
        found.proxy = Proxy(made.url)
        yield found
        found.proxy.close()


@pytest.fixture(scope="module")
def site(day, tmp_path_factory):
    """The explorer of it, which has read all there is, and a client that reads English."""
    w3 = connect(day.proxy.url, timeout=2)
    service = assemble(w3, day.record, f"sqlite:///{tmp_path_factory.mktemp('index')}/index.db")
    english = {"Accept-Language": "en"}
    with (
        Served(service, explorer(service)) as served,
        httpx.Client(base_url=served.url, headers=english, timeout=10) as http,
    ):
        http.service = service
        until(lambda: http.get("/health").json()["block"] == day.node.w3.eth.block_number)
        until(lambda: "merit" in http.get(f"/slots/{day.town.first}").text.lower())
        yield http
    service.close()
    hang_up(w3)


@pytest.fixture(scope="module")
def chromium():
    """A real Chromium."""
    with browser.chromium() as made:
        yield made


@pytest.fixture
def look(chromium, site):
    """Open a page of the explorer in a browser of these settings: `look("/", color_scheme="dark")`."""
    contexts = []

    def look(path, lang="en", **settings):
        context = chromium.new_context(base_url=str(site.base_url), locale=lang, **settings)
        contexts.append(context)
        page = context.new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.goto(path)
        return page

    yield look
    for context in contexts:
        context.close()


def paths(day) -> dict[str, str]:
    """Return every page of the explorer, by name."""
    home, slot = day.town.record.contracts["EnergyMarket"].address, day.town.first
    return {
        "overview": "/",
        "payment": f"/payments/{day.payment[0]}/{day.payment[1]}",
        "account": f"/accounts/{day.anna.address}",
        "contract": f"/accounts/{home}",
        "transaction": f"/transactions/{day.payment[0]}",
        "prices": "/prices",
        "slot": f"/slots/{slot}",
        "home": "/homes/1",
        "grants": "/grants",
        "logs": "/logs",
        "log": f"/logs/{day.archive.address}",
        "invoices": "/invoices",
        "invoice": str(httpx.URL("/invoices", params={"uri": day.invoices[0].uri()})),
        "unknown": "/nowhere",
    }
