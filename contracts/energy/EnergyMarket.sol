// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IEnergyMarket} from "../../interfaces/IEnergyMarket.sol";
import {IZeroFeePayments} from "../../interfaces/IZeroFeePayments.sol";
import {Signatures} from "../shared/Signatures.sol";
import {Home, NEVER, RING, Terms, Wish, toHome, toTerms, toWish} from "./Home.sol";

/// @title A neighbourhood's market for the energy that its homes have left or need
/// @notice See IEnergyMarket for what each action promises and how a slot is cleared.
contract EnergyMarket is IEnergyMarket, EIP712 {
    // ------------------------------------------------------------------ constants

    bytes32 private constant ORDER_TYPEHASH = keccak256(
        "Order(uint24 home,uint32 seq,uint24 fromSlot,uint24 untilSlot,uint24 buyLimit,uint24 sellLimit,uint24 cap)"
    );
    bytes32 private constant READINGS_TYPEHASH = keccak256(
        "Readings(uint24 home,uint24 firstSlot,uint48 imported,uint48 exported,bytes deltas)"
    );
    bytes32 private constant WITHDRAWAL_TYPEHASH = keccak256(
        "Withdrawal(uint24 home,address to,uint256 value,uint256 validBefore,bytes32 nonce)"
    );

    bytes32 private constant REPLACEMENT_TYPEHASH = keccak256(
        "Replacement(uint24 home,address meter,uint48 imported,uint48 exported,uint48 lastImported,uint48 lastExported,uint256 validBefore)"
    );
    bytes32 private constant DEPARTURE_TYPEHASH = keccak256(
        "Departure(uint24 home,uint48 lastImported,uint48 lastExported,uint256 validBefore)"
    );

    /// @dev Seconds in a slot.
    uint256 private constant SLOT = 900;
    /// @dev Bytes of a slot's hints, and of a slot's deltas.
    uint256 private constant PAIR = 6;
    /// @dev Bytes of an EIP-2098 signature.
    uint256 private constant SIGNATURE = 64;
    /// @dev Bytes of both counters.
    uint256 private constant COUNTERS = 12;
    /// @dev The forms of a home's entry in a batch of readings.
    uint256 private constant MISSING = 0;
    uint256 private constant CONTINUES = 1;
    uint256 private constant CATCH_UP = 2;
    uint256 private constant POSTED = 3;
    /// @dev Length of a Seat in memory. Seats are found by assembly, since an array of structs is one of pointers, each
    /// checked and looked up: 60 gas per use.
    uint256 private constant SEAT = 128;
    /// @dev The kinds of a bid.
    uint256 private constant BUYS = 1;
    uint256 private constant SELLS = 2;
    /// @dev Number of the utility's account.
    uint256 private constant UTILITY = 0;
    /// @dev The meter of a home that has moved out: an address whose key nobody has, and not zero, which is what
    /// ecrecover answers to nonsense.
    address private constant VACANT = address(1);
    /// @dev Deposits fill a home's account up to here. All that a home can ever earn is below 2^48 Wh x 2^24 from the grid
    /// and as much on the market, so balances fit in 96 bits whatever happens.
    uint256 private constant MOST = 1 << 94;
    /// @dev The same for the utility, which at most 2^24 homes pay: it fits in 104 bits, as does their debt.
    uint256 private constant MOST_UTILITY = 1 << 102;
    /// @dev The most slots at once: 2^16 of less than 2^24 Wh can't carry a counter below 2^47 out of its 48 bits.
    uint256 private constant MOST_SLOTS = 1 << 16;
    /// @dev The highest bits of both counters of a word.
    uint256 private constant HIGHEST_BITS = (1 << 95) | (1 << 47);
    /// @dev Marks a word that holds a posted reading.
    uint256 private constant FLAG = 1 << 255;

    // ------------------------------------------------------------------ structs

    /// @dev What concerns all homes, in one word.
    struct Market {
        uint24 nextSlot; // next to be cleared or closed
        uint24 joined; // homes 1 to `joined` take part in it
        int104 utility; // the utility's balance, units of 10^-6
        uint104 debt; // the sum of all homes' balances below zero; utility >= debt always
    }

    /// @dev How many of what the registrar wrote down, in one word.
    struct Register {
        uint24 homes;
        uint24 changes; // of meters
        uint24 applied; // changes 1 to `applied` are in force
    }

    /// @dev Who stands behind a home. Clearing reads it only where a home joins or has no reading.
    struct Owner {
        address owner; // signs orders and withdrawals
        uint24 fromSlot; // first slot in which the home takes part
        uint24 postedUntil; // no reading is posted from this slot on
        uint24 change; // number of the newest change of its meter; 0 before the first
    }

    /// @dev A meter that takes the place of another, or of which a home takes leave.
    struct Change {
        uint256 what; // uint24 home | uint24 fromSlot, the first that the old meter does not measure | uint160 meter
        uint256 counters; // both of the new meter then (uint96), both of the old one (uint96)
    }

    /// @dev What clearing reads of a home: together, so that one hash finds both.
    struct Record {
        Home state; // changes with each clearing, order and movement of money
        Wish wish; // changes when a waiting order begins
    }

    /// @dev A clearing at work.
    struct Batch {
        uint256 firstSlot;
        uint256 count; // slots
        bytes32 domain; // what signatures are bound to
        int256 free; // the utility's balance less all homes' debt, as they stand; never below zero
        int256 debt; // all homes' debt as it stands
        uint256 unpaid; // feed-in of the slot that the utility couldn't pay
        uint256 gaps; // homes without a reading
        uint256 homes;
        Seat seats; // as if of home 0; those of homes 1 to `homes` lie behind it, one after the other
    }

    /// @dev A home in a clearing.
    struct Seat {
        Home state; // as it stands
        Wish wish;
        uint256 row; // where in calldata the deltas are; FLAG | deltas of a posted reading; 0 without a reading
        uint256 bid; // of the slot: uint8 kind | uint24 net | uint24 limit | uint24 quantity
    }

    /// @dev A slot's price and how those at the margin share what is left, buyers' then sellers'.
    struct Margin {
        uint256 price;
        uint256 volume;
        uint256 buyLeft; // for all of them
        uint256 buyAll; // what they want together
        uint256 buyReached; // what those already served want together
        uint256 sellLeft;
        uint256 sellAll;
        uint256 sellReached;
    }

    // ------------------------------------------------------------------ storage

    /// @dev Changes with each clearing, closing and movement of money.
    Market private _market;

    /// @dev Changes with each registration, and when a change of a meter comes into force.
    Register private _register;

    /// @dev Set at registration; `postedUntil` changes when readings are posted. Number 0: the utility.
    mapping(uint256 home => Owner) private _owners;

    /// @dev From 1 on, by rising fromSlot. Never changed.
    mapping(uint256 number => Change) private _changes;

    /// @dev Waiting orders: a ring of 16 places per home, by rising fromSlot. Never set back to zero, which is cheaper.
    mapping(uint256 home => mapping(uint256 place => Terms)) private _queues;

    /// @dev FLAG | uint48 imported | uint48 exported at the slot's beginning | uint24 imported | uint24 exported in it.
    mapping(uint256 home => mapping(uint256 slot => uint256)) private _posted;

    /// @inheritdoc IEnergyMarket
    mapping(address meter => uint256 home) public homeOfMeter;

    /// @inheritdoc IEnergyMarket
    mapping(bytes32 id => bool) public isWithdrawn;

    /// @dev The two words of each home that clearing reads. An array as long as there are numbers: what a mapping's hash
    /// costs is saved twice per home.
    Record[1 << 24] private _records;

    /// @inheritdoc IEnergyMarket
    IZeroFeePayments public immutable money;
    /// @inheritdoc IEnergyMarket
    address public immutable registrar;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable retail;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable feedIn;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable gridFee;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable genesis;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable gate;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable grace;
    /// @inheritdoc IEnergyMarket
    uint256 public immutable timeout;

    // ------------------------------------------------------------------ constructor

    /// @param money_ the money, which calls nobody
    /// @param registrar_ who registers homes
    /// @param utility_ owner of account 0: sells at `retail_`, takes at `feedIn_`
    /// @param retail_ thousandths of the currency per kWh
    /// @param feedIn_ thousandths of the currency per kWh, at least 1
    /// @param gridFee_ thousandths of the currency per kWh, 0 for none
    /// @param genesis_ unix time at which slot 0 begins; the first slot to be cleared is that in which the first home joins
    /// @param times seconds after a slot's end: `gate`, `grace`, `timeout`
    constructor(
        IZeroFeePayments money_,
        address registrar_,
        address utility_,
        uint256 retail_,
        uint256 feedIn_,
        uint256 gridFee_,
        uint256 genesis_,
        uint256[3] memory times
    ) EIP712("Liggare Energy", "1") {
        if (feedIn_ == 0 || feedIn_ > retail_ || gridFee_ > retail_ - feedIn_ || retail_ >= NEVER)
            revert EnergyBadTariffs(feedIn_, gridFee_, retail_);
        if (times[0] > times[1] || times[1] > times[2]) revert EnergyBadTimes(times[0], times[1], times[2]);
        if (registrar_ == address(0) || utility_ == address(0)) revert EnergyZeroAddress();
        money = money_;
        registrar = registrar_;
        retail = retail_;
        feedIn = feedIn_;
        gridFee = gridFee_;
        genesis = genesis_;
        (gate, grace, timeout) = (times[0], times[1], times[2]);
        _owners[UTILITY].owner = utility_;
    }

    // ------------------------------------------------------------------ homes

    /// @inheritdoc IEnergyMarket
    function registerHome(
        address owner,
        address meter,
        uint48 imported,
        uint48 exported
    ) external returns (uint256 home) {
        _checkRegistrar();
        if (owner == address(0)) revert EnergyZeroAddress();
        home = ++_register.homes;
        uint24 fromSlot = uint24(currentSlot() + 1);
        if (home == 1) _market.nextSlot = fromSlot; // there was nobody whose slots could be cleared
        _take(meter, home);
        _owners[home] = Owner(owner, fromSlot, 0, 0);
        _records[home].state = toHome(imported, exported);
        _records[home].wish = toWish(meter);
        emit HomeRegistered(home, owner, meter, imported, exported, fromSlot);
    }

    /// @inheritdoc IEnergyMarket
    function replaceMeter(Replacement calldata replacement, bytes calldata signature) external {
        _checkRegistrar();
        (uint256 home, address meter) = (replacement.home, replacement.meter);
        _checkOwner(
            home,
            replacement.validBefore,
            keccak256(abi.encode(REPLACEMENT_TYPEHASH, replacement)),
            signature
        );
        _take(meter, home);
        uint256 counters = (uint256(replacement.imported) << 48) | replacement.exported;
        uint256 last = (uint256(replacement.lastImported) << 48) | replacement.lastExported;
        emit MeterReplaced(home, meter, _schedule(home, meter, (counters << 96) | last), counters, last);
    }

    /// @inheritdoc IEnergyMarket
    function moveOut(Departure calldata departure, bytes calldata signature) external {
        _checkRegistrar();
        uint256 home = departure.home;
        _checkOwner(
            home,
            departure.validBefore,
            keccak256(abi.encode(DEPARTURE_TYPEHASH, departure)),
            signature
        );
        uint256 last = (uint256(departure.lastImported) << 48) | departure.lastExported;
        emit HomeMovedOut(home, _schedule(home, VACANT, last), last);
        homeOfMeter[_records[home].wish.meter()] = 0; // it measures for whoever moves in
    }

    /// @inheritdoc IEnergyMarket
    function placeOrder(Order calldata order, bytes calldata signature) external {
        uint256 home = _known(order.home);
        if (order.fromSlot <= currentSlot()) revert EnergySlotBegun(order.fromSlot, currentSlot());
        uint256 leaves = _leaves(home);
        if (order.fromSlot >= leaves) revert EnergyHomeLeft(home, leaves);
        if (order.untilSlot <= order.fromSlot) revert EnergyOrderEmpty(order.fromSlot, order.untilSlot);
        Home state = _records[home].state;
        if (order.seq <= state.seq()) revert EnergyOrderOutdated(home, order.seq, state.seq());
        bytes32 hash = keccak256(abi.encode(ORDER_TYPEHASH, order));
        bytes32 id = _checkOwner(home, type(uint256).max, hash, signature);
        _records[home].state = _enqueue(home, _begin(home, state, _market.nextSlot), order).withSeq(
            order.seq
        );
        emit OrderPlaced(
            home,
            id,
            order.seq,
            order.fromSlot,
            order.untilSlot,
            order.buyLimit,
            order.sellLimit,
            order.cap
        );
    }

    // ------------------------------------------------------------------ money

    /// @inheritdoc IEnergyMarket
    function deposit(
        uint256 home,
        address from,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        bytes calldata signature
    ) external {
        bytes32 nonce = depositNonce(home, salt);
        if (home == UTILITY) _creditUtility(value);
        else _credit(_known(home), value);
        emit Deposited(home, from, value, nonce);
        money.receiveWithAuthorization(from, address(this), value, validAfter, validBefore, nonce, signature);
    }

    /// @inheritdoc IEnergyMarket
    function withdraw(Withdrawal calldata withdrawal, bytes calldata signature) external {
        (uint256 home, uint256 value) = (withdrawal.home, withdrawal.value);
        bytes32 hash = keccak256(abi.encode(WITHDRAWAL_TYPEHASH, withdrawal));
        bytes32 id = _checkOwner(home, withdrawal.validBefore, hash, signature);
        if (isWithdrawn[id]) revert EnergyWithdrawalUsed(id);
        int256 available = _available(home);
        if (available < 0 || value > uint256(available))
            revert EnergyInsufficientBalance(home, available, value);
        isWithdrawn[id] = true;
        // value <= available < 2^103: the casts lose nothing
        if (home == UTILITY) _market.utility -= int104(int256(value));
        else
            _records[home].state = _records[home].state.withBalance(
                _records[home].state.balance() - int256(value)
            );
        emit Withdrawn(home, withdrawal.to, value, id);
        money.transfer(withdrawal.to, value);
    }

    // ------------------------------------------------------------------ slots

    /// @inheritdoc IEnergyMarket
    function postReadings(Readings calldata readings, bytes calldata signature) external {
        uint256 home = _known(readings.home);
        uint256 slot = readings.firstSlot;
        bytes calldata deltas = readings.deltas;
        uint256 count = deltas.length / PAIR;
        if (count == 0 || count > MOST_SLOTS || deltas.length % PAIR != 0)
            revert EnergyMalformedDeltas(deltas.length);
        if (slot < _market.nextSlot) revert EnergyWrongSlot(slot, _market.nextSlot);
        _checkTime(_begins(slot + count));
        uint256 counters = (uint256(readings.imported) << 48) | readings.exported;
        _checkCounters(home, counters);
        address meter = _meterOf(home, slot, count);
        bytes32 digest = _hashTypedDataV4(_hashReadings(readings));
        if (!Signatures.isSignature(meter, digest, signature)) revert EnergyForeignReading(home, meter);
        for (uint256 t = 0; t < count; ++t) {
            uint256 pair = uint48(bytes6(deltas[t * PAIR:]));
            _posted[home][slot + t] = FLAG | (counters << 48) | pair;
            counters = _advance(counters, pair);
        }
        if (slot + count > _owners[home].postedUntil) _owners[home].postedUntil = uint24(slot + count);
        emit ReadingsPosted(home, slot, readings.imported, readings.exported, deltas);
    }

    /// @inheritdoc IEnergyMarket
    function clear(uint256 firstSlot, bytes calldata hints, bytes calldata readings) external {
        Market memory market = _market;
        uint256 count = hints.length / PAIR;
        if (count == 0 || count > MOST_SLOTS || hints.length % PAIR != 0)
            revert EnergyMalformedHints(hints.length);
        if (firstSlot != market.nextSlot) revert EnergyWrongSlot(firstSlot, market.nextSlot);
        _checkTime(_begins(firstSlot + count) + gate);
        uint256 memory_ = _freeMemory();
        Batch memory batch = _open(market, firstSlot, count);
        _read(batch, readings);
        if (batch.gaps != 0) _checkTime(_begins(firstSlot + count) + grace);
        for (uint256 t = 0; t < count; ++t) {
            uint256 hint = uint48(bytes6(hints[t * PAIR:]));
            _clearSlot(batch, t, hint >> 24, uint24(hint));
        }
        uint256 homes = batch.homes;
        _close(batch);
        _freeMemory(memory_); // the batch is done with: the event needs no memory of its own
        emit ReadingsTaken(firstSlot, count, homes, readings);
    }

    /// @inheritdoc IEnergyMarket
    function closeSlots(uint256 upto) external {
        uint256 next = _market.nextSlot;
        if (upto <= next) revert EnergyWrongSlot(upto, next);
        _checkTime(_begins(upto) + timeout);
        _market.nextSlot = uint24(upto);
        emit SlotsClosed(next, upto);
    }

    // ------------------------------------------------------------------ internal: meters

    /// @dev Makes a meter that of a home.
    function _take(address meter, uint256 home) private {
        if (meter == address(0) || meter == VACANT) revert EnergyZeroAddress();
        if (homeOfMeter[meter] != 0) revert EnergyMeterTaken(meter, homeOfMeter[meter]);
        homeOfMeter[meter] = home;
    }

    /// @dev Notes that from the next slot on, which is returned, a home has another meter or none.
    function _schedule(uint256 home, address meter, uint256 counters) private returns (uint256 fromSlot) {
        uint256 leaves = _leaves(_known(home));
        if (leaves != NEVER) revert EnergyHomeLeft(home, leaves);
        uint256 number = _owners[home].change;
        if (number > _register.applied) revert EnergyMeterChanges(home, _fromSlot(_changes[number]));
        fromSlot = currentSlot() + 1;
        number = ++_register.changes;
        _owners[home].change = uint24(number);
        _changes[number].what = (home << 184) | (fromSlot << 160) | uint160(meter);
        _changes[number].counters = counters;
    }

    function _fromSlot(Change storage change) private view returns (uint256) {
        return uint24(change.what >> 160);
    }

    /// @dev The first slot in which a home has moved out; NEVER while it stays.
    function _leaves(uint256 home) private view returns (uint256) {
        uint256 number = _owners[home].change;
        if (number == 0 || address(uint160(_changes[number].what)) != VACANT) return NEVER;
        return _fromSlot(_changes[number]);
    }

    /// @dev The meter that measures a home in `count` slots that are not settled.
    function _meterOf(uint256 home, uint256 slot, uint256 count) private view returns (address) {
        uint256 number = _owners[home].change;
        if (number > _register.applied) {
            Change storage change = _changes[number];
            uint256 from = _fromSlot(change);
            if (slot >= from) return address(uint160(change.what));
            if (slot + count > from) revert EnergyMeterChanges(home, from);
        }
        return _records[home].wish.meter();
    }

    /// @dev Puts changes into force whose slot has come. What the old meter counted and no reading told settles with the
    /// grid; a last counter that its readings have passed tells nothing.
    function _applyChanges(Batch memory batch, uint256 applied, uint256 changes) private {
        for (; applied < changes; ++applied) {
            Change storage change = _changes[applied + 1];
            (uint256 home, uint256 from) = (change.what >> 184, _fromSlot(change));
            if (from > batch.firstSlot) {
                if (from < batch.firstSlot + batch.count) revert EnergyMeterChanges(home, from);
                break;
            }
            Record storage record = _records[home];
            Seat memory seat = Seat(record.state, record.wish, 0, 0);
            uint256 counters = change.counters;
            uint256 imported = _excess(uint48(counters >> 48), seat.state.imported());
            uint256 exported = _excess(uint48(counters), seat.state.exported());
            _settle(batch, seat, 0, imported * retail, exported * feedIn);
            record.state = seat.state.withCounters(counters >> 96);
            record.wish = seat.wish.withMeter(address(uint160(change.what)));
        }
        _register.applied = uint24(applied);
    }

    function _excess(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a - b : 0;
    }

    // ------------------------------------------------------------------ internal: orders

    /// @dev Lets the waiting orders begin that begin in `slot` or before; the last of them is in force.
    function _begin(uint256 home, Home state, uint256 slot) private returns (Home) {
        if (slot < state.nextFrom()) return state;
        (uint256 head, uint256 waiting) = (state.head(), state.waiting());
        Terms begun;
        uint256 next = state.nextFrom();
        while (waiting != 0 && next <= slot) {
            begun = _queues[home][head & 15];
            // the ring holds `waiting` > 0 orders
            unchecked {
                ++head;
                --waiting;
            }
            next = waiting == 0 ? NEVER : _queues[home][head & 15].fromSlot();
        }
        _records[home].wish = _records[home].wish.withTerms(begun);
        return state.withQueue(head, waiting, next);
    }

    /// @dev Puts an order at the end of those that begin before it, in the place of all others.
    function _enqueue(uint256 home, Home state, Order calldata order) private returns (Home) {
        (uint256 head, uint256 waiting) = (state.head(), state.waiting());
        while (waiting != 0 && _queues[home][(head + waiting - 1) & 15].fromSlot() >= order.fromSlot)
            --waiting;
        if (waiting == RING) revert EnergyTooManyOrders(home, waiting);
        if (waiting == 0) head = 0;
        Terms terms = toTerms(order.buyLimit, order.sellLimit, order.cap, order.untilSlot);
        _queues[home][(head + waiting) & 15] = Terms.wrap(
            Terms.unwrap(terms) | (uint256(order.fromSlot) << 96)
        );
        return state.withQueue(head, waiting + 1, waiting == 0 ? order.fromSlot : state.nextFrom());
    }

    /// @dev The order in force in a slot that is not settled, and the slot in which the one after it begins.
    function _inForce(uint256 home, uint256 slot) private view returns (Terms terms, uint256 next) {
        Home state = _records[home].state;
        terms = _records[home].wish.terms();
        next = state.nextFrom();
        for (uint256 i = 1; next <= slot && i <= state.waiting(); ++i) {
            terms = _queues[home][(state.head() + i - 1) & 15];
            next = i == state.waiting() ? NEVER : _queues[home][(state.head() + i) & 15].fromSlot();
        }
    }

    // ------------------------------------------------------------------ internal: money

    function _credit(uint256 home, uint256 value) private {
        int256 before = _records[home].state.balance();
        if (value > MOST || before + int256(value) > int256(MOST)) revert EnergyBalanceTooHigh(home, MOST);
        _records[home].state = _records[home].state.withBalance(before + int256(value));
        int256 paidBack = _owed(before) - _owed(before + int256(value));
        if (paidBack != 0) _market.debt -= uint104(uint256(paidBack));
    }

    function _creditUtility(uint256 value) private {
        if (value > MOST_UTILITY || _market.utility + int256(value) > int256(MOST_UTILITY))
            revert EnergyBalanceTooHigh(UTILITY, MOST_UTILITY);
        _market.utility += int104(int256(value));
    }

    function _available(uint256 home) private view returns (int256) {
        if (home == UTILITY) return int256(_market.utility) - int256(uint256(_market.debt));
        return _records[home].state.balance() - int256(reserved(home));
    }

    function _owed(int256 balance) private pure returns (int256) {
        return balance < 0 ? -balance : int256(0);
    }

    // ------------------------------------------------------------------ internal: clearing

    /// @dev Lets homes join and meters change whose time has come, and makes room.
    function _open(
        Market memory market,
        uint256 firstSlot,
        uint256 count
    ) private returns (Batch memory batch) {
        uint256 homes = market.joined;
        Register memory register = _register;
        for (; homes < register.homes; ++homes) {
            uint256 from = _owners[homes + 1].fromSlot;
            if (from <= firstSlot) continue;
            if (from < firstSlot + count) revert EnergyHomeJoins(homes + 1, from);
            break;
        }
        batch.firstSlot = firstSlot;
        batch.count = count;
        batch.domain = _domainSeparatorV4();
        batch.free = int256(market.utility) - int256(uint256(market.debt));
        batch.debt = int256(uint256(market.debt));
        if (register.applied != register.changes) _applyChanges(batch, register.applied, register.changes);
        batch.homes = homes;
    }

    /// @dev Reads every home and its entry of the batch, in home order; settles what was counted in gaps.
    function _read(Batch memory batch, bytes calldata readings) private {
        uint256 homes = batch.homes;
        Seat memory seat = Seat(Home.wrap(0), Wish.wrap(0), 0, 0);
        batch.seats = seat;
        _freeMemory(_freeMemory() + homes * SEAT);
        uint256 place = 0;
        // `home` counts homes
        unchecked {
            for (uint256 home = 1; home <= homes; ++home) {
                assembly ("memory-safe") {
                    seat := add(seat, SEAT)
                }
                Record storage record = _records[home];
                seat.state = record.state;
                seat.wish = record.wish;
                // what memory held before is not known to be zero; `bid` is written before it is read
                seat.row = 0;
                place = _readEntry(batch, seat, home, readings, place);
            }
        }
        _checkLength(homes, place, readings.length);
        if (place != readings.length) revert EnergyReadingsPadded(place, readings.length);
    }

    /// @return where the next home's entry begins
    function _readEntry(
        Batch memory batch,
        Seat memory seat,
        uint256 home,
        bytes calldata readings,
        uint256 place
    ) private returns (uint256) {
        // Lengths of calldata and of what it holds stay far below 2^256. What lies beyond its end is zero, or belongs to
        // another argument: `_read` refuses a batch that goes beyond it, so here that is checked only to name it.
        unchecked {
            uint256 tag = uint256(_word(readings, place)) >> 248;
            ++place;
            if (tag == CONTINUES)
                return _readSigned(batch, seat, home, seat.state.counters(), readings, place);
            if (tag == CATCH_UP) {
                uint256 counters = uint256(_word(readings, place)) >> 160;
                place = _readSigned(batch, seat, home, counters, readings, place + COUNTERS);
                _settleGap(batch, seat, home, counters);
                return place;
            }
            _checkLength(home, place, readings.length);
            if (tag == POSTED) _readPosted(batch, seat, home);
            else if (tag == MISSING) _checkNotPosted(batch, home);
            else revert EnergyUnknownTag(home, tag);
            if (seat.row == 0 && seat.wish.meter() != VACANT) {
                ++batch.gaps;
                emit ReadingMissing(home, batch.firstSlot, batch.count);
            }
            return place;
        }
    }

    /// @return end where the next home's entry begins
    function _readSigned(
        Batch memory batch,
        Seat memory seat,
        uint256 home,
        uint256 counters,
        bytes calldata readings,
        uint256 place
    ) private view returns (uint256 end) {
        // lengths of calldata and of what it holds stay far below 2^256
        unchecked {
            end = place + SIGNATURE + batch.count * PAIR;
            _checkCounters(home, counters);
            uint256 row;
            // Assembly because a calldata slice has no other way to tell where it lies.
            assembly ("memory-safe") {
                row := add(readings.offset, add(place, SIGNATURE))
            }
            seat.row = row;
            address meter = seat.wish.meter();
            if (_signer(batch, home, counters, row) != meter) {
                _checkLength(home, end, readings.length);
                revert EnergyForeignReading(home, meter);
            }
        }
    }

    /// @dev A posted reading that contradicts the counters is as none: else its meter could block the slot.
    function _readPosted(Batch memory batch, Seat memory seat, uint256 home) private view {
        uint256 posted = _posted[home][batch.firstSlot];
        if (posted == 0) revert EnergyReadingNotPosted(home, batch.firstSlot);
        if (batch.count != 1) revert EnergyPostedInBatch(home, batch.count);
        uint256 counters = uint96(posted >> 48);
        if (counters >> 48 < seat.state.imported() || uint48(counters) < seat.state.exported()) return;
        _settleGap(batch, seat, home, counters);
        seat.row = FLAG | uint48(posted);
    }

    function _checkNotPosted(Batch memory batch, uint256 home) private view {
        uint256 slot = batch.firstSlot;
        uint256 end = slot + batch.count;
        if (_owners[home].postedUntil < end) end = _owners[home].postedUntil;
        for (; slot < end; ++slot) if (isPosted(home, slot)) revert EnergyReadingPosted(home, slot);
    }

    /// @dev Settles with the grid what was counted from the market's counters up to `counters`.
    function _settleGap(Batch memory batch, Seat memory seat, uint256 home, uint256 counters) private view {
        uint256 stored = seat.state.counters();
        if (counters >> 48 < stored >> 48) revert EnergyCounterBack(home, stored >> 48, counters >> 48);
        if (uint48(counters) < uint48(stored))
            revert EnergyCounterBack(home, uint48(stored), uint48(counters));
        seat.state = seat.state.withCounters(counters);
        // below 2^48 Wh at below 2^24
        unchecked {
            uint256 imported = (counters >> 48) - (stored >> 48);
            uint256 exported = uint48(counters) - uint48(stored);
            _settle(batch, seat, 0, imported * retail, exported * feedIn);
        }
    }

    /// @dev Verifies the interval of clearing prices, then settles everybody at its middle.
    function _clearSlot(Batch memory batch, uint256 t, uint256 lo, uint256 hi) private {
        uint256 slot = batch.firstSlot + t;
        if (lo < feedIn || lo > hi || hi > retail - gridFee) revert EnergyHintOutside(slot, lo, hi);
        (uint256 demand, uint256 supply) = _hear(batch, t, lo, hi);
        Margin memory margin = _price(slot, lo, hi, demand, supply);
        _settleSlot(batch, margin);
        emit SlotCleared(slot, margin.price, lo, hi, margin.volume);
        if (batch.unpaid != 0) {
            emit FeedInUnpaid(slot, batch.unpaid);
            batch.unpaid = 0;
        }
    }

    /// @dev Notes every home's net and bid of a slot and adds them up.
    /// @param t how many slots of the batch are before it
    /// @return demand four sums of 64 bits, from the lowest: of bids at lo or more, above lo, at hi or more, above hi
    /// @return supply likewise: of offers below lo, at lo or less, below hi, at hi or less
    function _hear(
        Batch memory batch,
        uint256 t,
        uint256 lo,
        uint256 hi
    ) private returns (uint256 demand, uint256 supply) {
        // 2^24 homes of 2^24 Wh stay below 2^48, so no sum runs into its neighbour
        unchecked {
            (uint256 slot, uint256 homes) = (batch.firstSlot + t, batch.homes);
            Seat memory seat = batch.seats;
            for (uint256 home = 1; home <= homes; ++home) {
                assembly ("memory-safe") {
                    seat := add(seat, SEAT)
                }
                uint256 bid = _bid(seat, home, slot, t * PAIR);
                uint256 quantity = uint24(bid);
                if (quantity == 0) continue;
                uint256 limit = uint24(bid >> 24);
                if (bid >> 72 == BUYS) {
                    if (limit < lo) continue;
                    if (limit > lo) quantity |= quantity << 64;
                    if (limit >= hi) {
                        quantity |= uint256(uint64(quantity)) << 128;
                        if (limit > hi) quantity |= uint256(uint64(quantity)) << 192;
                    }
                    demand += quantity;
                } else {
                    if (limit > hi) continue;
                    uint256 lanes = quantity << 192;
                    if (limit < hi) lanes |= quantity << 128;
                    if (limit <= lo) {
                        lanes |= quantity << 64;
                        if (limit < lo) lanes |= quantity;
                    }
                    supply += lanes;
                }
            }
        }
    }

    /// @dev Notes a home's net and bid in a slot, and its counters after it.
    /// @param ahead where in the row the slot's deltas are
    /// @return bid kind | net | limit | quantity; 0 where there is no net or no reading
    function _bid(Seat memory seat, uint256 home, uint256 slot, uint256 ahead) private returns (uint256 bid) {
        uint256 pair = seat.row;
        if (pair == 0) return seat.bid = 0;
        if (pair & FLAG == 0) {
            // Assembly: one word of calldata, whose bounds `_readSigned` has checked.
            assembly ("memory-safe") {
                pair := shr(208, calldataload(add(pair, ahead)))
            }
        }
        // _checkCounters has seen to it that no counter leaves its 48 bits
        unchecked {
            uint256 imported = uint24(pair >> 24);
            uint256 exported = uint24(pair);
            Home state = seat.state.advanced(imported, exported);
            if (imported != exported) {
                if (slot >= state.nextFrom()) {
                    state = _begin(home, state, slot);
                    seat.wish = _records[home].wish;
                }
                Terms terms = seat.wish.terms();
                uint256 quantity = terms.cap();
                if (imported > exported) {
                    uint256 net = imported - exported;
                    bid = (BUYS << 72) | (net << 48);
                    uint256 limit = terms.buyLimit();
                    if (limit >= feedIn + gridFee && slot < terms.untilSlot()) {
                        if (limit > retail) limit = retail;
                        if (quantity > net) quantity = net;
                        // the fee is part of what the home pays, so what is left of its limit is for the seller
                        if (state.balance() >= int256(quantity * limit))
                            bid |= ((limit - gridFee) << 24) | quantity;
                    }
                } else {
                    uint256 net = exported - imported;
                    bid = (SELLS << 72) | (net << 48);
                    uint256 limit = terms.sellLimit();
                    if (limit <= retail && slot < terms.untilSlot()) {
                        if (limit < feedIn) limit = feedIn;
                        if (quantity > net) quantity = net;
                        bid |= (limit << 24) | quantity;
                    }
                }
            }
            seat.state = state;
            seat.bid = bid;
        }
    }

    /// @dev Refuses any other interval than that of all clearing prices. Demand never rises and supply never falls with the
    /// price, so four comparisons at its ends are enough.
    function _price(
        uint256 slot,
        uint256 lo,
        uint256 hi,
        uint256 demand,
        uint256 supply
    ) private view returns (Margin memory margin) {
        (uint256 from, uint256 above) = (uint64(demand), uint64(demand >> 64));
        (uint256 below, uint256 upto) = (uint64(supply), uint64(supply >> 64));
        if (above > upto) revert EnergyLowTooLow(slot, lo, above, upto);
        if (lo != feedIn && from <= below) revert EnergyLowTooHigh(slot, lo, from, below);
        {
            (uint256 fromHi, uint256 aboveHi) = (uint64(demand >> 128), demand >> 192);
            (uint256 belowHi, uint256 uptoHi) = (uint64(supply >> 128), supply >> 192);
            if (belowHi > fromHi) revert EnergyHighTooHigh(slot, hi, fromHi, belowHi);
            if (hi != retail - gridFee && uptoHi <= aboveHi)
                revert EnergyHighTooLow(slot, hi, aboveHi, uptoHi);
        }
        // what was checked makes none of these differences negative
        unchecked {
            margin.price = (lo + hi) >> 1;
            // strictly between lo and hi nobody's limit lies: demand and supply are those beside lo, and equal
            if (margin.price != lo) (from, below) = (above, upto);
            margin.volume = from < upto ? from : upto;
            margin.buyLeft = margin.volume - above;
            margin.buyAll = from - above;
            margin.sellLeft = margin.volume - below;
            margin.sellAll = upto - below;
        }
    }

    /// @dev Derives everybody's fill and settles it, and the rest with the grid.
    function _settleSlot(Batch memory batch, Margin memory margin) private view {
        (uint256 price, uint256 homes) = (margin.price, batch.homes);
        Seat memory seat = batch.seats;
        // a fill is at most the net, which is below 2^24, as are the prices
        unchecked {
            for (uint256 home = 1; home <= homes; ++home) {
                assembly ("memory-safe") {
                    seat := add(seat, SEAT)
                }
                uint256 bid = seat.bid;
                if (bid == 0) continue;
                uint256 net = uint24(bid >> 48);
                uint256 limit = uint24(bid >> 24);
                uint256 fill = uint24(bid);
                if (bid >> 72 == BUYS) {
                    if (limit < price) fill = 0;
                    else if (limit == price) fill = _shareOfBuyer(margin, fill);
                    _settle(batch, seat, -int256(fill * price), (net - fill) * retail + fill * gridFee, 0);
                } else {
                    if (limit > price) fill = 0;
                    else if (limit == price) fill = _shareOfSeller(margin, fill);
                    _settle(batch, seat, int256(fill * price), 0, (net - fill) * feedIn);
                }
            }
        }
    }

    /// @dev The next marginal buyer's share: what all up to this one get less what those before got, each rounded down.
    function _shareOfBuyer(Margin memory margin, uint256 quantity) private pure returns (uint256 share) {
        if (quantity == 0) return 0;
        // products of sums below 2^48
        unchecked {
            uint256 given = (margin.buyLeft * margin.buyReached) / margin.buyAll;
            margin.buyReached += quantity;
            share = (margin.buyLeft * margin.buyReached) / margin.buyAll - given;
        }
    }

    /// @dev The same for a seller.
    function _shareOfSeller(Margin memory margin, uint256 quantity) private pure returns (uint256 share) {
        if (quantity == 0) return 0;
        // products of sums below 2^48
        unchecked {
            uint256 given = (margin.sellLeft * margin.sellReached) / margin.sellAll;
            margin.sellReached += quantity;
            share = (margin.sellLeft * margin.sellReached) / margin.sellAll - given;
        }
    }

    /// @dev Moves a home's money of a slot: `market` from or to the others, `charge` to the utility, `due` from it.
    function _settle(
        Batch memory batch,
        Seat memory seat,
        int256 market,
        uint256 charge,
        uint256 due
    ) private pure {
        // MOST keeps all of it within 104 bits, and balances within 96
        unchecked {
            int256 before = seat.state.balance();
            int256 change = market - int256(charge) + int256(due);
            int256 free = batch.free + int256(charge) - int256(due);
            int256 balance = before + change;
            if ((before | balance | free) < 0) {
                // debt paid back is the utility's to use, debt made is not
                free += _owed(before) - _owed(balance);
                if (free < 0) {
                    change -= int256(due);
                    balance -= int256(due);
                    batch.unpaid += due;
                    free = batch.free + int256(charge) + _owed(before) - _owed(balance);
                }
                batch.debt += _owed(balance) - _owed(before);
            }
            seat.state = seat.state.plus(change);
            batch.free = free;
        }
    }

    /// @dev Writes what has changed: each home once, whatever the number of slots.
    function _close(Batch memory batch) private {
        uint256 homes = batch.homes;
        Seat memory seat = batch.seats;
        // `home` counts homes
        unchecked {
            for (uint256 home = 1; home <= homes; ++home) {
                assembly ("memory-safe") {
                    seat := add(seat, SEAT)
                }
                if (seat.row != 0) _records[home].state = seat.state;
            }
        }
        // MOST and MOST_UTILITY keep both amounts within 104 bits
        _market = Market(
            uint24(batch.firstSlot + batch.count),
            uint24(homes),
            int104(batch.free + batch.debt),
            uint104(uint256(batch.debt))
        );
    }

    // ------------------------------------------------------------------ internal: checks and hashes

    function _known(uint256 home) private view returns (uint256) {
        uint256 homes = _register.homes;
        if (home == UTILITY || home > homes) revert EnergyUnknownHome(home, homes);
        return home;
    }

    function _checkRegistrar() private view {
        if (msg.sender != registrar) revert EnergyCallerNotRegistrar(msg.sender, registrar);
    }

    /// @dev Whether a home, or the utility, wants what `hash` says. The owner itself needs no signature.
    /// @return digest of what was signed
    function _checkOwner(
        uint256 home,
        uint256 validBefore,
        bytes32 hash,
        bytes calldata signature
    ) private view returns (bytes32 digest) {
        if (home != UTILITY) _known(home);
        if (block.timestamp >= validBefore) revert EnergyExpired(validBefore, block.timestamp);
        digest = _hashTypedDataV4(hash);
        address owner = _owners[home].owner;
        if (msg.sender != owner && !Signatures.isSignature(owner, digest, signature))
            revert EnergyInvalidSignature(owner);
    }

    function _checkTime(uint256 opens) private view {
        if (block.timestamp < opens) revert EnergyTooEarly(opens, block.timestamp);
    }

    function _checkLength(uint256 home, uint256 needed, uint256 length) private pure {
        if (needed > length) revert EnergyReadingsTruncated(home, needed, length);
    }

    /// @dev Both counters (uint48 | uint48) must be below 2^47, and so have room for MOST_SLOTS slots.
    function _checkCounters(uint256 home, uint256 counters) private pure {
        if (counters & HIGHEST_BITS != 0) revert EnergyCounterTooHigh(home, counters >> 48, uint48(counters));
    }

    /// @dev Adds a slot's deltas (uint24 | uint24) to counters (uint48 | uint48) that have room for them.
    function _advance(uint256 counters, uint256 pair) private pure returns (uint256) {
        unchecked {
            return counters + (uint256(uint24(pair >> 24)) << 48) + uint24(pair);
        }
    }

    /// @dev When a slot begins, which is when the one before it has ended.
    function _begins(uint256 slot) private view returns (uint256) {
        return genesis + slot * SLOT;
    }

    function _hashReadings(Readings calldata readings) private pure returns (bytes32) {
        return
            keccak256(
                abi.encode(
                    READINGS_TYPEHASH,
                    readings.home,
                    readings.firstSlot,
                    readings.imported,
                    readings.exported,
                    keccak256(readings.deltas)
                )
            );
    }

    /// @dev Who signed `Readings` whose deltas are at `row` of calldata, behind 64 bytes of EIP-2098 signature. The digest
    /// is that of `_hashReadings`, in memory that is used again for each home: a thousand homes would else pay for a
    /// memory of 300 kB. Tests hold both against the same typed data.
    /// s may be in the upper half: a reading can't be used twice anyway. Zero, which is ecrecover's answer to nonsense, is
    /// nobody's meter.
    function _signer(
        Batch memory batch,
        uint256 home,
        uint256 counters,
        uint256 row
    ) private view returns (address signer) {
        bytes32 typehash = READINGS_TYPEHASH;
        (uint256 firstSlot, uint256 length, bytes32 domain) = (batch.firstSlot, batch.count, batch.domain);
        assembly ("memory-safe") {
            let free := mload(0x40)
            length := mul(length, PAIR)
            calldatacopy(free, row, length)
            mstore(add(free, 160), keccak256(free, length))
            mstore(free, typehash)
            mstore(add(free, 32), home)
            mstore(add(free, 64), firstSlot)
            mstore(add(free, 96), shr(48, counters))
            mstore(add(free, 128), and(counters, 0xffffffffffff))
            let structHash := keccak256(free, 192)
            mstore(free, hex"1901")
            mstore(add(free, 2), domain)
            mstore(add(free, 34), structHash)
            mstore(free, keccak256(free, 66))
            // the highest bit of the signature's second word is the parity, the rest is s
            let vs := calldataload(sub(row, 32))
            mstore(add(free, 32), add(27, shr(255, vs)))
            mstore(add(free, 64), calldataload(sub(row, 64)))
            mstore(add(free, 96), shr(1, shl(1, vs)))
            mstore(0, 0)
            pop(staticcall(gas(), 1, free, 128, 0, 32))
            signer := mload(0)
        }
    }

    /// @dev Where the next allocation goes.
    function _freeMemory() private pure returns (uint256 place) {
        assembly ("memory-safe") {
            place := mload(0x40)
        }
    }

    /// @dev Forgets all that was allocated from `place` on.
    function _freeMemory(uint256 place) private pure {
        assembly ("memory-safe") {
            mstore(0x40, place)
        }
    }

    /// @dev A word of calldata; what lies beyond its end is zero, so the caller checks the length.
    function _word(bytes calldata data, uint256 place) private pure returns (bytes32 word) {
        // Assembly because the checks of a slice cost a hundred gas per home.
        assembly ("memory-safe") {
            word := calldataload(add(data.offset, place))
        }
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IEnergyMarket
    function balanceOf(uint256 home) external view returns (int256) {
        return home == UTILITY ? int256(_market.utility) : _records[home].state.balance();
    }

    /// @inheritdoc IEnergyMarket
    function reserved(uint256 home) public view returns (uint256 sum) {
        uint256 slot = _market.nextSlot;
        uint256 end = currentSlot() + 1;
        uint256 leaves = _leaves(home);
        if (end > leaves) end = leaves;
        while (slot < end) {
            (Terms terms, uint256 next) = _inForce(home, slot);
            if (next > end) next = end;
            uint256 until = terms.untilSlot() < next ? terms.untilSlot() : next;
            uint256 limit = terms.buyLimit() < retail ? terms.buyLimit() : retail;
            if (limit >= feedIn + gridFee && until > slot) sum += (until - slot) * terms.cap() * limit;
            slot = next;
        }
    }

    /// @inheritdoc IEnergyMarket
    function debt() external view returns (uint256) {
        return _market.debt;
    }

    /// @inheritdoc IEnergyMarket
    function homeCount() external view returns (uint256) {
        return _register.homes;
    }

    /// @inheritdoc IEnergyMarket
    function homeOf(
        uint256 home
    ) external view returns (address owner, address meter, uint256 fromSlot, uint256 untilSlot) {
        return (_owners[home].owner, _records[home].wish.meter(), _owners[home].fromSlot, _leaves(home));
    }

    /// @inheritdoc IEnergyMarket
    function changesApplied() external view returns (uint256) {
        return _register.applied;
    }

    /// @inheritdoc IEnergyMarket
    function countersOf(uint256 home) external view returns (uint256 imported, uint256 exported) {
        return (_records[home].state.imported(), _records[home].state.exported());
    }

    /// @inheritdoc IEnergyMarket
    function orderOf(
        uint256 home,
        uint256 slot
    )
        external
        view
        returns (uint256 seq, uint256 untilSlot, uint256 buyLimit, uint256 sellLimit, uint256 cap)
    {
        (Terms terms, ) = _inForce(home, slot);
        seq = _records[home].state.seq();
        if (slot < terms.untilSlot())
            return (seq, terms.untilSlot(), terms.buyLimit(), terms.sellLimit(), terms.cap());
    }

    /// @inheritdoc IEnergyMarket
    function isPosted(uint256 home, uint256 slot) public view returns (bool) {
        return _posted[home][slot] != 0;
    }

    /// @inheritdoc IEnergyMarket
    function nextSlot() external view returns (uint256) {
        return _market.nextSlot;
    }

    /// @inheritdoc IEnergyMarket
    function currentSlot() public view returns (uint256) {
        return block.timestamp < genesis ? 0 : (block.timestamp - genesis) / SLOT;
    }

    /// @inheritdoc IEnergyMarket
    function depositNonce(uint256 home, bytes32 salt) public pure returns (bytes32) {
        return keccak256(abi.encode(home, salt));
    }

    /// @inheritdoc IEnergyMarket
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
