// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IZeroFeePayments} from "./IZeroFeePayments.sol";

/// @title A neighbourhood's market for the energy that its homes have left or need
/// @notice A home states a wish once: buy local energy up to this price, sell from that one on. Its meter
/// measures. After each slot of 15 minutes anyone may clear it: this contract derives the one price that orders
/// and readings imply, who gets how much, and settles all of it against the grid's tariffs in the same transaction.
/// Who clears has no discretion: not over the price, the fills, the orders or the readings.
///
/// Units. Energy: Wh in a slot. Prices: thousandths of the currency per kWh. So 1 Wh at price 1 is exactly one unit
/// of the 6-decimal money and nothing is ever rounded. Slots: number n runs from genesis + 900 n, 900 seconds.
///
/// Homes are numbered from 1; number 0 is the utility's account, which sells at `retail`, takes at `feedIn`, and gets
/// `gridFee` for each kWh that one home sells to another (0 where nobody set one).
/// At every moment: money held = all homes' balances + the utility's; and money held >= all positive balances,
/// so what a home may withdraw is always there.
///
/// A slot is cleared so; these are all rules, for ties and the last Wh too:
///
///  1. A home's net is what it imported less what it exported.
///  2. With positive net and a buy limit of at least feedIn + gridFee a home bids min(net, cap), for which it pays at
///     most min(buyLimit, retail), gridFee included: its bid stands at that less gridFee. It is heard only if
///     the balance at that moment pays for all of it at its limit, so sellers are always really paid.
///  3. With negative net and a sell limit of at most retail - gridFee it offers min(-net, cap), at
///     max(sellLimit, feedIn).
///  4. p is a clearing price if demand above p <= supply up to p, and supply below p <= demand from p on. Those p in
///     [feedIn, retail - gridFee] are an interval [lo, hi], never empty. price = floor((lo + hi) / 2), also where nothing
///     is traded. The seller gets the price, the buyer pays price + gridFee, the utility gets gridFee.
///  5. Bids above and offers below the price are served in full, worse ones not at all. Those equal to it share what
///     is left of the volume, each side for itself, pro rata in home order: the first i of them get
///     floor(left * sum of the first i / sum of all) together, so the last Wh is the contract's to place too.
///  6. The rest of each net goes to the grid, at retail or feedIn.
///
/// No limit is special but two: 0 does not buy and 2^24 - 1 does not sell. feedIn >= 1 and retail <= 2^24 - 2 keep both
/// apart from every price that can come out; a higher buy or lower sell limit than the tariffs counts as the tariff.
///
/// What is registered takes part from the next slot on: a home joins, its meter is replaced, it moves out. No batch of
/// slots goes across such a moment; it is cut there.
/// @dev Assumed for safety: the money contract moves exactly what it says and calls nobody; a meter's key signs what
/// it measured. Assumed for liveness: nothing; a slot that nobody clears is closed and settles at the tariffs.
interface IEnergyMarket {
    // ------------------------------------------------------------------ structs

    /// @notice A standing wish. The order in force in a slot is the one with the highest `seq` among those with
    /// fromSlot <= slot; once it has ended none is. Cap 0 withdraws.
    /// @param home number of the home
    /// @param seq higher than that of every earlier order of this home
    /// @param fromSlot first slot; must not have begun when the order is placed
    /// @param untilSlot first slot in which it is not in force any more
    /// @param buyLimit highest price to buy at; 0 does not buy
    /// @param sellLimit lowest price to sell at; 2^24 - 1 does not sell
    /// @param cap most energy per slot, Wh
    struct Order {
        uint24 home;
        uint32 seq;
        uint24 fromSlot;
        uint24 untilSlot;
        uint24 buyLimit;
        uint24 sellLimit;
        uint24 cap;
    }

    /// @notice What a meter measured in consecutive slots.
    /// @param home number of the home
    /// @param firstSlot first slot measured
    /// @param imported counter of all energy taken, Wh, at the beginning of the first slot
    /// @param exported counter of all energy given, Wh, at the beginning of the first slot
    /// @param deltas per slot 6 bytes: uint24 imported, uint24 exported, Wh
    struct Readings {
        uint24 home;
        uint24 firstSlot;
        uint48 imported;
        uint48 exported;
        bytes deltas;
    }

