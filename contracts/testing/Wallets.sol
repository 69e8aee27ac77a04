// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A contract wallet that takes its owner's signature (ERC-1271).
contract OwnedWallet is IERC1271 {
    address public immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 digest, bytes memory signature) external view returns (bytes4) {
        (address recovered, ECDSA.RecoverError problem, ) = ECDSA.tryRecover(digest, signature);
        bool ok = problem == ECDSA.RecoverError.NoError && recovered == owner;
        return ok ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @notice Answers every question with the whole of the gas it gets, or with a flood of bytes, or with nothing.
contract HostileWallet is IERC1271 {
    enum Mood {
        BurnGas,
        Flood,
        ShortAnswer,
        Revert
    }

    Mood public immutable mood;

    constructor(Mood mood_) {
        mood = mood_;
    }

    function isValidSignature(bytes32, bytes memory) external view returns (bytes4) {
        if (mood == Mood.BurnGas) {
            while (true) {}
        } else if (mood == Mood.Flood) {
            assembly {
                return(0, 4000)
            }
        } else if (mood == Mood.ShortAnswer) {
            assembly {
                mstore(0, 0x1626ba7e00000000000000000000000000000000000000000000000000000000)
                return(0, 4)
            }
        }
        revert("no");
    }
}

/// @notice Takes its owner's signature, but tries to act while it is asked: once that works, it takes nothing.
contract ReentrantWallet {
    address public immutable owner;
    address public target;
    bytes public call;

    constructor(address owner_) {
        owner = owner_;
    }

    function aim(address target_, bytes calldata call_) external {
        (target, call) = (target_, call_);
    }

    function isValidSignature(bytes32 digest, bytes memory signature) external returns (bytes4) {
        // an attempt to write takes all the gas that it gets: keep some for the answer
        (bool acted, ) = target.call{gas: 100_000}(call);
        if (target == address(0)) acted = false;
        (address recovered, ECDSA.RecoverError problem, ) = ECDSA.tryRecover(digest, signature);
        bool ok = !acted && problem == ECDSA.RecoverError.NoError && recovered == owner;
        return ok ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @notice Takes every signature, and on being asked tries to make a call of its own: to spend the money twice.
/// @dev isValidSignature is not `view` here, as a thief's need not be.
contract ThievingWallet {
    address private _target;
    bytes private _calldata;

    /// @notice What to call when asked for a signature.
    function plan(address target, bytes calldata data) external {
        _target = target;
        _calldata = data;
    }

    /// @notice Makes the planned call: to see that it would do harm if it got through.
    function act() public returns (bool ok) {
        (ok, ) = _target.call(_calldata);
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        act();
        return IERC1271.isValidSignature.selector;
    }
}
