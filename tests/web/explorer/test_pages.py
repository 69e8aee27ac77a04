"""The explorer's pages, read as they come from the server: what they say, in two languages, and what they refuse."""

from __future__ import annotations

from tests.web.explorer.conftest import paths


def test_every_page_is_there_in_both_languages(site, day):
    for name, path in paths(day).items():
        for lang in ("en", "sv"):
            answer = site.get(path, headers={"Accept-Language": lang})
            assert answer.status_code == (404 if name == "unknown" else 200), (name, answer.text[:3000])
            assert f'<html lang="{lang}">' in answer.text
