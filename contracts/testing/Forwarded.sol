// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC2771Context} from "@openzeppelin/contracts/metatx/ERC2771Context.sol";
import {ERC2771Forwarder} from "@openzeppelin/contracts/metatx/ERC2771Forwarder.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Context} from "@openzeppelin/contracts/utils/Context.sol";

/// @notice OpenZeppelin's own way to pay without ether, as their wizard writes it: what the benchmark measures against.
contract Forwarder is ERC2771Forwarder("Forwarder") {}

/// @notice An ERC-20 that takes calls through that forwarder.
contract ForwardedMoney is ERC20, ERC2771Context {
    constructor(
        address forwarder,
        address[] memory members,
        uint256 each
    ) ERC20("Money", "MNY") ERC2771Context(forwarder) {
        for (uint256 i; i < members.length; ++i) _mint(members[i], each);
    }

    function _msgSender() internal view override(Context, ERC2771Context) returns (address) {
        return ERC2771Context._msgSender();
    }

    function _msgData() internal view override(Context, ERC2771Context) returns (bytes calldata) {
        return ERC2771Context._msgData();
    }

    function _contextSuffixLength() internal view override(Context, ERC2771Context) returns (uint256) {
        return ERC2771Context._contextSuffixLength();
    }
}
