"""Every event in a sentence of plain words, with links to who and what it is about, in English and Swedish."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from liggare.chain.artifacts import artifact
from liggare.ledger.rows import Row
from liggare.web.explorer.shown import energy, money, number, price, short, when

__all__ = ["SENTENCES", "Part", "link", "sentence", "target", "values"]

ZERO = "0x" + "00" * 20

SENTENCES: dict[str, tuple[str, str]] = {
    "CareRegistry.Accredited": ("{organisation} was accredited", "{organisation} ackrediterades"),
    "CareRegistry.AccreditorChanged": (
        "The accreditor changed from {previousAccreditor} to {newAccreditor}",
        "Ackrediteraren byttes från {previousAccreditor} till {newAccreditor}",
    ),
    "CareRegistry.Resumed": ("{organisation} is accredited again", "{organisation} är ackrediterad igen"),
    "CareRegistry.Suspended": ("{organisation} was suspended", "{organisation} stängdes av"),
    "EnergyMarket.Deposited": (
        "{from} paid {value} into the account of {home}",
        "{from} satte in {value} på kontot för {home}",
    ),
    "EnergyMarket.EIP712DomainChanged": ("The market's domain changed", "Marknadens domän ändrades"),
    "EnergyMarket.FeedInUnpaid": (
        "In {slot} the utility could not pay {unpaid} for feed-in",
        "I {slot} kunde elbolaget inte betala {unpaid} för inmatning",
    ),
    "EnergyMarket.HomeMovedOut": ("{home} moves out from {fromSlot}", "{home} flyttar ut från {fromSlot}"),
    "EnergyMarket.HomeRegistered": (
        "{home} of {owner} joins the market from {fromSlot}",
        "{home} med ägaren {owner} är med på marknaden från {fromSlot}",
    ),
    "EnergyMarket.MeterReplaced": (
        "{home} has the meter {meter} from {fromSlot}",
        "{home} har mätaren {meter} från {fromSlot}",
    ),
    "EnergyMarket.OrderPlaced": (
        "{home} wishes from {fromSlot} on to buy up to: {buyLimit}, to sell from: {sellLimit}, at most {cap} a slot",
        "{home} vill från {fromSlot} köpa för högst: {buyLimit}, sälja för minst: {sellLimit}, högst {cap} åt gången",
    ),
    "EnergyMarket.ReadingMissing": (
        "{home} has no reading from {firstSlot} on, {count} in all",
        "{home} saknar avläsning från {firstSlot}, {count} i allt",
    ),
    "EnergyMarket.ReadingsPosted": (
        "{home} posted its readings from {firstSlot} on itself",
        "{home} lade själv ut sina avläsningar från {firstSlot}",
    ),
    "EnergyMarket.ReadingsTaken": (
        "Readings of all homes ({homes}) were taken from {firstSlot} on, {count} in all",
        "Avläsningar från alla hem ({homes}) togs in från {firstSlot}, {count} i allt",
    ),
    "EnergyMarket.SlotCleared": (
        "{slot} was cleared: {volume} traded at {price} per kWh",
        "{slot} avräknades: {volume} handlades för {price} per kWh",
    ),
    "EnergyMarket.SlotsClosed": (
        "Slots from {firstSlot} were closed without a clearing",
        "Perioder från {firstSlot} stängdes utan avräkning",
    ),
    "EnergyMarket.Withdrawn": (
        "{value} of the account of {home} was paid out to {to}",
        "{value} från kontot för {home} betalades ut till {to}",
    ),
    "Escrow.EIP712DomainChanged": ("The escrow's domain changed", "Deponeringens domän ändrades"),
    "Escrow.PurchaseArbitrated": (
        "The arbiter split purchase {id}: {toBuyer} to the buyer, {toSeller} to the seller",
        "Skiljedomaren delade köp {id}: {toBuyer} till köparen, {toSeller} till säljaren",
    ),
    "Escrow.PurchaseClaimed": (
        "The seller claimed the money of purchase {id}",
        "Säljaren hämtade pengarna för köp {id}",
    ),
    "Escrow.PurchaseFunded": (
        "{buyer} put {value} aside for a purchase from {seller}",
        "{buyer} satte undan {value} för ett köp av {seller}",
    ),
    "Escrow.PurchaseReclaimed": (
        "The buyer took the money of purchase {id} back",
        "Köparen tog tillbaka pengarna för köp {id}",
    ),
    "Escrow.PurchaseRefunded": (
        "The seller gave the money of purchase {id} back",
        "Säljaren gav tillbaka pengarna för köp {id}",
    ),
    "Escrow.PurchaseReleased": (
        "The buyer released the money of purchase {id}",
        "Köparen släppte pengarna för köp {id}",
    ),
    "RecordAccess.AllRevoked": ("{patient} revoked every grant", "{patient} återkallade alla medgivanden"),
    "RecordAccess.EIP712DomainChanged": ("The records' domain changed", "Journalernas domän ändrades"),
    "RecordAccess.EmergencySet": (
        "{patient} decided whether emergencies open the record: {allowed}",
        "{patient} bestämde om nödlägen öppnar journalen: {allowed}",
    ),
    "RecordAccess.GlassBroken": (
        "{organisation} opened the record of {patient} in an emergency, until {until}",
        "{organisation} öppnade journalen för {patient} i ett nödläge, till {until}",
    ),
    "RecordAccess.Granted": ("{patient} granted somebody to read", "{patient} lät någon läsa"),
    "RecordAccess.GrantedFor": (
        "{author} granted somebody to read, for {patient}",
        "{author} lät någon läsa, åt {patient}",
    ),
    "RecordAccess.GuardianAppointed": (
        "{appointer} appointed {guardian} to act for {patient}, until {until}",
        "{appointer} utsåg {guardian} att företräda {patient}, till {until}",
    ),
    "RecordAccess.GuardianDismissed": (
        "{by} ended that {guardian} acts for {patient}",
        "{by} avslutade att {guardian} företräder {patient}",
    ),
    "RecordAccess.LogHeadPosted": (
        "{custodian} posted the head of its access log: {size} entries",
        "{custodian} lade ut huvudet på sin åtkomstlogg: {size} poster",
    ),
    "RecordAccess.RecordAnchored": (
        "{custodian} anchored a record by its hash",
        "{custodian} förankrade en journal med dess hash",
    ),
    "RecordAccess.Recovered": ("{patient} goes on as {successor}", "{patient} fortsätter som {successor}"),
    "RecordAccess.RecoverySet": (
        "{patient} decided that {threshold} guardians can recover a lost key",
        "{patient} bestämde att {threshold} företrädare kan ersätta en förlorad nyckel",
    ),
    "RecordAccess.RecoveryStarted": (
        "Guardians of {patient} began to recover a lost key",
        "Företrädare för {patient} började ersätta en förlorad nyckel",
    ),
    "RecordAccess.RecoveryStopped": (
        "The recovery of the key of {patient} was stopped",
        "Ersättningen av nyckeln för {patient} stoppades",
    ),
    "RecordAccess.Revoked": ("{patient} revoked a grant", "{patient} återkallade ett medgivande"),
    "RecordAccess.RevokedFor": (
        "{author} revoked a grant, for {patient}",
        "{author} återkallade ett medgivande, åt {patient}",
    ),
    "RecordAccess.Skipped": (
        "Message {index} of a batch, {id}, was skipped: {reason}",
        "Meddelande {index} i en samling, {id}, hoppades över: {reason}",
    ),
    "StablecoinVault.Deposited": (
        "{from} paid {value} into the vault for {to}",
        "{from} satte in {value} i valvet för {to}",
    ),
    "StablecoinVault.Withdrawn": (
        "{from} took {value} out of the vault for {to}",
        "{from} tog ut {value} ur valvet för {to}",
    ),
    "ZeroFeePayments.Approval": ("{owner} lets {spender} spend {value}", "{owner} låter {spender} använda {value}"),
    "ZeroFeePayments.AuthorizationCanceled": (
        "{authorizer} canceled a payment that was signed",
        "{authorizer} återtog en undertecknad betalning",
    ),
    "ZeroFeePayments.AuthorizationUsed": (
        "A payment that {authorizer} signed was carried out",
        "En betalning som {authorizer} undertecknat utfördes",
    ),
    "ZeroFeePayments.EIP712DomainChanged": ("The money's domain changed", "Pengarnas domän ändrades"),
    "ZeroFeePayments.IssuerChanged": (
        "The issuer changed from {previousIssuer} to {newIssuer}",
        "Utgivaren byttes från {previousIssuer} till {newIssuer}",
    ),
    "ZeroFeePayments.PaymentSkipped": (
        "Payment {item} of a batch, by {from}, was skipped",
        "Betalning {item} i en samling, från {from}, hoppades över",
    ),
    "ZeroFeePayments.Transfer": ("{from} paid {to} {value}", "{from} betalade {to} {value}"),
    "ZeroFeePayments.VaultAdded": ("The vault {vault} was added", "Valvet {vault} lades till"),
}
CONTRACTS = {
    "ZeroFeePayments": ("the money's contract", "pengarnas kontrakt"),
    "EnergyMarket": ("the market", "marknaden"),
    "Escrow": ("the escrow", "deponeringen"),
    "StablecoinVault": ("the vault", "valvet"),
}
"""What contracts are called that hold money for others."""
MINTED = ("{value} was issued to {to}", "{value} gavs ut till {to}")
BURNT = ("{value} of {from} was redeemed", "{value} från {from} löstes in")
UTILITY = ("the utility", "elbolaget")
NAMED = {"home": ("home {}", "hem {}"), "slot": ("slot {}", "period {}")}
MONEY = {"value", "unpaid", "toBuyer", "toSeller"}
PRICES = {"price", "lo", "hi", "buyLimit", "sellLimit"}
SLOTS = {"slot", "fromSlot", "firstSlot", "untilSlot", "nextSlot"}
ENERGY = {"volume", "cap", "imported", "exported"}
TIMES = {"until", "readyAt", "claimAfter", "reclaimAfter"}
FAR = 2**24 - 1
"""Slots, prices and energies from here on stand for none."""


class Part(NamedTuple):
    """A piece of a sentence; with `href` it links to a page."""

    text: str
    href: str | None = None


def sentence(row: Row, lang: str, names: Mapping[str, str]) -> list[Part]:
    """Return what an event says, in pieces; `names` are of contracts, by address."""
    words = SENTENCES[f"{row.contract}.{row.event}"]
    if (row.contract, row.event) == ("ZeroFeePayments", "Transfer"):
        words = MINTED if row.arguments["from"] == ZERO else BURNT if row.arguments["to"] == ZERO else words
    kinds, parts = _kinds(row.contract, row.event), []
    for at, piece in enumerate(re.split(r"\{(\w+)\}", words[lang == "sv"])):
        if at % 2:
            found = row.arguments[piece]
            part = value(piece, kinds[piece], found, lang)
            named = CONTRACTS.get(names.get(found, "")) if kinds[piece] == "address" else None
            parts.append(Part(named[lang == "sv"], part.href) if named else part)
        elif piece:
            parts.append(Part(piece))
    first = parts[0]
    return [
        Part(first.text[:1].upper() + first.text[1:] if first.text[:2] != "0x" else first.text, first.href),
        *parts[1:],
    ]


def values(row: Row, lang: str) -> list[tuple[str, Part]]:
    """Return an event's arguments by name, each whole."""
    kinds = _kinds(row.contract, row.event)
    return [(name, value(name, kinds[name], each, lang, whole=True)) for name, each in row.arguments.items()]


