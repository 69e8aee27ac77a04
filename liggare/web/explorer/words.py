"""The pages' words, each in English and Swedish; and which of the two a reader gets."""

from __future__ import annotations

from typing import Any

__all__ = ["LANGUAGES", "WORDS", "chosen", "say"]

LANGUAGES = {"en": "English", "sv": "Svenska"}

WORDS: dict[str, tuple[str, str]] = {
    # every page
    "title": ("Liggare: the ledger for everybody", "Liggare: liggaren för alla"),
    "skip": ("To the content", "Till innehållet"),
    "menu": ("Pages", "Sidor"),
    "overview": ("Overview", "Översikt"),
    "prices": ("Prices", "Priser"),
    "grants": ("Grants", "Medgivanden"),
    "logs": ("Access logs", "Åtkomstloggar"),
    "invoices": ("Invoices", "Fakturor"),
    "search": ("Search", "Sök"),
    "search.label": ("Address, id, transaction, slot or home", "Adress, id, transaktion, period eller hem"),
    "search.hint": ("For instance 0x…, slot 12 or home 3", "Till exempel 0x…, period 12 eller hem 3"),
    "language": ("Language", "Språk"),
    "foot": (
        "Whatever these pages show comes from chain {chain}. They may be wrong or lie: check them in your browser by a"
        " node of your own choice, or by “liggare verify” in a terminal.",
        "Allt som sidorna visar kommer från kedja {chain}. De kan ha fel eller ljuga: kontrollera dem i din webbläsare"
        " mot en nod som du själv väljer, eller med ”liggare verify” i en terminal.",
    ),
    "older": ("Older", "Äldre"),
    "newest": ("Newest", "Nyaste"),
    "first": ("From the beginning", "Från början"),
    "further": ("Further events", "Fler händelser"),
    "more": ("Further pages", "Fler sidor"),
    "nothing": ("There is nothing here yet.", "Här finns inget än."),
    "details": ("Details", "Detaljer"),
    "block": ("Block", "Block"),
    "time": ("Time", "Tid"),
    "transaction": ("Transaction", "Transaktion"),
    "event": ("Event", "Händelse"),
    # health
    "state.current": ("Up to date with the chain", "I fas med kedjan"),
    "state.behind": (
        "Behind: {block} of {head} blocks are read, so the newest events may be missing.",
        "Efter: {block} av {head} block är lästa, så de senaste händelserna kan saknas.",
    ),
    "state.stuck": (
        "The chain can't be read now, so what is new is missing. What the node says: {trouble}",
        "Kedjan kan inte läsas just nu, så det som är nytt saknas. Noden säger: {trouble}",
    ),
    "state.stopped": (
        "Nothing follows the chain now, so what is new is missing.",
        "Ingenting följer kedjan just nu, så det som är nytt saknas.",
    ),
    "state.empty": ("Nothing has been read yet.", "Inget har lästs än."),
    "off": (
        "The ledger breaks a rule of the market:",
        "Liggaren bryter mot en av marknadens regler:",
    ),
    "off.values": ("expected {expected}, found {actual}", "väntat {expected}, fann {actual}"),
    # overview
    "overview.lead": (
        "Every payment, every change of who may read, every price of the neighbourhood's energy: on one ledger that"
        " anyone can follow and check.",
        "Varje betalning, varje ändring av vem som får läsa, varje pris på grannskapets energi: i en liggare som alla"
        " kan följa och kontrollera.",
    ),
    "latest": ("Latest events", "Senaste händelser"),
    "live.on": ("New events appear by themselves.", "Nya händelser kommer av sig själva."),
    "live.new": ("New events: ", "Nya händelser: "),
    "live.turned": (
        "The chain has left blocks that are shown here.",
        "Kedjan har lämnat block som visas här.",
    ),
    "live.reload": ("Load the page again", "Ladda om sidan"),
    "totals": ("In all", "Sammanlagt"),
    "totals.payments": ("Payments", "Betalningar"),
    "totals.moved": ("Moved, {symbol}", "Flyttat, {symbol}"),
    "totals.grants": ("Grants given", "Medgivanden givna"),
    "totals.revoked": ("Grants revoked", "Medgivanden återkallade"),
    "totals.slots": ("Slots cleared", "Perioder avräknade"),
    "totals.homes": ("Homes", "Hem"),
    "totals.heads": ("Log heads", "Logghuvuden"),
    "totals.purchases": ("Purchases", "Köp"),
    "ledger": ("The ledger", "Liggaren"),
    "chain": ("Chain", "Kedja"),
    "read": ("Read up to block", "Läst till block"),
    "head": ("Newest block", "Nyaste block"),
    "contracts": ("Contracts", "Kontrakt"),
    "health": ("Health", "Tillstånd"),
    # payment
    "payment": ("A payment", "En betalning"),
    "payer": ("Payer", "Betalare"),
    "payee": ("Payee", "Mottagare"),
    "amount": ("Amount", "Belopp"),
    "nonce": ("Nonce", "Engångstal"),
    "nonce.invoice": ("also the id of the invoice, where it pays one", "också fakturans id, om den betalar en"),
    "payment.signed": (
        "The payer signed this payment; somebody else carried it to the chain and paid the fee. What was sent arrived"
        " whole.",
        "Betalaren undertecknade betalningen; någon annan förde den till kedjan och betalade avgiften. Det som"
        " skickades kom fram helt.",
    ),
    "payment.direct": (
        "This went without a signed authorization: the payer sent the transaction, a contract paid out, or the issuer"
        " issued or redeemed.",
        "Den här gick utan undertecknad fullmakt: betalaren skickade själv, ett kontrakt betalade ut, eller utgivaren"
        " gav ut eller löste in.",
    ),
    "issuer": ("newly issued", "nyutgivet"),
    "redeemed": ("redeemed", "inlöst"),
    # account
    "account": ("An account", "Ett konto"),
    "contract": ("Contract {name}", "Kontrakt {name}"),
    "balance": ("Balance now", "Saldo nu"),
    "balance.at": ("by the chain, at block {block}", "enligt kedjan, vid block {block}"),
    "balance.unknown": (
        "The chain can't be asked now.",
        "Kedjan kan inte tillfrågas just nu.",
    ),
    "account.payments": ("Payments", "Betalningar"),
    "account.all": ("All events", "Alla händelser"),
    "account.head": ("What concerns this account", "Det som rör kontot"),
    # transaction, id
    "transaction.page": ("A transaction", "En transaktion"),
    "id.page": ("An id", "Ett id"),
    "id.lead": ("Everything on the ledger that names it.", "Allt i liggaren som nämner det."),
    # slot
    "slot.page": ("Slot {slot}", "Period {slot}"),
    "slot.from": ("{from} to {until}", "{from} till {until}"),
    "slot.price": ("Price per kWh", "Pris per kWh"),
    "slot.range": ("Prices that would clear", "Priser som går ihop"),
    "slot.volume": ("Traded among neighbours", "Handlat mellan grannar"),
    "slot.lead": (
        "Every home gives its highest price to buy at and its lowest to sell at. The price is where both meet; nobody"
        " pays more or gets less than they signed.",
        "Varje hem anger sitt högsta pris att köpa för och sitt lägsta att sälja för. Priset är där de möts; ingen"
        " betalar mer eller får mindre än den skrivit under på.",
    ),
    "slot.closed": (
        "This slot was closed without a clearing: nobody brought its readings in time, and each home settles what its"
        " meter counted with the grid.",
        "Perioden stängdes utan avräkning: ingen kom med avläsningar i tid, och varje hem gör upp med elnätet om det"
        " som mätaren räknat.",
    ),
    "slot.waits": (
        "This slot has ended or runs now, and is not cleared yet.",
        "Perioden är slut eller pågår, och är inte avräknad än.",
    ),
    "slot.future": (
        "Slot {slot} is in the future: it begins {when}.",
        "Period {slot} ligger i framtiden: den börjar {when}.",
    ),
    "slot.replaying": (
        "The book of this slot is being computed; load the page again in a moment.",
        "Periodens orderbok räknas fram; ladda om sidan om en stund.",
    ),
    "slot.none": (
        "No home bid or offered in this slot, so there is no curve.",
        "Inget hem köpte eller sålde i perioden, så det finns ingen kurva.",
    ),
    "curve": ("Merit order", "Utbud och efterfrågan"),
    "curve.desc": (
        "Demand falls and supply rises with the energy; at {price} per kWh {volume} are traded. The table below has"
        " every step.",
        "Efterfrågan faller och utbudet stiger med energin; för {price} per kWh handlas {volume}. Tabellen nedan har"
        " varje steg.",
    ),
    "curve.demand": ("Demand", "Efterfrågan"),
    "curve.supply": ("Supply", "Utbud"),
    "curve.price": ("Price", "Pris"),
    "fills": ("Who bids, who offers, who gets what", "Vem köper, vem säljer, vem får vad"),
    "home": ("Home", "Hem"),
    "side": ("Side", "Sida"),
    "side.buys": ("buys", "köper"),
    "side.sells": ("sells", "säljer"),
    "limit": ("Limit per kWh", "Gräns per kWh"),
    "wanted": ("Wanted", "Önskat"),
    "filled": ("Filled", "Fick"),
    "previous": ("Previous slot", "Förra perioden"),
    "following": ("Next slot", "Nästa period"),
    # prices
    "prices.page": ("Prices and volumes", "Priser och volymer"),
    "prices.lead": (
        "What neighbours paid each other for a kWh, quarter by quarter, and how much they traded.",
        "Vad grannar betalade varandra för en kWh, kvart för kvart, och hur mycket de handlade.",
    ),
    "prices.desc": (
        "Prices from slot {first} to slot {last} as a line, volumes as bars. The table below has each day.",
        "Priser från period {first} till {last} som en linje, volymer som staplar. Tabellen nedan har varje dag.",
    ),
    "day": ("Day", "Dag"),
    "lowest": ("Lowest", "Lägst"),
    "mean": ("Mean, by volume", "Medel, viktat"),
    "highest": ("Highest", "Högst"),
    "volume": ("Volume", "Volym"),
    "slots": ("Slots", "Perioder"),
    "slot": ("Slot", "Period"),
    "price": ("Price", "Pris"),
    "each": ("Each slot", "Varje period"),
    # home
    "home.page": ("Home {home}", "Hem {home}"),
    "home.lead": (
        "Computed from the ledger alone: signed readings and orders, by the market's rules.",
        "Beräknat ur liggaren ensam: undertecknade avläsningar och beställningar, efter marknadens regler.",
    ),
    "home.balance": ("On the market now", "På marknaden nu"),
    "bill": ("The bill", "Räkningen"),
    "bill.days": ("The last {days} days", "De senaste {days} dagarna"),
    "bill.all": ("From the beginning", "Från början"),
    "bill.period": ("Period", "Tid"),
    "bill.bought": ("Bought from neighbours", "Köpt av grannar"),
    "bill.sold": ("Sold to neighbours", "Sålt till grannar"),
    "bill.from_grid": ("From the grid", "Från elnätet"),
    "bill.to_grid": ("To the grid", "Till elnätet"),
    "bill.fee": ("Grid fee", "Nätavgift"),
    "bill.unpaid": ("Feed-in that could not be paid", "Inmatning som inte kunde betalas"),
    "bill.cost": ("To pay", "Att betala"),
    "bill.alone": ("Without the market", "Utan marknaden"),
    "bill.saved": ("Better off by", "Bättre med"),
    "bill.what": ("What", "Vad"),
    "bill.energy": ("Energy", "Energi"),
    "bill.money": ("Money, {symbol}", "Pengar, {symbol}"),
    "home.events": ("What concerns this home", "Det som rör hemmet"),
    # grants
    "grants.page": ("The register of grants", "Registret över medgivanden"),
    "grants.lead": (
        "Who may read medical records changes here. The register is opaque by design.",
        "Här ändras vem som får läsa journaler. Registret är ogenomskinligt med avsikt.",
    ),
    "grants.can": ("What can be seen", "Vad som syns"),
    "grants.can.1": (
        "That a grant was given or revoked, when, and under which pseudonym: a patient has a new one for every reader.",
        "Att ett medgivande gavs eller återkallades, när, och under vilken pseudonym: en patient har en ny för varje"
        " läsare.",
    ),
    "grants.can.2": (
        "That an organisation opened a record in an emergency, and which one.",
        "Att en organisation öppnade en journal i ett nödläge, och vilken.",
    ),
    "grants.cant": ("What can't be seen", "Vad som inte syns"),
    "grants.cant.1": (
        "Who the patient is, who may read, what, for what purpose and how long: the chain has only a commitment to it.",
        "Vem patienten är, vem som får läsa, vad, varför och hur länge: kedjan har bara ett bindande fingeravtryck.",
    ),
    "grants.cant.2": (
        "What was read. Custodians log it, and post heads of their logs; patients see their own.",
        "Vad som lästes. Vårdgivarna loggar det och lägger ut loggarnas huvuden; patienter ser det som är deras.",
    ),
    "grants.latest": ("Latest changes", "Senaste ändringar"),
    # logs
    "logs.page": ("Access logs", "Åtkomstloggar"),
    "logs.lead": (
        "A custodian writes down each release of a record, and posts the head of its log: a fingerprint of all entries."
        " What it posted it can't rewrite unseen.",
        "En vårdgivare skriver upp varje utlämnande av en journal och lägger ut loggens huvud: ett fingeravtryck av"
        " alla poster. Det som lagts ut kan inte skrivas om utan att det syns.",
    ),
    "log.page": ("A custodian's access log", "En vårdgivares åtkomstlogg"),
    "log.heads": ("Heads posted", "Utlagda huvuden"),
    "log.size": ("Entries", "Poster"),
    "log.root": ("Fingerprint", "Fingeravtryck"),
    "log.follows": ("Follows", "Följer på"),
    "custodian": ("Custodian", "Vårdgivare"),
    # invoices
    "invoices.page": ("An invoice", "En faktura"),
    "invoices.lead": (
        "Paste an invoice (liggare:pay-…) to see who asks for what, whether the payee signed it, and whether it is"
        " paid. What it is for stands in the invoice alone, not on the chain.",
        "Klistra in en faktura (liggare:pay-…) för att se vem som begär vad, om mottagaren undertecknat den och om den"
        " är betald. Vad den gäller står bara i fakturan, inte på kedjan.",
    ),
    "invoices.label": ("Invoice", "Faktura"),
    "invoices.show": ("Show", "Visa"),
    "invoice.text": ("For", "Gäller"),
    "invoice.anyone": ("anyone", "vem som helst"),
    "invoice.before": ("To be paid before", "Betalas före"),
    "invoice.id": ("Id", "Id"),
    "invoice.signed": ("The payee signed exactly this.", "Mottagaren undertecknade just detta."),
    "invoice.unsigned": (
        "The payee did NOT sign this: do not pay it.",
        "Mottagaren har INTE undertecknat detta: betala den inte.",
    ),
    "invoice.state": ("State", "Läge"),
    "invoice.open": ("open", "obetald"),
    "invoice.paid": ("paid", "betald"),
    "invoice.expired": ("expired", "för sen"),
    "invoice.void": ("void: it can't be paid any more", "ogiltig: den kan inte betalas längre"),
    "invoice.qr": ("QR code of the invoice", "Fakturans QR-kod"),
    # check
    "check": ("Check this yourself", "Kontrollera själv"),
    "check.payment": (
        "Your browser fetches this payment from a node that you choose, not from this server, and checks the payer's"
        " signature and that the payment is in the chain.",
        "Din webbläsare hämtar betalningen från en nod som du väljer, inte från den här servern, och kontrollerar"
        " betalarens underskrift och att betalningen finns i kedjan.",
    ),
    "check.slot": (
        "Your browser fetches orders and readings from a node that you choose, not from this server, and computes price"
        " and fills anew.",
        "Din webbläsare hämtar beställningar och avläsningar från en nod som du väljer, inte från den här servern, och"
        " räknar om pris och fördelning.",
    ),
    "check.log": (
        "Your browser fetches the heads from a node that you choose, not from this server, and checks that each extends"
        " the one before; with a copy of the log, also its entries.",
        "Din webbläsare hämtar huvudena från en nod som du väljer, inte från den här servern, och kontrollerar att vart"
        " och ett fortsätter det förra; med en kopia av loggen också dess poster.",
    ),
    "check.noscript": (
        "This needs JavaScript. In a terminal “liggare verify” checks all of the ledger.",
        "Detta kräver JavaScript. I en terminal kontrollerar ”liggare verify” hela liggaren.",
    ),
    # errors
    "error.400": ("That can't be looked up", "Det går inte att slå upp"),
    "error.404": ("There is no such thing on this ledger", "Det finns inte i den här liggaren"),
    "error.405": ("This can only be read", "Här går det bara att läsa"),
    "error.500": ("Something broke here", "Något gick sönder här"),
    "error.503": ("The ledger can't be read now", "Liggaren kan inte läsas just nu"),
    "error.fault": (
        "The fault is this server's and is written down. What stands on the ledger is untouched.",
        "Felet är serverns och är antecknat. Det som står i liggaren är orört.",
    ),
    "error.page": ("There is no such page.", "Sidan finns inte."),
    "error.database": (
        "The index's database does not answer. Try again in some seconds.",
        "Indexets databas svarar inte. Försök igen om några sekunder.",
    ),
    "error.term": (
        "{given} is neither an address, nor an id or transaction of 32 bytes (0x…), nor such as slot 12 or home 3.",
        "{given} är varken en adress, ett id eller en transaktion på 32 byte (0x…), eller något som period 12 eller hem"
        " 3.",
    ),
    "error.address": (
        "{given} is no address, or its checksum is wrong: a character may be mistyped.",
        "{given} är ingen adress, eller så stämmer inte kontrollsumman: ett tecken kan vara fel.",
    ),
    "error.transaction": (
        "The index has no event of the transaction {given}.",
        "Indexet har ingen händelse från transaktionen {given}.",
    ),
    "error.payment": (
        "Log {log} of transaction {given} is no payment that the index has.",
        "Logg {log} i transaktionen {given} är ingen betalning som indexet har.",
    ),
    "error.id": ("Nothing on the ledger names {given}.", "Inget i liggaren nämner {given}."),
    "error.home": ("There is no home {given}.", "Det finns inget hem {given}."),
    "error.market": ("This ledger has no energy market.", "Den här liggaren har ingen energimarknad."),
    "error.log": ("{given} has posted no log.", "{given} har inte lagt ut någon logg."),
    "error.invoice": ("This is no invoice of this ledger: {why}", "Det här är ingen faktura i den här liggaren: {why}"),
}


def say(lang: str, key: str, **values: Any) -> str:
    """Return words in a language, with values put in."""
    return WORDS[key][lang == "sv"].format(**values)


def chosen(query: str | None, cookie: str | None, accepted: str) -> str:
    """Return the language: that asked for, else that chosen before, else the browser's, else English."""
    for each in (query, cookie):
        if each in LANGUAGES:
            return str(each)
    ranked = []
    for place, each in enumerate(accepted[:200].split(",")):
        name, _, weight = each.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), place, name[:2].lower()))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(ranked) if name in LANGUAGES), "en")
