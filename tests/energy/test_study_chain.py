"""A study and the chain: the same slots on Anvil have the study's prices, volumes and accounts, to the unit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liggare.energy.agents import Crowd
from liggare.energy.homes import HomeSeries
from liggare.energy.simulate import Neighbourhood, simulate
from scripts.bench_energy_chain import DEPOSIT, FUNDS, TARIFFS, Street, neighbourhood
from tests.nodes import node

SLOTS = slice(24, 44)
"""Of the day: from sunrise to noon."""


@pytest.fixture(scope="module")
def study():
    """Twenty slots of the 17 homes."""
    day = neighbourhood(1)
    homes = [HomeSeries(home.name, home.load[SLOTS], home.sun[SLOTS]) for home in day.homes]
    crowd = Crowd.of(["fixed"], len(homes), TARIFFS, 1)
    return simulate(Neighbourhood(homes, day.begins), TARIFFS, crowd, deposit=DEPOSIT, funds=FUNDS)


def test_a_study_on_a_chain_is_the_same_to_the_unit(study):
    wishes = Crowd.of(["fixed"], 17, TARIFFS, 1).wishes(1)
    with node("anvil") as anvil:
        street = Street(anvil, study)
        street.settle_in(wishes.buy[0].tolist(), wishes.sell[0].tolist())
        begin = street.energy.next_slot()
        result = street.run(batch=8)
        assert study.volume.sum() > 1_000
        assert (result.slots, result.homes) == (20, 17)
        assert 1_000 < result.gas / 20 / 17 < 6_000
        street.study = replace(study, price=study.price + 1)
        with pytest.raises(RuntimeError, match="slots are not the study's"):
            street.check(begin)
        street.study = replace(study, till=replace(study.till, utility=study.till.utility + 1))
        with pytest.raises(RuntimeError, match="accounts are not the study's"):
            street.check(begin)
