// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice An ERC-20 that anyone may mint, and that can be told to behave in the odd ways of real ones, at any time:
/// a fee can be switched on (USDT), an account can be blocked (USDC), a balance can shrink (stETH).
contract OddToken is ERC20 {
    enum Mood {
        Plain,
        ReturnsNothing,
        ReturnsFalse,
        ReturnsHalfAWord,
        MovesNothing,
        KeepsFromReceiver,
        TakesMoreFromSender,
        Paused
    }

    uint8 private immutable _places;

    Mood public mood;
    address public blocked;
    /// @dev Who is called in the middle of each transfer (as ERC-777 does), with what, and whether it must succeed.
    address public hooked;
    bytes public hookCall;
    bool public hookMustSucceed;
    bytes public hookAnswer;

    error TransfersPaused();
    error AccountBlocked(address account);

    constructor(uint8 places) ERC20("Odd Dollar", "ODD") {
        _places = places;
    }

    function decimals() public view override returns (uint8) {
        return _places;
    }

    function mint(address to, uint256 value) external {
        _mint(to, value);
    }

    /// @notice What a rebase or a seizure does to one account.
    function shrink(address account, uint256 value) external {
        _burn(account, value);
    }

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function blockAccount(address account) external {
        blocked = account;
    }

    function hook(address target, bytes calldata call, bool mustSucceed) external {
        (hooked, hookCall, hookMustSucceed) = (target, call, mustSucceed);
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        _moveOddly(msg.sender, to, value);
        return _answer();
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        _spendAllowance(from, msg.sender, value);
        _moveOddly(from, to, value);
        return _answer();
    }

    function _moveOddly(address from, address to, uint256 value) private {
        if (mood == Mood.Paused) revert TransfersPaused();
        if (from == blocked) revert AccountBlocked(from);
        if (to == blocked) revert AccountBlocked(to);
        if (hooked != address(0)) _callHook();
        if (mood == Mood.MovesNothing || mood == Mood.ReturnsFalse) return;
        _transfer(from, to, value);
        if (mood == Mood.KeepsFromReceiver) _burn(to, value / 100);
        if (mood == Mood.TakesMoreFromSender) _burn(from, value / 100);
    }

    function _callHook() private {
        address target = hooked;
        hooked = address(0); // once
        (bool ok, bytes memory answer) = target.call(hookCall);
        hookAnswer = answer;
        if (!ok && hookMustSucceed) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    function _answer() private view returns (bool) {
        if (mood == Mood.ReturnsNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        if (mood == Mood.ReturnsHalfAWord) {
            assembly ("memory-safe") {
                mstore(0, not(0))
                return(0, 16)
            }
        }
        return mood != Mood.ReturnsFalse;
    }
}

/// @notice Takes every call that it does not know and does nothing, as wrapped ether does with `permit`.
contract AgreeableToken is ERC20 {
    constructor() ERC20("Agreeable Dollar", "AGR") {}

    fallback() external {}
}

/// @notice Looks like no ERC-20: it tells no decimals.
contract BareToken {
    mapping(address account => uint256) public balanceOf;
}
