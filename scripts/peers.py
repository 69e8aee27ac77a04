"""Other people's auctions on our books: run by `scripts/bench_matching.py` in an environment of theirs, never in ours.

One JSON document comes in on stdin: the peer's name, the folder of its sources, books of bids and offers as [limit,
Wh]. One goes out: seconds, price, volume and everybody's part. Limits are thousandths of the currency per kWh, as ours.

Both are under the GPL: they are called here as they stand, and nothing of them is in this tree. What they need of the
rest of their packages to be imported, but never call, is left out.
"""

from __future__ import annotations

import json
import sys
import time
import types
import warnings
from typing import Any

Book = list[list[int]]


def gsy(bids: Book, offers: Book) -> dict[str, Any]:
    """gsy-framework's pay-as-clear: energy in kWh and rates per kWh, both floats."""
    from gsy_framework.matching_algorithms.pay_as_clear_matching_algorithm import PayAsClearMatchingAlgorithm

    def orders(book: Book) -> list[dict[str, Any]]:
        return [
            {"id": str(number), "energy": wh / 1000, "energy_rate": limit / 1000}
            for number, (limit, wh) in enumerate(book)
            if wh
        ]

    data = {"market": {"slot": {"bids": orders(bids), "offers": orders(offers), "current_time": "now"}}}
    algorithm = PayAsClearMatchingAlgorithm()
    begin = time.process_time()
    found = algorithm.get_matches_recommendations(data)
    seconds = time.process_time() - begin
    bought, sold = [0.0] * len(bids), [0.0] * len(offers)
    for match in found:
        bought[int(match["bid"]["id"])] += match["selected_energy"] * 1000
        sold[int(match["offer"]["id"])] += match["selected_energy"] * 1000
    price = found[0]["trade_rate"] * 1000 if found else None
    return {"seconds": seconds, "price": price, "bought": bought, "sold": sold}


def lemlab(bids: Book, offers: Book) -> dict[str, Any]:
    """lemlab's two-sided auction (`clearing_pda`) at a uniform price: whole numbers in pandas."""
    import pandas as pd

    package = types.ModuleType("lemlab")  # its own __init__ asks for solvers and a database
    package.__path__ = [sys.path[0] + "/lemlab"]
    sys.modules["lemlab"] = package
    connection = types.ModuleType("lemlab.db_connection.db_connection")
    sys.modules["lemlab.db_connection.db_connection"] = connection
    parent = types.ModuleType("lemlab.db_connection")
    parent.__path__ = [sys.path[0] + "/lemlab/db_connection"]
    parent.db_connection = connection  # type: ignore[attr-defined]
    sys.modules["lemlab.db_connection"] = parent
    from lemlab.db_connection import db_param
    from lemlab.lem.clearing_ex_ante import clearing_pda

    def positions(book: Book, kind: str) -> pd.DataFrame:
        frame = pd.DataFrame(book, columns=[db_param.PRICE_ENERGY, db_param.QTY_ENERGY])
        frame[db_param.ID_USER] = range(len(frame))
        frame[db_param.TYPE_POSITION] = kind
        for name in ("QUALITY_ENERGY", "PREMIUM_PREFERENCE_QUALITY", "NUMBER_POSITION", "STATUS_POSITION"):
            frame[getattr(db_param, name)] = 0
        frame[db_param.T_SUBMISSION] = frame[db_param.TS_DELIVERY] = 900
        return frame

    rules = {
        "types_pricing_ex_ante": {0: "uniform"},
        "types_quality": {0: "na"},
        "share_quality_logging_extended": False,
    }
    frames = positions(offers, "offer"), positions(bids, "bid")
    database = types.SimpleNamespace(db_param=db_param)
    begin = time.process_time()
    cleared = clearing_pda(database, rules, *frames)[0]
    seconds = time.process_time() - begin
    bought, sold, price = [0] * len(bids), [0] * len(offers), None
    for _, row in cleared.iterrows():
        bought[int(row[db_param.ID_USER + "_bid"])] += int(row[db_param.QTY_ENERGY_TRADED])
        sold[int(row[db_param.ID_USER + "_offer"])] += int(row[db_param.QTY_ENERGY_TRADED])
        price = int(row[db_param.PRICE_ENERGY_MARKET_ + "uniform"])
    return {"seconds": seconds, "price": price, "bought": bought, "sold": sold}


def main() -> None:
    """Answer one document."""
    asked = json.load(sys.stdin)
    sys.path.insert(0, asked["folder"])
    warnings.simplefilter("ignore")
    answers = [{"gsy": gsy, "lemlab": lemlab}[asked["peer"]](*book) for book in asked["books"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