    /// @notice Money leaves an account.
    /// @param home number of the home, 0 for the utility
    /// @param to who gets it
    /// @param value amount in units of 10^-6
    /// @param validBefore unix time; valid strictly before it
    /// @param nonce any number not used by this home in the same words before
    struct Withdrawal {
        uint24 home;
        address to;
        uint256 value;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// @notice A home gets another meter, from the slot after the one that runs.
    /// @param home number of the home
    /// @param meter the key of the new meter: one that no home ever had
    /// @param imported counter of the new meter at the beginning of that slot, Wh
    /// @param exported the same of what it gave
    /// @param lastImported counter of the old meter at that moment, Wh; what no reading of it told settles with the grid
    /// @param lastExported the same of what it gave
    /// @param validBefore unix time; valid strictly before it
    struct Replacement {
        uint24 home;
        address meter;
        uint48 imported;
        uint48 exported;
        uint48 lastImported;
        uint48 lastExported;
        uint256 validBefore;
    }

    /// @notice A home takes leave of the market, from the slot after the one that runs.
    /// @param home number of the home
    /// @param lastImported counter of its meter at that moment, Wh; what no reading told settles with the grid
    /// @param lastExported the same of what it gave
    /// @param validBefore unix time; valid strictly before it
    struct Departure {
        uint24 home;
        uint48 lastImported;
        uint48 lastExported;
        uint256 validBefore;
    }

    // ------------------------------------------------------------------ errors

    /// @notice 0 < feedIn, feedIn + gridFee <= retail and retail < 2^24 - 1 must hold: 0 and 2^24 - 1 are how an order says
    /// no.
    error EnergyBadTariffs(uint256 feedIn, uint256 gridFee, uint256 retail);
    /// @notice gate <= grace <= timeout must hold.
    error EnergyBadTimes(uint256 gate, uint256 grace, uint256 timeout);
    /// @notice The zero address can't be the owner of a home or of the utility's account, a meter or the registrar.
    /// @dev Nor can address 1 be a meter: it stands for none.
    error EnergyZeroAddress();
    /// @notice Only the registrar may do this; `caller` tried.
    error EnergyCallerNotRegistrar(address caller, address registrar);
    /// @notice The meter is, or was, that of a home that did not move out.
    error EnergyMeterTaken(address meter, uint256 home);
    /// @notice The home has moved out: from slot `fromSlot` on it takes no part.
    error EnergyHomeLeft(uint256 home, uint256 fromSlot);
    /// @notice The home's meter changes in slot `fromSlot`: batches and posted readings end before it, and no other change
    /// is taken until it is in force.
    error EnergyMeterChanges(uint256 home, uint256 fromSlot);
    /// @notice There are homes 1 to `homes` only.
    error EnergyUnknownHome(uint256 home, uint256 homes);
    /// @notice The signature is not `signer`'s over exactly this message.
    error EnergyInvalidSignature(address signer);
    /// @notice An order of this home with the number `last` was placed; `seq` is not higher.
    error EnergyOrderOutdated(uint256 home, uint256 seq, uint256 last);
    /// @notice The order would begin in slot `fromSlot`, but slot `current` has begun.
    error EnergySlotBegun(uint256 fromSlot, uint256 current);
    /// @notice The order would end, at `untilSlot`, before it begins.
    error EnergyOrderEmpty(uint256 fromSlot, uint256 untilSlot);
    /// @notice The home has `waiting` orders that are not in force yet: more can't wait.
    error EnergyTooManyOrders(uint256 home, uint256 waiting);
    /// @notice The message is valid before `validBefore`, strictly, and now it is `timestamp`.
    error EnergyExpired(uint256 validBefore, uint256 timestamp);
    /// @notice This withdrawal was carried out before.
    error EnergyWithdrawalUsed(bytes32 id);
    /// @notice `available` may be withdrawn, `value` was asked for.
    error EnergyInsufficientBalance(uint256 home, int256 available, uint256 value);
    /// @notice The account would hold more than `limit`, the most that it may.
    error EnergyBalanceTooHigh(uint256 home, uint256 limit);
    /// @notice Slots are settled strictly in sequence: `next` is due, `firstSlot` was given.
    error EnergyWrongSlot(uint256 firstSlot, uint256 next);
    /// @notice It is allowed from `opens` on, and now it is `timestamp`.
    error EnergyTooEarly(uint256 opens, uint256 timestamp);
    /// @notice A home joins in slot `fromSlot`, inside the batch, which must end before it.
    error EnergyHomeJoins(uint256 home, uint256 fromSlot);
    /// @notice Hints are 6 bytes per slot, of 1 to 2^16 slots.
    error EnergyMalformedHints(uint256 length);
    /// @notice The readings end, after `length` bytes, before those of `home`, which need `needed`.
    error EnergyReadingsTruncated(uint256 home, uint256 needed, uint256 length);
    /// @notice The readings of all homes need `needed` bytes; there are `length`.
    error EnergyReadingsPadded(uint256 needed, uint256 length);
    /// @notice A home's entry begins with 0, 1, 2 or 3.
    error EnergyUnknownTag(uint256 home, uint256 tag);
    /// @notice Deltas are 6 bytes per slot, of 1 to 2^16 slots.
    error EnergyMalformedDeltas(uint256 length);
    /// @notice The reading of `home` is not signed by its meter over the counters that the market has.
    error EnergyForeignReading(uint256 home, address meter);
    /// @notice A counter can't go back, from `stored` to `given`.
    error EnergyCounterBack(uint256 home, uint256 stored, uint256 given);
    /// @notice Both counters must be below 2^47 Wh when a reading begins.
    error EnergyCounterTooHigh(uint256 home, uint256 imported, uint256 exported);
    /// @notice The home posted its reading of this slot: it can't be marked as without one.
    error EnergyReadingPosted(uint256 home, uint256 slot);
    /// @notice The home posted no reading of this slot.
    error EnergyReadingNotPosted(uint256 home, uint256 slot);
    /// @notice Posted readings are cleared one slot at a time; the batch has `count`.
    error EnergyPostedInBatch(uint256 home, uint256 count);
    /// @notice feedIn <= lo <= hi <= retail - gridFee must hold.
    error EnergyHintOutside(uint256 slot, uint256 lo, uint256 hi);
    /// @notice `lo` is no clearing price: demand above it, `demand`, exceeds the supply up to it.
    error EnergyLowTooLow(uint256 slot, uint256 lo, uint256 demand, uint256 supply);
    /// @notice lo - 1 clears too: demand from `lo` on, `demand`, does not exceed the supply below it.
    error EnergyLowTooHigh(uint256 slot, uint256 lo, uint256 demand, uint256 supply);
    /// @notice `hi` is no clearing price: the supply below it, `supply`, exceeds the demand from it on.
    error EnergyHighTooHigh(uint256 slot, uint256 hi, uint256 demand, uint256 supply);
    /// @notice hi + 1 clears too: the supply up to `hi`, `supply`, does not exceed the demand above it.
    error EnergyHighTooLow(uint256 slot, uint256 hi, uint256 demand, uint256 supply);

