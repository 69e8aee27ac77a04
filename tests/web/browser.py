"""A real Chromium for tests of pages, what axe says of them, and a small site with the explorer's strict policy."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support import ROOT

__all__ = ["POLICY", "Site", "axe", "chromium", "keep", "overflow"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self' https: http://localhost:* http://127.0.0.1:*;"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
STATIC = ROOT / "liggare" / "web" / "static"
TYPES = {"": "text/html", ".ico": "image/x-icon", ".js": "text/javascript", ".css": "text/css"}
STYLE = """
html { background: #fff; color: #111; font-family: sans-serif }
@media (prefers-color-scheme: dark) { html { background: #121212; color: #eee } }
"""
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
REPORTS = ROOT / "reports"
WATCH = "window.broken = []; addEventListener('securitypolicyviolation', (e) => broken.push(e.violatedDirective));"


@contextmanager
def chromium():
    """Playwright's browser over the Chromium that is installed; skips where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium here (Debian's package `chromium`)")
    from playwright.sync_api import sync_playwright

    flags = ["--disable-background-networking", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        try:
            yield browser
        finally:
            browser.close()


class Site:
    """Serves one page, `html`, its style and the package's static files, under the explorer's policy."""

    def __init__(self) -> None:
        self.html = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files = {"/": site.html, "/page.css": STYLE}
                files |= {f"/static/{path.name}": path.read_text() for path in STATIC.iterdir()}
                body = files.get(self.path, "").encode()
                self.send_response(200 if self.path in files else 404)
                self.send_header("Content-Type", f"{TYPES[Path(self.path).suffix]}; charset=utf-8")
                self.send_header("Content-Security-Policy", POLICY)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


def axe(page):
    """What axe finds wrong with a page, WCAG 2.2 AA: [(rule, element), …]."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", WCAG)
    assert found["passes"], "axe looked at nothing"
    return [(each["id"], node["html"]) for each in found["violations"] for node in each["nodes"]]


def overflow(page):
    """How many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def keep(page, name) -> None:
    """Keep a picture of the whole page under reports/."""
    path = REPORTS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True)
