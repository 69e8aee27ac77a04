"""The deployment record is believed only as far as the chain and the sources bear it out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from liggare.chain.deployments import Deployments
from liggare.errors import DeploymentMismatch, DeploymentMissing, WrongChain

NAME = "ZeroFeePayments"


def changed(record, **values):
    return replace(record, contracts={**record.contracts, NAME: replace(record.contracts[NAME], **values)})


def test_the_script_wrote_a_record_that_the_chain_bears_out(deployments, deployments_folder, w3):
    loaded = Deployments.load(deployments_folder, 1337)
    assert loaded == deployments
    loaded.check(w3)


def test_a_chain_without_a_record_is_named(tmp_path):
    with pytest.raises(DeploymentMissing, match="no record of chain 1337"):
        Deployments.load(tmp_path, 1337)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"chainId": 1337}', '{"chainId": 5, "genesis": "", "contracts": {}}']
)
def test_a_malformed_record_is_refused(tmp_path, text):
    (tmp_path / "1337.json").write_text(text)
    with pytest.raises(DeploymentMismatch):
        Deployments.load(tmp_path, 1337)


def test_a_record_with_a_mistyped_address_is_refused(tmp_path, deployments_folder):
    document = json.loads((deployments_folder / "1337.json").read_text())
    document["contracts"][NAME]["address"] = "0x12"
    (tmp_path / "1337.json").write_text(json.dumps(document))
    with pytest.raises(DeploymentMismatch, match="0x12"):
        Deployments.load(tmp_path, 1337)


def test_another_chain_is_refused(deployments, w3):
    with pytest.raises(WrongChain):
        replace(deployments, chain_id=5).check(w3)


def test_a_restarted_chain_is_refused(deployments, w3):
    with pytest.raises(DeploymentMismatch, match="genesis"):
        replace(deployments, genesis="0x" + "00" * 32).check(w3)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"address": "0x" + "11" * 20}, "the record says"),
        ({"block": 999}, "the record says"),
        ({"transaction": "0x" + "22" * 32}, "no transaction"),
        ({"sourceHash": "0" * 64}, "other sources"),
        ({"arguments": ["Other", "LKR", "0x" + "33" * 20]}, "is not this release's"),
    ],
    ids=["address", "block", "transaction", "sources", "arguments"],
)
def test_a_record_that_differs_in_one_field_is_refused(deployments, w3, values, why):
    with pytest.raises(DeploymentMismatch, match=why):
        changed(deployments, **values).check(w3)


def test_other_code_at_the_address_is_found(deployments, w3, operator, OwnedWallet):
    """A contract that somebody else made can't pass for ours, whatever the record says."""
    impostor = OwnedWallet.deploy(operator, {"from": operator})
    record = changed(
        deployments, address=impostor.address, transaction=impostor.tx.txid, block=impostor.tx.block_number
    )
    with pytest.raises(DeploymentMismatch, match="is not this release's"):
        record.check(w3)
