""" "Check this yourself" in a real Chromium, under the explorer's policy: green where all is right, red where not."""

from __future__ import annotations

from html import escape

import pytest

from liggare.records.tree import Tree
from tests.energy.conftest import ANNA, BO, CIA
from tests.energy.street import FIRST
from tests.nodes import Proxy
from tests.web.browser import WATCH, Site, axe, chromium, keep, overflow
from tests.web.checks.conftest import receipts_lie

pytestmark = pytest.mark.usefixtures("deployments")
TITLE = {"en": "Check this yourself", "sv": "Kontrollera själv"}


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def site():
    """Where the pages come from."""
    site = Site()
    yield site
    site.close()


@pytest.fixture
def open_page(browser, site):
    """Open a page that makes some claims: `open_page("slot", claims, lang="sv")`."""
    contexts = []

    def open_page(kind, claims, lang="en", rpc="", **words):
        data = " ".join(f'data-{name}="{escape(value)}"' for name, value in {**claims, "rpc": rpc}.items())
        site.html = (
            f'<!doctype html><html lang="{lang}"><meta name="viewport" content="width=device-width">'
            '<meta name="color-scheme" content="light dark"><title>Liggare</title>'
            '<link rel="stylesheet" href="/page.css"><link rel="stylesheet" href="/static/check.css">'
            '<script src="/static/check.js" defer></script>'
            f'<main><h1>{kind}</h1><section id="check" data-kind="{kind}" {data} aria-labelledby="check-title">'
            f'<h2 id="check-title">{TITLE[lang]}</h2><noscript><p>liggare verify</p></noscript></section></main></html>'
        )
        context = browser.new_context(**words)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        if words.get("java_script_enabled", True):
            page.add_init_script(WATCH)
        page.goto(site.url)
        return page

    yield open_page
    for context in contexts:
        context.close()


def run(page, url=None):
    """Press the button and wait for the verdict; return it with the steps' states."""
    if url is not None:
        page.fill("#check-rpc", url)
    page.click("#check button")
    return verdict(page)


def verdict(page):
    page.wait_for_selector('#check[data-result]:not([data-result="running"])', timeout=60_000)
    assert page.evaluate("broken") == [], "the policy holds"
    assert page.errors == []
    steps = page.eval_on_selector_all(".check-step", "all => all.map(e => [e.dataset.step, e.dataset.state])")
    return page.get_attribute("#check", "data-result"), dict(steps)


@pytest.fixture
def slot(trading, slot_claims):
    """What a page says of a slot that was cleared."""
    trading.end_of(FIRST)
    readings = trading.read(FIRST, {ANNA: (100, 1000), BO: (600, 0), CIA: (800, 0)})
    return slot_claims(trading.clear(readings), {ANNA: -900, BO: 600, CIA: 300})


@pytest.fixture
def paid(carry, payment, anna, payment_claims):
    """What a page says of a payment."""
    signed = payment().sign(anna)
    return payment_claims(carry(signed), signed.id)


@pytest.fixture
def log(access, stranger, chain_claims):
    """What a page says of a custodian's log of two entries, and its file."""
    lines = [b'{"a":1}', b'{"a":2}']
    root = Tree(lines).root()
    access.postLogHead(bytes(32), 2, root, {"from": stranger})
    claims = {"custodian": stranger.address, "heads": "1", "size": "2", "root": "0x" + root.hex()}
    return chain_claims("RecordAccess") | claims, b"".join(line + b"\n" for line in lines)


def test_an_honest_slot_turns_green_and_only_the_visitors_node_is_asked(open_page, slot, rpc_url, site):
    page = open_page("slot", slot)
    assert page.input_value("#check-rpc") == "", "no node is chosen for the visitor"
    page.asked.clear()
    result, steps = run(page, rpc_url)
    assert (result, set(steps.values())) == ("good", {"good"})
    assert set(page.asked) == {rpc_url.rstrip("/") + "/"}
    assert "Everything is right" in page.inner_text(".check-verdict")
    assert "900 Wh bought, 900 Wh sold" in page.inner_text(".check-steps")
    keep(page, "checks/slot-good-en")


