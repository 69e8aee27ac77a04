"""Orders cleared per second, ours and other people's: `python -m scripts.bench_matching`.

All on one core, on the same books, in one run: half bids, half offers, limits anywhere between the tariffs, up to 5 kWh
each. Times are the processor's, from orders in each one's own form to everybody's fill. The others are gsy-framework's
pay-as-clear and lemlab's two-sided auction, as their authors wrote them, if they are here:

    git clone https://github.com/gridsingularity/gsy-framework .toolchain/peers/gsy-framework
    git clone https://github.com/tum-ewk/lemlab .toolchain/peers/lemlab
    python -m venv .toolchain/peers/env
    .toolchain/peers/env/bin/pip install "numpy<2" "pandas<2.2" matplotlib pendulum redis avro jsonschema requests \
        kafka-python websockets iso3166 geocoder openpyxl tqdm ruamel.yaml sqlalchemy psycopg2-binary

Without them the table has the figures measured earlier on such a machine, and says so. `--write` also puts their
results on 100 small books into tests/energy/peers.json, with which tests/energy/test_peers.py compares ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from liggare.energy.matching import match

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".toolchain" / "peers"
NAMES = {"gsy": "gsy-framework, pay-as-clear", "lemlab": "lemlab, two-sided auction"}
FOLDERS = {"gsy": "gsy-framework", "lemlab": "lemlab"}
MEASURED = {"gsy": 48_500.0, "lemlab": 41_600.0}
"""Orders per second at 100,000, measured earlier: for where they can't run."""
FEED_IN, RETAIL = 600, 2_500
SMALL = 100_000
LARGE = 1_000_000
Book = list[list[int]]


@dataclass
class Result:
    """What one way reached."""

    name: str
    orders: int
    per_second: float
    note: str = ""


def book(orders: int) -> tuple[Book, Book]:
    """Return bids and offers as [limit, Wh], the same in each run."""
    random = np.random.default_rng(2022)
    made = np.stack([random.integers(FEED_IN, RETAIL + 1, orders), random.integers(1, 5_000, orders)], axis=1).tolist()
    return made[: orders // 2], made[orders // 2 :]


def ours(name: str, bids: Any, offers: Any, *, retail: int = RETAIL) -> Result:
    """Clear a book ten times; the best counts, as what else runs here only takes time."""
    bids, offers = (np.array(side, np.int64).T.copy() for side in (bids, offers))
    best = float("inf")
    for _ in range(10):
        begin = time.process_time()
        found = match(*bids, *offers, feed_in=FEED_IN, retail=retail)
        best = min(best, time.process_time() - begin)
    if not found.bought.sum() == found.sold.sum() == found.volume > 0:
        raise RuntimeError("the benchmark's book does not clear")
    orders = bids.shape[1] + offers.shape[1]
    return Result(name, orders, orders / best, f"{best:.3f} s")


def ours_from_lists(bids: Book, offers: Book) -> Result:
    """Clear a book that comes as Python's own numbers, as the others' do, and give fills back as such."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        sides = [np.array(side, np.int64).T for side in (bids, offers)]
        found = match(*sides[0], *sides[1], feed_in=FEED_IN, retail=RETAIL)
        fills = found.bought.tolist() + found.sold.tolist()
        best = min(best, time.process_time() - begin)
    return Result("ours, from and to Python lists", len(fills), len(fills) / best, f"{best:.3f} s")


def ask(peer: str, books: list[tuple[Book, Book]]) -> list[dict[str, Any]] | None:
    """Return a peer's answers to books; None where it is not here."""
    python, folder = PEERS / "env" / "bin" / "python", PEERS / FOLDERS[peer]
    if not (python.exists() and folder.exists()):
        return None
    asked = json.dumps({"peer": peer, "folder": str(folder), "books": books})
    command = [python, ROOT / "scripts" / "peers.py"]
    answered = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if answered.returncode:
        raise SystemExit(f"bench_matching: {peer} stopped: {answered.stderr.strip().splitlines()[-1]}")
    found: list[dict[str, Any]] = json.loads(answered.stdout)
    return found


def theirs(peer: str) -> Result:
    """Clear the book of 100,000 three times by a peer, or take what was measured earlier."""
    answers = ask(peer, [book(SMALL)] * 3)
    if answers is None:
        return Result(NAMES[peer], SMALL, MEASURED[peer], "not here: measured earlier on such a machine")
    best = min(each["seconds"] for each in answers)
    return Result(NAMES[peer], SMALL, SMALL / best, f"{best:.3f} s")


def table(results: list[Result]) -> str:
    """Return the results as the docs have them."""
    lines = ["| | orders | orders/s | seconds | ours is | from lists |", "|---|---:|---:|---|---:|---:|"]
    bases = [results[0], next(result for result in results if "lists" in result.name)]
    for result in results:
        theirs = result.name in NAMES.values()
        ratio = " | ".join(f"{base.per_second / result.per_second:,.0f} x" if theirs else "" for base in bases)
        lines.append(f"| {result.name} | {result.orders:,} | {result.per_second:,.0f} | {result.note} | {ratio} |")
    return "\n".join(lines)


def small_books() -> list[tuple[Book, Book]]:
    """Return 100 books of up to five bids and offers; half of them with few prices, so that ties are frequent."""
    random = np.random.default_rng(5)
    books = []
    for number in range(100):
        sides = []
        for count in random.integers(1, 6, 2):
            limits = (
                random.choice([800, 1_000, 1_500, 2_000], count) if number % 2 else random.integers(600, 2501, count)
            )
            sides.append(np.stack([limits, random.integers(1, 8, count)], axis=1).tolist())
        books.append((sides[0], sides[1]))
    return books


def write() -> None:
    """Write the peers' results on small books for the tests."""
    books = small_books()
    document: dict[str, Any] = {"books": books}
    for peer in NAMES:
        answers = ask(peer, books)
        if answers is None:
            raise SystemExit(f"bench_matching: {NAMES[peer]} is not in {PEERS.relative_to(ROOT)}")
        document[peer] = [
            {"price": each["price"] and round(each["price"])}
            | {side: [round(wh) for wh in each[side]] for side in ("bought", "sold")}
            for each in answers
        ]
    lines = [f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in document.items()]
    (ROOT / "tests" / "energy" / "peers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the peers' results on small books for the tests")
    words = parser.parse_args()
    if words.write:
        write()
    one_price = tuple([[[1_000, 2**24 - 1 - place % 7] for place in range(LARGE // 2)]] * 2)
    results = [
        ours("ours", *book(SMALL)),
        ours("ours", *book(LARGE)),
        ours_from_lists(*book(SMALL)),
        ours("ours, all at one price and of the largest size", one_price[0], one_price[1][1:]),
        ours("ours, prices up to 2^24", *book(LARGE), retail=2**24 - 2),
        *(theirs(peer) for peer in NAMES),
    ]
    print(table(results))


if __name__ == "__main__":
    main()
