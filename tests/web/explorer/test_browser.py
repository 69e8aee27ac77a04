"""The explorer in a real Chromium: every page, phones and the dark, the keyboard, languages, no script, live events."""

from __future__ import annotations

import re

import pytest
import zxingcpp
from PIL import Image

from tests.nodes import KRONA, wallet
from tests.web.browser import keep, overflow
from tests.web.explorer.conftest import paths

SCREENS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1100, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1100, "height": 800}},
    "phone": {"color_scheme": "dark", "viewport": {"width": 320, "height": 700}},
}


@pytest.mark.parametrize("screen", SCREENS)
def test_every_page_fits_its_screen_and_breaks_no_policy(look, day, screen):
    for name, path in paths(day).items():
        page = look(path, **SCREENS[screen])
        keep(page, f"explorer/{name}-{screen}")
        assert overflow(page) == 0, name
        assert [words for words in page.said if "404" not in words] == [], name
        assert page.locator("h1").count() == 1, name


def test_a_new_event_appears_by_itself(look, day):
    page = look("/")
    page.wait_for_selector("#live:not([hidden])")
    day.payments.mint(wallet(40).address, 7 * KRONA, day.issuer)
    page.wait_for_selector("#latest li.fresh", timeout=5_000)
    first = page.locator("#latest li").first
    assert re.search(r"7\.00 was issued to 0x", first.inner_text())
    assert "1" in page.locator("#live-new").inner_text()
    assert page.locator("#latest li").count() <= 30
    first.locator(".more").click()
    assert "7.00" in page.locator(".amount").inner_text()


def test_the_code_of_an_invoice_can_be_read_from_the_screen_in_the_dark(look, day, tmp_path):
    page = look(paths(day)["invoice"], **SCREENS["dark"])
    page.locator("svg.qr").screenshot(path=tmp_path / "code.png")
    (found,) = zxingcpp.read_barcodes(Image.open(tmp_path / "code.png"))
    assert found.text == day.invoices[0].uri()


def test_a_reader_changes_the_language_and_keeps_it(look):
    page = look("/grants")
    page.get_by_role("link", name="Svenska").click()
    assert page.locator("html").get_attribute("lang") == "sv"
    assert page.locator("h1").inner_text() == "Registret över medgivanden"
    page.goto("/logs")
    assert page.locator("h1").inner_text() == "Åtkomstloggar"
    page.get_by_role("link", name="English").click()
    assert page.locator("h1").inner_text() == "Access logs"


def test_all_can_be_read_without_javascript(look, day):
    for name, path in paths(day).items():
        page = look(path, java_script_enabled=False)
        assert page.locator("h1").inner_text(), name
    page = look(paths(day)["payment"], java_script_enabled=False)
    assert "12.50" in page.locator(".amount").inner_text()
    assert "liggare verify" in page.locator("#check noscript p").inner_text()
    page = look("/", java_script_enabled=False)
    page.get_by_label("Address, id").fill(day.anna.address)
    page.get_by_role("button", name="Search").click()
    assert day.anna.address in page.locator("main").inner_text()


def test_the_keyboard_reaches_content_search_and_every_link(look):
    page = look("/grants")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.goto("/")
    seen, links = set(), page.locator("a[href], button, input").count()
    for _ in range(links + 5):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(seen) >= links
