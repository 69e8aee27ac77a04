"""The explorer's pages, read as they come from the server: what they say, in two languages, and what they refuse."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from liggare.chain.artifacts import artifact, names
from liggare.chain.connection import connect
from liggare.energy.bills import read_book
from liggare.errors import IndexUnavailable
from liggare.ledger.reader import Reader
from liggare.payments.client import text
from liggare.web.explorer.app import explorer
from liggare.web.explorer.market import Market
from liggare.web.explorer.sentences import SENTENCES, sentence
from liggare.web.explorer.words import WORDS, chosen
from liggare.web.ledger import assemble
from scripts.nodes import hang_up
from tests.energy.operator.town import ANNA, BO
from tests.ledger.test_follower import until
from tests.nodes import KRONA, wallet
from tests.support import ROOT
from tests.web.conftest import Served
from tests.web.explorer.conftest import SLOTS, paths

HOSTILE = "<script>alert(1)</script>\"'&"


# ---------------------------------------------------------------------- words


def test_every_event_of_every_contract_has_a_sentence_of_its_own_arguments():
    events = {}
    for name in names():
        for item in artifact(name).abi:
            if item["type"] == "event":
                events[f"{name}.{item['name']}"] = {each["name"] for each in item["inputs"]}
    assert set(SENTENCES) == set(events)
    for event, words in SENTENCES.items():
        english, swedish = (set(re.findall(r"\{(\w+)\}", each)) for each in words)
        assert english == swedish <= events[event], event


def test_every_word_is_in_both_languages_with_the_same_values_and_used():
    for key, (english, swedish) in WORDS.items():
        assert english, key
        assert swedish, key
        assert set(re.findall(r"\{(\w+)\}", english)) == set(re.findall(r"\{(\w+)\}", swedish)), key
    folder = ROOT / "liggare" / "web" / "explorer"
    sources = "".join(path.read_text() for path in [*folder.glob("templates/*.html"), *folder.glob("[!w]*.py")])
    built = ("error.", "state.", "totals.", "invoice.", "side.", "check.")
    unused = [key for key in WORDS if f'"{key}"' not in sources and f"'{key}'" not in sources]
    assert [key for key in unused if not key.startswith(built)] == []


@pytest.mark.parametrize(
    ("words", "lang"),
    [
        ((None, None, ""), "en"),
        ((None, None, "sv-SE,sv;q=0.9,en;q=0.8"), "sv"),
        ((None, None, "de, en;q=0.5, sv;q=0.7"), "sv"),
        ((None, "en", "sv"), "en"),
        (("sv", "en", "en"), "sv"),
        (("xx", "yy", "zz;q=x,;q=,,"), "en"),
    ],
)
def test_a_reader_gets_the_language_chosen_or_that_of_the_browser(words, lang):
    assert chosen(*words) == lang


def test_hostile_text_in_an_event_comes_out_inert(site, day):
    """No event of ours has free text; a page would show it as text if one had."""
    row = next(row for row in Reader(day.node.w3, day.record).rows() if row.event == "Transfer")
    bad = replace(row, arguments={**row.arguments, "to": HOSTILE})
    assert any(HOSTILE[:8] in part.text for part in sentence(bad, "en", {}))
    made = explorer_of(site)
    template = made.page(request_of(), "id.html", id=HOSTILE, events=[made.event(bad, "en")], next=None, before=None)
    assert b"<script>alert" not in template.body


def explorer_of(site):
    from liggare.web.explorer.site import Site

    return Site(site.service)


def request_of():
    from starlette.requests import Request

    return Request(
        {"type": "http", "path": "/", "query_string": b"", "headers": [], "server": ("x", 1), "scheme": "http"}
    )


# ---------------------------------------------------------------------- pages


def test_every_page_is_there_in_both_languages(site, day):
    for name, path in paths(day).items():
        for lang in ("en", "sv"):
            answer = site.get(path, headers={"Accept-Language": lang})
            assert answer.status_code == (404 if name == "unknown" else 200), (name, answer.text[:3000])
            assert f'<html lang="{lang}">' in answer.text
            assert answer.headers["content-language"] == lang


def test_every_page_has_the_strict_headers_and_no_script_or_style_of_its_own(site, day):
    for path in [*paths(day).values(), "/static/live.js", "/slots/x"]:
        answer = site.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=\"/static/)|src=\"http", answer.text), path


def test_the_overview_tells_what_happened_and_that_the_index_is_current(site, day):
    found = site.get("/").text
    assert "Up to date with the chain" in found
    assert re.search(rf'">{day.anna.address[:8]}…{day.anna.address[-6:]}</a> paid <a', found)
    assert "posted the head of its access log: 5 entries" in found
    assert re.search(rf"<dt>Slots cleared</dt><dd>{SLOTS}</dd>", found)
    older = re.search(r'rel="next" href="\?before=(\d+)"', found)[1]
    assert "Newest" in site.get("/", params={"before": older}).text


def test_a_payment_is_shown_with_what_the_check_compares(site, day):
    found = site.get(paths(day)["payment"]).text
    claimed = dict(re.findall(r'data-([\w-]+)="([^"]*)"', found))
    row = next(row for row in Reader(day.node.w3, day.record).rows() if (row.transaction, row.log_index) == day.payment)
    assert claimed["kind"] == "payment"
    assert claimed["chain"] == str(day.record.chain_id)
    assert (claimed["transaction"], int(claimed["log"])) == day.payment
    assert (claimed["payer"], claimed["payee"]) == (row.arguments["from"], row.arguments["to"])
    assert (claimed["value"], "12.50" in found) == ("12500000", True)
    assert claimed["contract"] == day.record.contracts["ZeroFeePayments"].address
    assert site.get(f"/ids/{claimed['id']}").status_code == 200


def test_a_long_transaction_is_shown_in_pages(site, day, monkeypatch):
    monkeypatch.setattr("liggare.web.explorer.payments.SHOWN", 1)
    path, seen = f"/transactions/{day.payment[0]}", []
    while path:
        found = site.get(path).text
        seen += re.findall(r'id="log-(\d+)"', found)
        further = re.search(r'rel="next" href="(\?first=\d+)"', found)
        path = further and f"/transactions/{day.payment[0]}{further[1]}"
    receipt = day.node.w3.eth.get_transaction_receipt(day.payment[0])
    assert seen == [str(log["logIndex"]) for log in receipt["logs"]]


def test_an_accounts_money_is_the_chains_and_its_payments_are_listed(site, day):
    found = site.get(f"/accounts/{day.anna.address}", params={"only": "payments"}).text
    assert text(day.payments.balance(day.anna.address)) in found
    assert "granted somebody" not in found
    assert "granted somebody" in site.get(f"/accounts/{day.anna.address}").text
    assert "Contract EnergyMarket" in site.get(paths(day)["contract"]).text


def test_a_slot_is_shown_with_curve_fills_and_what_the_check_compares(site, day):
    slot = day.town.first
    found, told = site.get(f"/slots/{slot}").text, day.town.cleared()[slot]
    claimed = dict(re.findall(r'data-([\w-]+)="([^"]*)"', found))
    for name in ("price", "lo", "hi", "volume", "slot"):
        assert claimed[name] == str(told[name])
    rows = list(Reader(day.node.w3, day.record).rows())
    lines = [line for line in read_book(rows, day.record).lines if line.slot == slot and line.traded]
    assert claimed["fills"] == " ".join(f"{line.home}:{line.traded}" for line in sorted(lines, key=lambda x: x.home))
    assert found.count('class="line-') == 2
    assert '<title id="curve-title">' in found


def test_a_homes_bill_is_that_of_the_command(site, day):
    book = read_book(Reader(day.node.w3, day.record).rows(), day.record)
    for home in (ANNA, BO):
        bill = book.bill(home)
        until(lambda bill=bill, home=home: text(bill.cost) in site.get(f"/homes/{home}?days=all").text)
        found = site.get(f"/homes/{home}?days=all").text
        for units in (bill.cost, bill.alone, bill.saved, bill.grid):
            assert text(units) in found.replace(",", "")


def test_prices_are_listed_by_day(site, day):
    found = site.get("/prices").text
    bars = re.search(r'class="bar-volume" d="([^"]*)"', found)[1]
    assert bars.count("M") == SLOTS
    assert f"/slots/{day.town.first}" in found


def test_the_register_of_grants_says_what_it_hides(site, day):
    found = site.get("/grants").text
    assert "opaque by design" in found
    assert "Who the patient is, who may read" in found
    assert "granted somebody to read" in found
    assert day.archive.address not in found


def test_a_log_is_shown_with_what_the_check_compares(site, day):
    found = site.get(f"/logs/{day.archive.address}").text
    claimed = dict(re.findall(r'data-([\w-]+)="([^"]*)"', found))
    assert (claimed["heads"], claimed["size"], claimed["root"]) == ("2", "5", "0x" + "05" * 32)
    assert claimed["block"] == str(day.record.contracts["RecordAccess"].block)


def test_an_invoice_is_shown_with_its_state_and_its_code_and_its_text_stays_text(site, day):
    paid, opened = day.invoices
    found = site.get("/invoices", params={"uri": paid.uri()}).text
    assert "<strong>paid</strong>" in found
    assert "&lt;b&gt;a lesson&lt;/b&gt;" in found
    assert "signed exactly this" in found
    assert "/payments/0x" in found
    found = site.get("/invoices", params={"uri": opened.uri()}).text
    assert "<strong>open</strong>" in found
    other = opened.uri()[:-86] + paid.uri()[-86:]
    assert "did NOT sign" in site.get("/invoices", params={"uri": other}).text
    assert site.get("/invoices", params={"uri": "liggare:pay-" + HOSTILE}).status_code == 400


# ---------------------------------------------------------------------- search and refusals


def test_a_search_leads_to_what_was_meant(site, day):
    transaction, _ = day.payment
    slot = day.town.first
    asked = {
        day.anna.address: f"/accounts/{day.anna.address}",
        day.anna.address.lower(): f"/accounts/{day.anna.address}",
        transaction: f"/transactions/{transaction}",
        f"slot {slot}": f"/slots/{slot}",
        f"period {slot}": f"/slots/{slot}",
        "hem 2": "/homes/2",
        f"  {slot} ": f"/slots/{slot}",
        "": "/",
    }
    for words, place in asked.items():
        answer = site.get("/search", params={"q": words})
        assert (answer.status_code, answer.headers["location"]) == (303, place)
        assert site.get(place).status_code == 200
    id_ = "0x" + day.invoices[0].invoice.nonce.hex()
    assert day.anna.address[:8] in site.get("/search", params={"q": id_}, follow_redirects=True).text


def wrong_spelling(account: str) -> str:
    letter = next(at for at, each in enumerate(account) if at > 1 and each.isalpha())
    return account[:letter] + account[letter].swapcase() + account[letter + 1 :]


def test_what_is_unknown_wrong_or_to_come_has_a_page_that_says_so(site, day):
    nothing = "0x" + "ab" * 32
    later = day.town.first + 10_000
    for path, status, words in (
        (f"/transactions/{nothing}", 404, "no event of the transaction"),
        (f"/payments/{nothing}/0", 404, "is no payment"),
        (f"/ids/{nothing}", 404, "Nothing on the ledger names"),
        (f"/accounts/{wrong_spelling(day.anna.address)}", 400, "checksum is wrong"),
        (f"/search?q={wrong_spelling(day.anna.address)}", 400, "checksum is wrong"),
        (f"/slots/{later}", 404, "is in the future: it begins"),
        ("/homes/99", 404, "There is no home 99"),
        (f"/logs/{day.anna.address}", 404, "has posted no log"),
        ("/nowhere", 404, "There is no such page"),
        ("/homes/1?days=5", 400, "neither an address"),
        ("/?before=-1", 400, "neither an address"),
        ("/?before=99999999999999999999999", 400, "neither an address"),
        ("/search?q=" + "x" * 5_000, 400, "neither an address"),
        ("/slots/1e9", 400, "neither an address"),
        ("/slots/99999999", 400, "neither an address"),
        ("/accounts/0x12", 400, "is no address"),
        ("/search?q=%00%ff' OR 1=1 --", 400, "neither an address"),
    ):
        answer = site.get(path)
        assert (answer.status_code, words in answer.text) == (status, True), (path, answer.text[-1500:])
        assert answer.headers["content-type"].startswith("text/html")
    assert site.post("/grants").status_code == 405


@pytest.mark.parametrize("path", ["/search?q={}", "/{}", "/slots/{}", "/accounts/{}?only={}", "/?lang={}&x={}"])
def test_hostile_queries_come_out_inert(site, path):
    answer = site.get(path.replace("{}", httpx.QueryParams({"q": HOSTILE})["q"]))
    assert "<script>alert" not in answer.text
    assert answer.status_code in (200, 400, 404)


def test_the_language_asked_for_is_kept(day, site):
    with httpx.Client(base_url=site.base_url) as reader:
        answer = reader.get("/grants?lang=sv")
        assert "lang=sv" in answer.headers["set-cookie"]
        assert "Registret över medgivanden" in reader.get("/grants").text
        assert "set-cookie" not in reader.get("/grants?lang=%0d%0aSet-Cookie:x").headers


# ---------------------------------------------------------------------- trouble


def test_a_chain_that_is_down_is_told_on_every_page_and_what_is_read_stays(site, day):
    day.proxy.status = 503
    try:
        until(lambda: "can&#39;t be read now" in site.get("/").text)
        for name, path in paths(day).items():
            if name != "unknown":
                answer = site.get(path)
                assert answer.status_code == 200
                assert "HTTP 503" in answer.text, name
        assert "can&#39;t be asked now" in site.get(f"/accounts/{day.anna.address}").text
    finally:
        day.proxy.status = 200
    until(lambda: "Up to date" in site.get("/").text)


def test_an_index_that_is_behind_says_so(site, monkeypatch):
    health = site.service.ledger.health()
    behind = replace(health, state="behind", head=health.read.number + 100)
    monkeypatch.setattr(site.service.ledger, "health", lambda: behind)
    assert f"Behind: {health.read.number} of {health.read.number + 100} blocks are read" in site.get("/grants").text


def test_a_database_that_is_gone_has_a_page(site, monkeypatch):
    def gone(*_, **__):
        raise IndexUnavailable("OperationalError")

    monkeypatch.setattr(site.service.ledger, "health", gone)
    monkeypatch.setattr(site.service.ledger, "latest", gone)
    answer = site.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "database does not answer" in answer.text


def test_a_fault_has_a_page_that_says_nothing_of_it(site, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a secret")

    monkeypatch.setattr(site.service.ledger, "latest", broken)
    answer = site.get("/?lang=sv")
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert "Något gick sönder här" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_clearing_that_breaks_the_rules_is_shown(site, day):
    """The index as a dishonest operator's node would have filled it: the market's replay finds the price."""

    class Lying:
        def __getattr__(self, name):
            return getattr(site.service.ledger, name)

        def rows(self, *words, **more):
            for row in site.service.ledger.rows(*words, **more):
                lie = row.event == "SlotCleared" and row.arguments["slot"] == day.town.first
                yield replace(row, arguments={**row.arguments, "price": row.arguments["price"] + 1}) if lie else row

    honest, lied = Market(site.service.ledger, day.record), Market(Lying(), day.record)
    for market in (honest, lied):
        market.look()
    assert honest.findings == []
    assert "price is what orders and readings imply" in lied.findings[0].rule
    assert lied.read == honest.read


def test_the_market_begins_anew_where_the_chain_turns(site, day):
    market = Market(site.service.ledger, day.record)
    market.look()
    before = market.bill(BO, 0, 10**6)
    market._read = market._read._replace(hash="0x" + "00" * 32)
    market.look()
    market.look()
    assert market.bill(BO, 0, 10**6) == before


def test_a_crowd_is_refused_in_part_and_the_pages_live(day, tmp_path):
    w3 = connect(day.node.url, timeout=2)
    service = assemble(w3, day.record, f"sqlite:///{tmp_path}/index.db")
    limits = httpx.Limits(max_connections=200, keepalive_expiry=1)
    with (
        Served(service, explorer(service, most=4)) as served,
        httpx.Client(base_url=served.url, limits=limits, timeout=60) as http,
        ThreadPoolExecutor(200) as pool,
    ):
        until(lambda: http.get("/health").json()["block"] == day.node.w3.eth.block_number)
        answers = list(pool.map(lambda _: http.get("/"), range(1_000)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) == {200, 429}
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"1"}
        assert http.get("/").status_code == 200
    service.close()
    hang_up(w3)


def test_the_stream_tells_new_events_in_the_readers_language(site, day):
    def later():
        time.sleep(0.5)
        day.payments.mint(wallet(41).address, 3 * KRONA, day.issuer)

    threading.Thread(target=later).start()
    with site.stream("GET", "/live?lang=sv", timeout=10) as answer:
        told = next(line for line in answer.iter_lines() if line.startswith("data:"))
    assert "gavs ut till" in told
    assert "3,00" in told
