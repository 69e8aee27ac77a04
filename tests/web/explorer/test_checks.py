""" "Check this yourself" on the explorer's own pages: green by the reader's node, red where one was tampered with."""

from __future__ import annotations

import pytest

from tests.web.browser import Site, axe, keep
from tests.web.explorer.conftest import paths

KINDS = {"payment": "data-value", "slot": "data-price", "log": "data-size"}
"""Pages that can be checked, and a claim of each that is tampered with below."""


def verdict(page, url):
    """Press the button; return the verdict, and the steps that are not right."""
    page.fill("#check-rpc", url)
    page.click("#check button")
    page.wait_for_selector('#check[data-result]:not([data-result="running"])', timeout=60_000)
    steps = page.eval_on_selector_all(".check-step", "all => all.map(e => [e.dataset.step, e.dataset.state])")
    assert len(steps) > 4, "it did more than ask for the chain"
    return page.get_attribute("#check", "data-result"), {name: state for name, state in steps if state != "good"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "sv"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_turns_green_by_the_readers_own_node(look, day, kind, lang, scheme):
    page = look(paths(day)[kind], lang, color_scheme=scheme, viewport={"width": 320, "height": 700})
    assert verdict(page, day.node.url) == ("good", {})
    assert page.said == [], "the policy holds"
    assert axe(page) == []
    keep(page, f"explorer/check-{kind}-{lang}-{scheme}-phone")


@pytest.fixture
def forger():
    """Whoever runs an explorer, or sits between it and the reader."""
    site = Site()
    yield site
    site.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_was_tampered_with_turns_red(look, day, site, forger, kind):
    page_, claim = site.get(paths(day)[kind]).text, KINDS[kind]
    head, _, rest = page_.partition(f'{claim}="')
    forger.html = f'{head}{claim}="9{rest}'
    page = look(forger.url)
    result, wrong = verdict(page, day.node.url)
    assert result == "bad"
    assert set(wrong.values()) == {"bad"}
    keep(page, f"explorer/check-{kind}-tampered")
