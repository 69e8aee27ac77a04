"""Plots of prices, energy and savings: pictures (PNG, SVG) by Matplotlib, pages to look around in (HTML) by Plotly.

A page holds all it needs and fetches nothing. What is drawn is the same in both: panels of lines and bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from liggare.energy.report import by_home, by_slot
from liggare.energy.settlement import Tariffs
from liggare.energy.simulate import Study
from liggare.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PLOTS", "Panel", "draw", "of_prices", "of_study"]

PLOTS = (".png", ".svg", ".html")
"""The forms of file that plots are written in."""
KRONA = 10**6
BY_DAY = 14 * 96
"""More slots than this are drawn day by day."""
COLOURS = ("#1b6ca8", "#e0a100", "#2f8f5b", "#b5443c")


@dataclass
class Panel:
    """One of a plot's panels: what is along it, then lines or bars by name."""

    title: str
    unit: str
    along: Sequence[Any]
    lines: dict[str, Any] = field(default_factory=dict)
    bars: dict[str, Any] = field(default_factory=dict)


def of_study(study: Study) -> list[Panel]:
    """Return a study's panels: energy, prices, what each home saved."""
    frame = _coarse(by_slot(study))
    homes = by_home(study)[:-1]
    kwh = {name: frame[f"{name}_wh"] / 1000 for name in ("load", "sun", "imported", "volume")}
    names = {"load": "load", "sun": "sun", "imported": "taken by homes that lack", "volume": "bought from neighbours"}
    saved = Panel(
        "Saved against the grid alone",
        "currency",
        [str(name).replace("_", " ") for name in homes["home"]],
        bars={"saved": homes["saved"] / KRONA},
    )
    energy = Panel("Energy", _per(frame), frame["time"], lines={names[name]: each for name, each in kwh.items()})
    return [energy, _price(frame, study.tariffs), saved]


def of_prices(frame: pd.DataFrame, tariffs: Tariffs) -> list[Panel]:
    """Return the panels of a table of slots with `time`, `price`, `volume_wh`."""
    frame = _coarse(frame)
    volume = Panel("Volume", _per(frame), frame["time"], bars={"bought from neighbours": frame["volume_wh"] / 1000})
    return [_price(frame, tariffs), volume]


def _price(frame: pd.DataFrame, tariffs: Tariffs) -> Panel:
    flat = np.ones(len(frame))
    lines = {
        "price": frame["price"].where(frame["volume_wh"] > 0) / 1000,
        "grid sells": flat * tariffs.retail / 1000,
        "grid takes": flat * tariffs.feed_in / 1000,
    }
    return Panel("Price, where there was trade", "currency per kWh", frame["time"], lines=lines)


def _coarse(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the slots, or the days where there are many: sums of energy, the mean price by volume."""
    if len(frame) <= BY_DAY:
        return frame
    sums = [name for name in frame if str(name).endswith("_wh")]
    value = (frame["price"] * frame["volume_wh"]).rename("value")
    days = frame[sums].join(value).groupby(frame["time"].dt.floor("D")).sum().reset_index()
    days["price"] = days["value"] / days["volume_wh"].where(days["volume_wh"] > 0)
    return days


def _per(frame: pd.DataFrame) -> str:
    return "kWh per day" if "value" in frame else "kWh per slot"


def draw(panels: Sequence[Panel], path: Path, title: str) -> None:
    """Draw to a file as its suffix says. Raises UsageError, DataError."""
    if path.suffix not in PLOTS:
        raise UsageError(f"{path.name}: plots are written as {', '.join(PLOTS)}")
    try:
        (_page if path.suffix == ".html" else _picture)(panels, path, title)
    except OSError as exc:
        raise DataError(f"{path} can't be written: {exc.strerror}") from None


def _picture(panels: Sequence[Panel], path: Path, title: str) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "liggare", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(9, 2.6 * len(panels)), layout="constrained")
        figure.suptitle(title)
        for axes, panel in zip(np.atleast_1d(figure.subplots(len(panels))), panels, strict=True):
            axes.set_title(panel.title, loc="left")
            axes.set_ylabel(panel.unit)
            for colour, (name, values) in zip(COLOURS, panel.lines.items(), strict=False):
                axes.plot(panel.along, values, label=name, color=colour, linewidth=0.9)
            for name, values in panel.bars.items():
                axes.bar(panel.along, values, label=name, color=COLOURS[0], width=_width(panel.along))
            if isinstance(panel.along[0], str):
                axes.tick_params("x", rotation=45)
            if len(panel.lines) + len(panel.bars) > 1:
                axes.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 0.98))
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _width(along: Sequence[Any]) -> Any:
    """Return how wide bars are: a part of what lies between two of them."""
    return 0.8 if isinstance(along[0], str) or len(along) < 2 else (along[1] - along[0]) * 0.9


def _page(panels: Sequence[Panel], path: Path, title: str) -> None:
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(panels), subplot_titles=[panel.title for panel in panels])
    for row, panel in enumerate(panels, 1):
        for colour, (name, values) in zip(COLOURS, panel.lines.items(), strict=False):
            line = graph_objects.Scatter(x=panel.along, y=values, name=name, line={"color": colour, "width": 1})
            figure.add_trace(line, row=row, col=1)
        for name, values in panel.bars.items():
            bar = graph_objects.Bar(x=panel.along, y=values, name=name, marker_color=COLOURS[0])
            figure.add_trace(bar, row=row, col=1)
        figure.update_yaxes(title_text=panel.unit, row=row, col=1)
    figure.update_layout(title=title, height=330 * len(panels), template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)
