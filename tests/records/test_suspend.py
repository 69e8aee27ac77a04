"""`suspend`, `resume`, `changeAccreditor`: the accreditor's other verbs."""

from __future__ import annotations

import pytest
from brownie import CareRegistry

from tests.support import refused

ZERO = "0x" + "0" * 40


def test_a_suspension_bites_and_ends(accredited, operator, hospital):
    suspended = accredited.suspend(hospital.address, {"from": operator})
    assert accredited.standingOf(hospital.address)[0] == 1
    assert suspended.events["Suspended"]["organisation"] == hospital.address
    resumed = accredited.resume(hospital.address, {"from": operator})
    assert accredited.standingOf(hospital.address)[0] == 4
    assert resumed.events["Resumed"]["organisation"] == hospital.address


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_a_stranger_can_neither_suspend_nor_resume(accredited, operator, stranger, hospital, verb):
    with refused(CareRegistry, "CareCallerNotAccreditor", stranger.address, operator.address):
        getattr(accredited, verb)(hospital.address, {"from": stranger})


@pytest.mark.parametrize("verb", ["suspend", "resume"])
def test_who_was_never_accredited_can_be_neither_suspended_nor_resumed(accredited, operator, clinic, verb):
    with refused(CareRegistry, "CareNotAccredited", clinic.address):
        getattr(accredited, verb)(clinic.address, {"from": operator})


def test_a_suspension_does_not_double(accredited, operator, hospital):
    with refused(CareRegistry, "CareSuspensionUnchanged", hospital.address, False):
        accredited.resume(hospital.address, {"from": operator})
    accredited.suspend(hospital.address, {"from": operator})
    with refused(CareRegistry, "CareSuspensionUnchanged", hospital.address, True):
        accredited.suspend(hospital.address, {"from": operator})


def test_the_role_is_handed_on(accredited, operator, stranger, hospital):
    receipt = accredited.changeAccreditor(stranger, {"from": operator})
    assert receipt.events["AccreditorChanged"] == {"previousAccreditor": operator, "newAccreditor": stranger}
    accredited.suspend(hospital.address, {"from": stranger})
    with refused(CareRegistry, "CareCallerNotAccreditor", operator.address, stranger.address):
        accredited.resume(hospital.address, {"from": operator})


def test_a_stranger_cannot_take_the_role(accredited, operator, stranger):
    with refused(CareRegistry, "CareCallerNotAccreditor", stranger.address, operator.address):
        accredited.changeAccreditor(stranger, {"from": stranger})


def test_the_role_cannot_go_to_nobody(accredited, operator):
    with refused(CareRegistry, "CareInvalidAccreditor", ZERO):
        accredited.changeAccreditor(ZERO, {"from": operator})
    with refused(CareRegistry, "CareInvalidAccreditor", ZERO):
        CareRegistry.deploy(ZERO, {"from": operator})