    // ------------------------------------------------------------------ events

    /// @notice A home takes part from slot `fromSlot` on; its meter's counters stood at these values.
    event HomeRegistered(
        uint256 indexed home,
        address indexed owner,
        address indexed meter,
        uint256 imported,
        uint256 exported,
        uint256 fromSlot
    );
    /// @notice A home has another meter from slot `fromSlot` on. Counters are uint48 imported | uint48 exported, in Wh:
    /// `counters` the new meter's, `last` the old one's.
    event MeterReplaced(
        uint256 indexed home,
        address indexed meter,
        uint256 fromSlot,
        uint256 counters,
        uint256 last
    );
    /// @notice A home takes no part from slot `fromSlot` on; its account stays its owner's. `last` is uint48 imported |
    /// uint48 exported, the counters of its meter, in Wh.
    event HomeMovedOut(uint256 indexed home, uint256 fromSlot, uint256 last);
    /// @notice An order was placed; `id` is its EIP-712 digest.
    event OrderPlaced(
        uint256 indexed home,
        bytes32 indexed id,
        uint256 seq,
        uint256 fromSlot,
        uint256 untilSlot,
        uint256 buyLimit,
        uint256 sellLimit,
        uint256 cap
    );
    /// @notice `from` paid `value` into the account; `nonce` is that of its authorization.
    event Deposited(uint256 indexed home, address indexed from, uint256 value, bytes32 nonce);
    /// @notice `value` went out of the account to `to`; `id` is the withdrawal's EIP-712 digest.
    event Withdrawn(uint256 indexed home, address indexed to, uint256 value, bytes32 indexed id);
    /// @notice A home posted readings that its meter signed, so that they can't be left out.
    event ReadingsPosted(
        uint256 indexed home,
        uint256 indexed firstSlot,
        uint256 imported,
        uint256 exported,
        bytes deltas
    );
    /// @notice The readings of all homes in `count` slots, signatures included, as `clear` took them; emitted
    /// after the SlotCleared of each of the slots.
    event ReadingsTaken(uint256 indexed firstSlot, uint256 count, uint256 homes, bytes readings);
    /// @notice The home had no reading in `count` slots: its energy settles with the grid when its counters are read.
    event ReadingMissing(uint256 indexed home, uint256 indexed firstSlot, uint256 count);
    /// @notice A slot was cleared: all prices from `lo` to `hi` clear, `price` is their middle, `volume` Wh changed hands.
    event SlotCleared(uint256 indexed slot, uint256 price, uint256 lo, uint256 hi, uint256 volume);
    /// @notice The utility's free money did not cover `unpaid` of the feed-in of a slot (see `clear`).
    event FeedInUnpaid(uint256 indexed slot, uint256 unpaid);
    /// @notice Slots `firstSlot` to `nextSlot` - 1 were closed: their energy settles with the grid.
    event SlotsClosed(uint256 indexed firstSlot, uint256 nextSlot);

