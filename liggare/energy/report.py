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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liggare.energy.messages import SLOT_SECONDS
from liggare.energy.simulate import Study
from liggare.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["TABLES", "by_home", "by_slot", "overview", "summary", "words", "write_table"]

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


def overview(study: Study) -> list[Table]:
    """Return tables of the homes, for people: energy in kWh, then parts and money in the currency."""
    frame = by_home(study)
    frame["from_grid_wh"] = frame["imported_wh"] - frame["bought_wh"]
    frame["to_grid_wh"] = frame["exported_wh"] - frame["sold_wh"]
    heads = {"load": "load", "sun": "sun", "from_grid": "from grid", "bought": "bought", "to_grid": "to grid"}
    heads["sold"] = "sold"
    energy = {head: [f"{wh / 1000:,.0f}" for wh in frame[f"{name}_wh"]] for name, head in heads.items()}
    means = {
        head: [f"{_part(alone)} → {_part(now)}" for alone, now in zip(frame[f"{name}_alone"], frame[name], strict=True)]
        for name, head in (("self_sufficiency", "self-suff."), ("self_consumption", "self-cons."))
    }
    digits = 2 if frame["cost_alone"].abs().max() < 10_000 * KRONA else 0
    for name, head in (("cost_alone", "alone"), ("cost", "cost"), ("saved", "saved")):
        means[head] = [f"{units / KRONA:,.{digits}f}" for units in frame[name]]
    if study.carbon is not None:
        means["CO2 kg"] = [f"{kg:,.0f}" for kg in frame["co2_kg"]]
    names = [str(name).replace("_", " ") for name in frame["home"]]
    return [_table("Energy, kWh", names, energy), _table("Alone → with the market, %; money, rounded", names, means)]


def _table(title: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("home", no_wrap=True)
    for head in columns:
        table.add_column(head, justify="right")
    for name, *cells in zip(names, *columns.values(), strict=True):
        table.add_row(name, *cells, end_section=name == names[-2])
    return table


def words(study: Study) -> list[str]:
    """Return what the market did, in sentences."""
    found = summary(study)
    volume, possible = found["volume_wh"], found["possible_wh"]
    lines = [
        f"{volume / 1000:,.1f} kWh changed hands in {found['slots_traded']:,} of {found['slots']:,} slots;"
        f" {possible / 1000:,.1f} could have: one home's surplus while another lacked."
    ]
    if volume:
        prices = (found[name] / 1000 for name in ("price_least", "price_most", "price_mean"))
        lines.append("Prices were {:.3f} to {:.3f} per kWh, {:.3f} on the average of all kWh.".format(*prices))
    better, worse = found["homes_better_off"], found["homes_worse_off"]
    lines.append(f"{better} of {found['homes']} homes are better off than with the grid alone, {worse} worse.")
    if study.carbon is not None:
        alone, now = found["co2_alone_kg"], found["co2_kg"]
        lines.append(f"What they took from the grid stands for {now:,.0f} kg of CO2; alone it would be {alone:,.0f}.")
    if unpaid := found["feed_in_unpaid"]:
        lines.append(f"The utility's money ran out: feed-in of {unpaid / KRONA:,.2f} was not paid.")
    return lines


def _part(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f}"


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