def test_a_tampered_slot_turns_red_and_names_the_step_and_both_values(open_page, slot, rpc_url):
    page = open_page("slot", slot | {"price": "1234"}, lang="sv", rpc=rpc_url, color_scheme="dark")
    result, steps = run(page)
    assert result == "bad"
    assert [name for name, state in steps.items() if state == "bad"] == ["price"]
    told = page.inner_text('[data-step="price"]')
    assert "priset, uträknat och visat av sidan" in told
    assert f"ska vara: {slot['price']}" in told
    assert "är: 1234" in told
    assert "Något är fel" in page.inner_text(".check-verdict")
    keep(page, "checks/slot-bad-sv-dark")


def test_a_payment_turns_green_and_a_tampered_one_red(open_page, paid, rpc_url):
    assert run(open_page("payment", paid), rpc_url)[0] == "good"
    page = open_page("payment", paid | {"value": "1"})
    result, steps = run(page, rpc_url)
    assert (result, steps["transfer"]) == ("bad", "bad")
    keep(page, "checks/payment-bad-en")


def test_a_log_turns_green_with_the_visitors_file_and_red_with_another(open_page, log, rpc_url):
    claims, file = log
    page = open_page("log", claims)
    for content, right in ((file, "good"), (file.replace(b"2", b"3"), "bad")):
        page.set_input_files("#check-file", {"name": "log.jsonl", "mimeType": "text/plain", "buffer": content})
        page.evaluate("document.getElementById('check').removeAttribute('data-result')")
        result, steps = run(page, rpc_url)
        assert (result, steps["file"]) == (right, right)
    result, steps = run(open_page("log", claims | {"root": "0x" + "ab" * 32}), rpc_url)
    assert (result, steps["headPage"]) == ("bad", "bad")


def test_a_lying_node_turns_the_step_red(open_page, paid, rpc_url):
    proxy = Proxy(rpc_url)
    proxy.lie = receipts_lie(lambda receipt: {**receipt, "logs": receipt["logs"][1:]})
    page = open_page("payment", paid)
    page.route(proxy.url + "/**", lambda route: route.fulfill(body=proxy.answer(route.request.post_data_buffer)))
    try:
        result, steps = run(page, proxy.url)
    finally:
        proxy.close()
    assert (result, steps["receipts"]) == ("bad", "bad")


def test_a_node_that_does_not_answer_is_said_in_words(open_page, paid):
    page = open_page("payment", paid)
    result, steps = run(page, "http://127.0.0.1:9")
    assert (result, steps) == ("unknown", {"chain": "unknown"})
    assert "does not answer" in page.inner_text('[data-step="chain"]')
    page = open_page("payment", paid)
    result, _ = run(page, "http://node.example")
    assert "begins with https://" in page.inner_text('[data-step="chain"]')


def test_the_visitors_node_is_remembered_in_the_browser(open_page, paid, rpc_url):
    page = open_page("payment", paid, rpc="https://suggested.example")
    assert page.input_value("#check-rpc") == "https://suggested.example"
    run(page, rpc_url)
    page.reload()
    assert page.input_value("#check-rpc") == rpc_url


def test_by_keyboard_alone(open_page, paid, rpc_url):
    page = open_page("payment", paid)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "check-rpc"
    page.keyboard.type(rpc_url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "submit"
    page.keyboard.press("Enter")
    assert verdict(page)[0] == "good"
    assert page.evaluate("document.activeElement.type") == "submit", "the focus stays where it was"


def test_hostile_claims_are_inert(open_page, paid, rpc_url):
    hostile = '"><img src=x onerror=alert(1)><script>alert(1)</script>'
    for claim in paid:
        page = open_page("payment", paid | {claim: hostile})
        result, _ = run(page, rpc_url)
        assert result == "bad"
        assert page.locator("#check img, #check script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "sv"])
def test_axe_finds_nothing_and_a_phone_has_room(open_page, log, rpc_url, lang, scheme):
    claims, _ = log
    for changes, right in (({}, "good"), ({"size": "3"}, "bad")):
        phone = {"viewport": {"width": 320, "height": 640}, "color_scheme": scheme}
        page = open_page("log", claims | changes, lang=lang, **phone)
        assert axe(page) == []
        assert run(page, rpc_url)[0] == right
        assert axe(page) == []
        assert overflow(page) == 0
        keep(page, f"checks/log-{right}-{lang}-{scheme}-phone")
    result, _ = run(page, "http://127.0.0.1:9")
    assert (result, axe(page)) == ("unknown", [])


def test_without_javascript_the_page_says_how_else(open_page, paid):
    page = open_page("payment", paid, java_script_enabled=False)
    assert "liggare verify" in page.inner_text("#check")
    assert page.locator("#check form").count() == 0