def value(name: str, kind: str, found: Any, lang: str, *, whole: bool = False) -> Part:
    """Return an argument as people read it."""
    if kind == "address":
        return Part(found if whole else short(found), None if found == ZERO else f"/accounts/{found}")
    if kind.startswith("bytes"):
        words = "0x" + found.hex()
        return Part(words if whole else short(words), f"/ids/{words}" if kind == "bytes32" and any(found) else None)
    if kind == "bool":
        return Part({"en": ("no", "yes"), "sv": ("nej", "ja")}[lang][found])
    if name == "home":
        return (
            Part(NAMED["home"][lang == "sv"].format(found), f"/homes/{found}") if found else Part(UTILITY[lang == "sv"])
        )
    if name in SLOTS and found < FAR:
        return Part(NAMED["slot"][lang == "sv"].format(number(found, lang)), f"/slots/{found}")
    if name in SLOTS or (name in PRICES and (found >= FAR or (name == "buyLimit" and not found))):
        return Part({"en": "never", "sv": "aldrig"}[lang])
    if name in MONEY:
        return Part(money(found, lang))
    if name in PRICES:
        return Part(price(found, lang))
    if name in ENERGY and found < FAR:
        return Part(energy(found, lang))
    if name in TIMES:
        return Part(when(found))
    return Part(number(found, lang))


def link(row: Row) -> str:
    """Return the page of an event: of the payment, slot, log or home that it is of, or of its transaction."""
    at = row.arguments
    if (row.contract, row.event) == ("ZeroFeePayments", "Transfer"):
        return f"/payments/{row.transaction}/{row.log_index}"
    if row.event == "SlotCleared":
        return f"/slots/{at['slot']}"
    if row.event == "LogHeadPosted":
        return f"/logs/{at['custodian']}"
    return target(row)


def target(row: Row) -> str:
    """Return where an event stands among those of its transaction."""
    return f"/transactions/{row.transaction}?first={row.log_index}#log-{row.log_index}"


@lru_cache(256)
def _kinds(contract: str, event: str) -> dict[str, str]:
    abi = next(i for i in artifact(contract).abi if i["type"] == "event" and i["name"] == event)
    return {each["name"]: each["type"] for each in abi["inputs"]}
