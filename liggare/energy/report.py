"""What a study tells: who got what and paid what, by home and by slot, as tables for people and for programs.

| word | means |
|---|---|
| alone | without the market: all from the grid at `retail`, all to it at `feed_in`; roof and battery as they are |
| self-sufficiency | the part of the load that was not taken from the grid |
| self-consumption | the part of the sun that was not given to the grid |
| cost, saved | units of 10^-6 of the money; saved is the cost alone less the cost |
| CO2 | kg: what was taken from the grid, at the grid's kg per kWh in that slot |

What a neighbour sold counts as not from the grid, and as without CO2. The same electrons flow with and without a
market, so CO2 tells whose it is rather than that there is less of it; batteries do change what flows. Money and Wh are
whole numbers throughout; the parts are rounded for people only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liggare.energy.messages import SLOT_SECONDS
from liggare.energy.simulate import Study
from liggare.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["TABLES", "by_home", "by_slot", "overview", "summary", "write_table"]

TABLES = (".csv", ".parquet")
"""The forms of file that tables are written in."""
KRONA = 10**6


def by_home(study: Study) -> pd.DataFrame:
    """Return a row per home and, last, one of all of them: energy in Wh, money in units of 10^-6."""
    import pandas as pd

    sums = {
        "load": study.load,
        "sun": study.sun,
        "imported": study.imported,
        "exported": study.exported,
        "bought": study.bought,
        "sold": study.sold,
    }
    frame = pd.DataFrame({f"{name}_wh": each.sum(axis=0) for name, each in sums.items()})
    tariffs = study.tariffs
    frame["cost_alone"] = frame["imported_wh"] * tariffs.retail - frame["exported_wh"] * tariffs.feed_in
    frame["cost"] = -study.earned.sum(axis=0)
    frame["saved"] = frame["cost_alone"] - frame["cost"]
    if study.carbon is not None:
        frame["co2_alone_kg"] = study.carbon @ study.imported / 1000
        frame["co2_kg"] = study.carbon @ (study.imported - study.bought) / 1000
    frame.loc[len(frame)] = frame.sum()
    whole = [name for name in frame if not str(name).endswith("_kg")]
    frame[whole] = frame[whole].astype(np.int64)
    load, sun = frame["load_wh"].replace(0, np.nan), frame["sun_wh"].replace(0, np.nan)
    frame["self_sufficiency_alone"] = 1 - frame["imported_wh"] / load
    frame["self_sufficiency"] = 1 - (frame["imported_wh"] - frame["bought_wh"]) / load
    frame["self_consumption_alone"] = 1 - frame["exported_wh"] / sun
    frame["self_consumption"] = 1 - (frame["exported_wh"] - frame["sold_wh"]) / sun
    frame.insert(0, "home", [*study.names, "all"])
    return frame


def by_slot(study: Study) -> pd.DataFrame:
    """Return a row per slot: when it begins, prices in thousandths per kWh, energy of all homes in Wh."""
    import pandas as pd

    sums = {"load": study.load, "sun": study.sun, "imported": study.imported, "exported": study.exported}
    frame = pd.DataFrame(
        {
            "time": pd.date_range(study.begins, periods=len(study.price), freq=f"{SLOT_SECONDS}s"),
            "price": study.price,
            "lo": study.lo,
            "hi": study.hi,
            "volume_wh": study.volume,
            **{f"{name}_wh": each.sum(axis=1) for name, each in sums.items()},
            "feed_in_unpaid": study.unpaid,
        }
    )
    if study.carbon is not None:
        frame["carbon_kg_per_kwh"] = study.carbon
    return frame


def summary(study: Study) -> dict[str, Any]:
    """Return the study in a few numbers, for machines: Wh, units of 10^-6, thousandths per kWh, parts of 1."""
    frame = by_home(study)
    total = {str(name): frame[name].iloc[-1].item() for name in frame if name != "home"}
    possible = int(np.minimum(study.imported.sum(axis=1), study.exported.sum(axis=1)).sum())
    volume = int(study.volume.sum())
    traded = study.volume > 0
    return {
        "homes": len(study.names),
        "slots": len(study.price),
        "begins": study.begins.isoformat(),
        "volume_wh": volume,
        "possible_wh": possible,
        "slots_traded": int(traded.sum()),
        "price_mean": float(study.price @ study.volume / volume) if volume else None,
        "price_least": int(study.price[traded].min()) if volume else None,
        "price_most": int(study.price[traded].max()) if volume else None,
        "feed_in_unpaid": int(study.unpaid.sum()),
        "homes_better_off": int((frame["saved"][:-1] > 0).sum()),
        "homes_worse_off": int((frame["saved"][:-1] < 0).sum()),
        **{name: None if math.isnan(value) else value for name, value in total.items()},
    }


def overview(study: Study) -> Table:
    """Return the table of homes, for people: kWh, and the currency."""
    from rich.table import Table

    heads = ["home", "load", "sun", "from grid", "bought", "sold", "self-suff.", "self-cons.", "alone", "cost", "saved"]
    if study.carbon is not None:
        heads += ["CO2 kg"]
    table = Table(*heads, caption="energy in kWh; parts are alone → with the market; money in the currency")
    for column in table.columns[1:]:
        column.justify = "right"
    frame = by_home(study)
    for number, row in frame.iterrows():
        if number == len(frame) - 1:
            table.add_section()
        cells = [str(row["home"]).replace("_", " ")]
        cells += [f"{row[name] / 1000:,.0f}" for name in ("load_wh", "sun_wh")]
        cells += [f"{(row['imported_wh'] - row['bought_wh']) / 1000:,.0f}"]
        cells += [f"{row[name] / 1000:,.0f}" for name in ("bought_wh", "sold_wh")]
        cells += [
            f"{_part(row[f'{name}_alone'])} → {_part(row[name])}" for name in ("self_sufficiency", "self_consumption")
        ]
        cells += [f"{row[name] / KRONA:,.2f}" for name in ("cost_alone", "cost", "saved")]
        if study.carbon is not None:
            cells += [f"{row['co2_alone_kg']:,.0f} → {row['co2_kg']:,.0f}"]
        table.add_row(*cells)
    return table


def _part(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0%}"


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as its file's suffix says, CSV or Parquet. Raises UsageError, DataError."""
    if path.suffix not in TABLES:
        raise UsageError(f"{path.name}: tables are written as {' or '.join(TABLES)}")
    try:
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
    except OSError as exc:
        raise DataError(f"{path} can't be written: {exc.strerror}") from None
