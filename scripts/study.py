"""A year of the 17 measured homes under each kind of agent: `python -m scripts.study` prints the docs' tables.

With `--plot` it also draws docs/energy-year.svg anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from liggare.energy import plots, report
from liggare.energy.agents import Crowd
from liggare.energy.battery import Battery
from liggare.energy.homes import wheel
from liggare.energy.settlement import Tariffs
from liggare.energy.simulate import Neighbourhood, Study, simulate

ROOT = Path(__file__).resolve().parent.parent
KRONA = 10**6
TARIFFS = Tariffs(2_500, 600)
BATTERY = Battery(6_400, 5_000, 900)
"""That of each home in CityLearn's own schema."""
CASES = [(agents, battery) for battery in (None, BATTERY) for agents in ("fixed", "zero", "learning")]


def year(agents: str, battery: Battery | None) -> Study:
    """Run a year of the 17 homes, all with the same kind of agent; seed 1."""
    street = Neighbourhood.citylearn(wheel(ROOT / ".toolchain" / "data"))
    homes = len(street.homes)
    crowd, batteries = Crowd.of([agents], homes, TARIFFS, 1), [battery] * homes
    return simulate(street, TARIFFS, crowd, deposit=50_000 * KRONA, funds=1_000_000 * KRONA, batteries=batteries)


def cases() -> Iterator[str]:
    """Yield the table of all cases, line by line."""
    yield "| wishes | batteries | traded kWh | of what could be | mean price | saved | self-sufficiency | CO2 kg |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for agents, battery in CASES:
        found = report.summary(year(agents, battery))
        parts = [f"{100 * found[name]:.1f} %" for name in ("self_sufficiency_alone", "self_sufficiency")]
        cells = [
            agents,
            "yes" if battery else "no",
            f"{found['volume_wh'] / 1000:,.3f}",
            f"{100 * found['volume_wh'] / found['possible_wh']:.1f} %",
            f"{found['price_mean'] / 1000:.3f}",
            f"{found['saved'] / KRONA:,.2f}",
            " → ".join(parts),
            f"{found['co2_alone_kg']:,.0f} → {found['co2_kg']:,.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def homes(study: Study) -> Iterator[str]:
    """Yield the table of a study's homes, line by line."""
    yield "| home | load kWh | sun kWh | bought kWh | sold kWh | self-sufficiency | cost alone | cost | saved |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for _, row in report.by_home(study).iterrows():
        cells = [str(row["home"]).replace("_", " ")]
        cells += [f"{row[f'{name}_wh'] / 1000:,.3f}" for name in ("load", "sun", "bought", "sold")]
        cells += [f"{100 * row['self_sufficiency_alone']:.0f} → {100 * row['self_sufficiency']:.0f} %"]
        cells += [f"{row[name] / KRONA:,.4f}" for name in ("cost_alone", "cost", "saved")]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--plot", action="store_true", help="draw docs/energy-year.svg anew")
    words = parser.parse_args()
    print("\n".join(cases()), end="\n\n")
    study = year("fixed", None)
    print("\n".join(homes(study)))
    if words.plot:
        title = "A year of 17 homes from 1 August 2016, fixed wishes, no batteries"
        plots.draw(plots.of_study(study), ROOT / "docs" / "energy-year.svg", title)


if __name__ == "__main__":
    main()
