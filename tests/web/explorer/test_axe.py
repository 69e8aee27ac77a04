"""axe-core finds nothing on any page, in both languages and colour schemes: WCAG 2.2 AA as a machine can tell."""

from __future__ import annotations

import json

import pytest

from tests.web.browser import REPORTS, axe
from tests.web.explorer.conftest import paths


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "sv"])
def test_axe_finds_nothing_on_any_page(look, day, lang, scheme):
    found = {}
    for name, path in paths(day).items():
        page = look(path, lang, color_scheme=scheme)
        assert page.locator("html").get_attribute("lang") == lang
        found[name] = axe(page)
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / f"axe-{lang}-{scheme}.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    assert {name: each for name, each in found.items() if each} == {}
