"""Deploy the suite and record where it is: `brownie run deploy`.

One function for people, the demo and the tests' fixture, so that each test run tests it.
"""

import os
from pathlib import Path

from brownie import (
    CareRegistry,
    EnergyMarket,
    Escrow,
    RecordAccess,
    StablecoinVault,
    ZeroFeePayments,
    accounts,
    network,
    web3,
)

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployment, Deployments
from liggare.messages import address

CURRENCY = ("Liggare Krona", "LKR")
RETAIL, FEED_IN, GRID_FEE = 2_500, 600, 0
"""What the grid sells and takes at, and gets for local energy: thousandths of the currency per kWh."""
GATE, GRACE, TIMEOUT = 60, 600, 86_400
"""Seconds after a slot's end from which it may be cleared, cleared with readings missing, closed."""


def deploy(operator, folder: Path, token: str | None = None) -> Deployments:
    """Deploy every contract from `operator`, who also gets the roles, and write the record to `folder`.

    A vault needs an ERC-20 to keep, `token`: without one there is no vault.
    """
    made = {}

    def place(container, *arguments):
        contract = container.deploy(*arguments, {"from": operator})
        plain = [str(word) if isinstance(word, type(operator.address)) else word for word in arguments]
        made[container._name] = Deployment(
            address=address(contract.address),
            transaction=contract.tx.txid,
            block=contract.tx.block_number,
            arguments=plain,
            sourceHash=artifact(container._name).source_hash,
        )
        return contract

    money = place(ZeroFeePayments, *CURRENCY, operator.address)
    registry = place(CareRegistry, operator.address)
    place(RecordAccess, registry.address)
    first_slot = web3.eth.get_block("latest")["timestamp"] // 900 * 900
    people = operator.address, operator.address  # registrar and utility
    place(EnergyMarket, money.address, *people, RETAIL, FEED_IN, GRID_FEE, first_slot, [GATE, GRACE, TIMEOUT])
    place(Escrow, money.address)
    if token:
        money.addVault(place(StablecoinVault, money.address, token).address, {"from": operator})
    genesis = web3.eth.get_block(0)["hash"].to_0x_hex()
    record = Deployments(web3.eth.chain_id, genesis, made)
    record.save(folder)
    return record


def main() -> Deployments:
    operator = accounts.load(os.environ["LIGGARE_OPERATOR"]) if "LIGGARE_OPERATOR" in os.environ else accounts[0]
    record = deploy(operator, Path("deployments"), os.environ.get("LIGGARE_TOKEN"))
    for name, item in record.contracts.items():
        print(f"{name:16} {item.address} block {item.block}")
    print(f"recorded in deployments/{record.chain_id}.json ({network.show_active()})")
    return record