    // ------------------------------------------------------------------ homes

    /// @notice Register a home with the counters at which its meter stands. Only the registrar. It takes part
    /// from the next slot; what its meter counts until then settles with the grid. Emits HomeRegistered.
    /// @dev A meter belongs to one home until that home moves out, so a running home can't be registered again.
    /// @param owner who signs its orders and withdrawals: a key or an ERC-1271 wallet
    /// @param meter the key that signs its readings: a key of its own, no contract
    /// @return home its number
    function registerHome(
        address owner,
        address meter,
        uint48 imported,
        uint48 exported
    ) external returns (uint256 home);

    /// @notice Put another meter in the place of a home's, from the next slot on. The registrar sends it and the
    /// home's owner signs it, so neither can do it alone. Orders and balance stay. Slots before are still cleared by the old
    /// meter's readings; what it counted and none of them told settles with the grid when the new one comes into force.
    /// Emits MeterReplaced.
    /// @dev Typed data: Replacement(uint24 home,address meter,uint48 imported,uint48 exported,uint48 lastImported,
    /// uint48 lastExported,uint256 validBefore). A key that was replaced is never a meter again, so no message works twice.
    function replaceMeter(Replacement calldata replacement, bytes calldata signature) external;

    /// @notice Let a home move out: from the next slot on it takes no part. The registrar sends it and the home's owner
    /// signs it. Its account stays, for withdrawing what is left or paying back what is owed; its meter may be
    /// registered for whoever moves in. The number is not given to another. Emits HomeMovedOut.
    /// @dev Typed data: Departure(uint24 home,uint48 lastImported,uint48 lastExported,uint256 validBefore).
    function moveOut(Departure calldata departure, bytes calldata signature) external;

    /// @notice Place an order that the owner signed. Anyone may call; the owner itself needs no signature.
    /// It must begin in a slot that has not begun: what is metered is cleared under the orders of its time. It takes
    /// the place of all orders that would begin in its first slot or later. Emits OrderPlaced.
    /// @dev Typed data: Order(uint24 home,uint32 seq,uint24 fromSlot,uint24 untilSlot,uint24 buyLimit,uint24 sellLimit,
    /// uint24 cap).
    function placeOrder(Order calldata order, bytes calldata signature) external;

    // ------------------------------------------------------------------ money

    /// @notice Pay into an account by one ReceiveWithAuthorization of the money, payable to this contract, whose nonce is
    /// `depositNonce(home, salt)`: so its signer names the home and nobody can credit another. Anyone may call.
    /// Emits Deposited.
    /// @param home number of the home, 0 for the utility
    /// @param from payer and signer: the owner or anybody
    /// @param salt 32 bytes of the payer's choice, once per home
    function deposit(
        uint256 home,
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        bytes calldata signature
    ) external;

    /// @notice Pay out of an account what its owner signed for. Anyone may call; the owner itself needs no signature.
    /// A home may take what its balance exceeds `reserved`, the utility what its balance exceeds all homes' debt.
    /// Emits Withdrawn.
    /// @dev Typed data: Withdrawal(uint24 home,address to,uint256 value,uint256 validBefore,bytes32 nonce).
    function withdraw(Withdrawal calldata withdrawal, bytes calldata signature) external;

    // ------------------------------------------------------------------ slots

    /// @notice Post readings of slots that have ended and are not settled, so that whoever clears must use
    /// them. Anyone may call. A posted reading whose counters contradict what the market took in between
    /// counts as missing. Emits ReadingsPosted.
    /// @dev Typed data: Readings(uint24 home,uint24 firstSlot,uint48 imported,uint48 exported,bytes deltas).
    function postReadings(Readings calldata readings, bytes calldata signature) external;

