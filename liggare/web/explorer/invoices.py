"""The page of an invoice: who asks for what, whether the payee signed it, whether it is paid, and its QR code.

The invoice itself is not on the chain, only the payment that names its id: whoever holds the invoice brings it along.
"""

from __future__ import annotations

from typing import Annotated, Any

import segno
from fastapi import FastAPI, Query, Request, Response
from markupsafe import Markup

from liggare.errors import LiggareError
from liggare.ledger.rows import Row
from liggare.payments.invoices import ANYONE, Invoice, PaymentRequest, State, parse
from liggare.payments.messages import money_domain
from liggare.web.explorer.site import NotHere, Site
from liggare.web.explorer.words import say

__all__ = ["register"]


def register(app: FastAPI, site: Site) -> None:
    """Add the page."""
    domain = money_domain(site.deployments)

    @app.get("/invoices")
    def invoice(request: Request, uri: Annotated[str, Query(max_length=2_000)] = "") -> Response:
        """Show an invoice, or where to paste one."""
        words = uri.strip()
        if not words:
            return site.page(request, "invoices.html", asked=None)
        try:
            asked = parse(words, domain)
        except LiggareError as exc:
            raise NotHere("error.invoice", 400, why=str(exc)[:300]) from None
        state, paid = _state(site, asked.invoice)
        drawn = _drawn(asked.uri(), say(site.language(request), "invoice.qr"))
        found: dict[str, Any] = {"state": state.value, "paid": paid, "is_signed": _is_signed(asked), "qr": drawn}
        return site.page(request, "invoices.html", asked=asked, invoice=asked.invoice, anyone=ANYONE, **found)


def _is_signed(asked: PaymentRequest) -> bool:
    try:
        asked.check()
    except LiggareError:
        return False
    return True


def _state(site: Site, invoice: Invoice) -> tuple[State, Row | None]:
    """Tell what became of an invoice by the index, and which transfer paid it.

    Paid is what moved exactly its value to its payee under its nonce, as `Invoices.state` tells from the chain.
    """
    ledger, used = site.ledger, False
    for row in ledger.about("0x" + invoice.nonce.hex()).rows:
        if row.contract != "ZeroFeePayments" or invoice.payer not in (ANYONE, row.arguments.get("authorizer")):
            continue
        used = True
        for each in ledger.transaction(row.transaction):
            if each.event != "Transfer" or each.log_index < row.log_index:
                continue
            if (each.arguments["to"], each.arguments["value"]) != (invoice.payee, invoice.value):
                continue
            found = ledger.payment(each.transaction, each.log_index)
            if found and found.authorization and found.authorization.log_index == row.log_index:
                return State.PAID, each
    if used and invoice.payer != ANYONE:
        return State.VOID, None
    return (State.EXPIRED if site.now(ledger.health()) >= invoice.valid_before else State.OPEN), None


def _drawn(uri: str, title: str) -> Markup:
    """Return the QR code as SVG, dark on light in both colour schemes: readers of codes want it so."""
    code = segno.make(uri, error="m")
    drawn = code.svg_inline(scale=4, border=4, dark="#000", light="#fff", title=title, svgclass="qr", omitsize=True)
    return Markup(drawn)  # noqa: S704  by segno, which escapes the title