    /// @notice Clear and settle the next slots, all homes. Anyone may call, from `gate` seconds after the last
    /// slot's end; from `grace` seconds after it if a home is marked as without a reading. Several slots at once
    /// settle to the unit as one after the other. Emits SlotCleared per slot and ReadingsTaken, and, where it applies,
    /// ReadingMissing and FeedInUnpaid. No home may join, change its meter or move out inside of it.
    ///
    /// Feed-in is paid from the utility's free money (its balance less all homes' debt), in home order,
    /// each home's of a slot whole or not at all: an empty utility stops nobody's trade, and nobody's deposit pays for it.
    /// @dev `readings` has one entry per home in home order; its first byte says which form it has:
    ///
    ///     0  no reading; also of a home that has moved out, which then waits for no grace and is told by no event
    ///     1  64 bytes EIP-2098 signature | 6 bytes per slot; counters continue from the market's
    ///     2  6 bytes imported | 6 bytes exported | 64 | 6 per slot; what was counted since the
    ///        market's counters settles with the grid
    ///     3  use the posted reading; one slot at a time
    /// @param firstSlot must be `nextSlot`
    /// @param hints per slot 6 bytes: uint24 lo, uint24 hi; the contract takes only the one true interval
    function clear(uint256 firstSlot, bytes calldata hints, bytes calldata readings) external;

    /// @notice Close the slots before `upto`, all of which ended `timeout` seconds ago: they have no market, and their
    /// energy settles with the grid when the counters are next read. Anyone may call. Emits SlotsClosed.
    function closeSlots(uint256 upto) external;

    // ------------------------------------------------------------------ views

    /// @notice The balance of a home, or of the utility (0), in units of 10^-6. Below zero it is debt to the utility.
    function balanceOf(uint256 home) external view returns (int256);

    /// @notice What a home can't withdraw: for each begun and unsettled slot the cap of its order at its buy limit.
    function reserved(uint256 home) external view returns (uint256);

    /// @notice All homes' debt.
    function debt() external view returns (uint256);

    /// @notice How many homes are registered.
    function homeCount() external view returns (uint256);

    /// @notice A home's owner, the meter in force at the last clearing (address 1 where it had moved out by then), its
    /// first slot and the first one after its last, 2^24 - 1 while it stays.
    function homeOf(
        uint256 home
    ) external view returns (address owner, address meter, uint256 fromSlot, uint256 untilSlot);

    /// @notice How many changes of meters (MeterReplaced, HomeMovedOut) are in force. Clearing puts them into force in the
    /// order of their events, with the first batch that begins in their slot or later.
    function changesApplied() external view returns (uint256);

    /// @notice The counters up to which the home's energy is settled, Wh.
    function countersOf(uint256 home) external view returns (uint256 imported, uint256 exported);

    /// @notice The home's order for a slot that is not settled, as placed up to now; cap 0 where there is none.
    /// @return seq of the newest order placed, in force or not
    function orderOf(
        uint256 home,
        uint256 slot
    )
        external
        view
        returns (uint256 seq, uint256 untilSlot, uint256 buyLimit, uint256 sellLimit, uint256 cap);

    /// @notice The number of the home with this meter; 0 where there is none.
    function homeOfMeter(address meter) external view returns (uint256);

    /// @notice Whether the home posted a reading of this slot.
    function isPosted(uint256 home, uint256 slot) external view returns (bool);

    /// @notice Whether the withdrawal with this id was carried out.
    function isWithdrawn(bytes32 id) external view returns (bool);

    /// @notice The slot that is next to be cleared or closed.
    function nextSlot() external view returns (uint256);

    /// @notice The slot that runs now.
    function currentSlot() external view returns (uint256);

    /// @notice The nonce of a deposit to a home: keccak256(abi.encode(home, salt)).
    function depositNonce(uint256 home, bytes32 salt) external pure returns (bytes32);

    /// @notice What every signature is bound to (EIP-712).
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32);

    /// @notice The money.
    function money() external view returns (IZeroFeePayments);

    /// @notice Who registers homes.
    function registrar() external view returns (address);

    /// @notice What the grid sells at.
    function retail() external view returns (uint256);

    /// @notice What the grid takes at.
    function feedIn() external view returns (uint256);

    /// @notice What the utility gets for each kWh traded between homes; the buyer pays it, within its limit.
    function gridFee() external view returns (uint256);

    /// @notice Unix time at which slot 0 begins.
    function genesis() external view returns (uint256);

    /// @notice Seconds from a slot's end until it may be cleared with all readings.
    function gate() external view returns (uint256);

    /// @notice Seconds from a slot's end until it may be cleared with homes marked as without a reading.
    function grace() external view returns (uint256);

    /// @notice Seconds from a slot's end until it may be closed.
    function timeout() external view returns (uint256);
}
