// The market, replayed from its events: every clearing is computed anew; the twin of liggare/energy/rules.py.
//
//     events -> homes, orders, posted readings, money -> ReadingsTaken: entries -> nets -> price, fills, money
import { idOf } from "./messages.js";
import { decodeReadings, MISSING, POSTED, unpack } from "./readings.js";
import { Till } from "./settlement.js";
import { same, Wrong } from "./steps.js";

const NEVER = 2 ** 24 - 1;
const split = (word) => [Number(word >> 48n), Number(word & (2n ** 48n - 1n))];

export class Market {
  /** `tariffs` {retail, feedIn, gridFee} are numbers; slots in `wanted` are kept whole in `slots`. */
  constructor(domain, tariffs, wanted) {
    Object.assign(this, { domain, wanted, till: new Till(tariffs), nextSlot: 0, homes: new Map() });
    Object.assign(this, { changes: [], pending: [], slots: new Map(), cleared: 0, orders: 0 });
  }

  /** Replay one event. Throws Wrong where a rule is broken. */
  apply({ name, args }) {
    if (["SlotCleared", "ReadingMissing", "FeedInUnpaid"].includes(name)) {
      this.pending.push({ name, args });
      return;
    }
    if (name !== "ReadingsTaken" && this.pending.length) throw new Wrong("readingsTold", "ReadingsTaken", name);
    this[`_${name}`]?.(args);
  }

  _HomeRegistered({ home, meter, imported, exported, fromSlot }) {
    same("homesInTurn", this.homes.size + 1, home);
    if (!this.homes.size) this.nextSlot = Number(fromSlot);
    const counters = [Number(imported), Number(exported)];
    const rest = { untilSlot: NEVER, orders: [], posted: new Map(), seq: 0 };
    this.homes.set(Number(home), { meter, counters, fromSlot: Number(fromSlot), ...rest });
    this.till.balances.set(Number(home), 0n);
  }

  _MeterReplaced({ home, meter, fromSlot, counters, last }) {
    this.changes.push({ home: this._home(home), meter, fromSlot: Number(fromSlot), counters, last });
  }

  _HomeMovedOut({ home, fromSlot, last }) {
    this._known(this._home(home)).untilSlot = Number(fromSlot);
    this.changes.push({ home: Number(home), fromSlot: Number(fromSlot), counters: 0n, last });
  }

  _home(number) {
    this._known(Number(number));
    return Number(number);
  }

  _known(home) {
    if (!this.homes.has(home)) throw new Wrong("homeKnown", `1 … ${this.homes.size}`, home);
    return this.homes.get(home);
  }

  _OrderPlaced({ home, id, ...terms }) {
    const known = this._known(Number(home));
    same("orderId", idOf(this.domain, "Order", { home: Number(home), ...plain(terms) }), id);
    const order = { id, ...plain(terms) };
    if (order.seq <= known.seq) throw new Wrong("orderSeq", `> ${known.seq}`, order.seq);
    known.seq = order.seq;
    known.orders = [...known.orders.filter(({ fromSlot }) => fromSlot < order.fromSlot), order];
    this.orders++;
  }

  _Deposited({ home, value }) {
    this.till.move(Number(home), value);
  }

  _Withdrawn({ home, value }) {
    this.till.move(Number(home), -value);
  }

  _ReadingsPosted({ home, firstSlot, imported, exported, deltas }) {
    const known = this._known(Number(home));
    let counters = [Number(imported), Number(exported)];
    for (const [index, pair] of unpack(deltas).entries()) {
      known.posted.set(Number(firstSlot) + index, { counters, pair });
      counters = plus(counters, pair);
    }
  }

  _SlotsClosed({ firstSlot, nextSlot }) {
    same("slotsInTurn", this.nextSlot, firstSlot);
    this.nextSlot = Number(nextSlot);
  }

  /** The order of a home that is in force in a slot, undefined without one. */
  order(home, slot) {
    const last = this._known(home).orders.findLast(({ fromSlot }) => fromSlot <= slot);
    return last && slot < last.untilSlot && last.cap ? last : undefined;
  }

  // ------------------------------------------------------------------ a clearing

  _ReadingsTaken({ firstSlot, count, homes: told, readings }) {
    const [pending, first, slots] = [this.pending, Number(firstSlot), Number(count)];
    this.pending = [];
    same("slotsInTurn", this.nextSlot, first);
    const homes = [...this.homes.keys()].filter((home) => this.homes.get(home).fromSlot <= first);
    same("everyHome", homes.length, told);
    this.nextSlot = first + slots;
    const unpaid = Array(slots).fill(0n);
    unpaid[0] += this._applyChanges(first, slots);
    const pairs = new Map();
    const [signed, missing] = [[], []];
    for (const [index, entry] of decodeReadings(readings, homes.length, slots).entries()) {
      const home = homes[index];
      const found = this._read(home, first, slots, entry);
      if (!found) {
        if (first < this.homes.get(home).untilSlot) missing.push(home);
        continue;
      }
      const [start, counted, message] = found;
      if (message) signed.push({ meter: this.homes.get(home).meter, message, signature: entry.signature });
      const known = this.homes.get(home);
      unpaid[0] += this.till.settleGap(home, start[0] - known.counters[0], start[1] - known.counters[1]);
      known.counters = start;
      pairs.set(home, counted);
    }
    const toldMissing = pending.filter(({ name }) => name === "ReadingMissing").map(({ args }) => Number(args.home));
    same("missingTold", missing.join(" "), toldMissing.join(" "));
    for (let t = 0; t < slots; t++) this._settle(first + t, t, pairs, unpaid[t], pending, { signed, missing, homes });
  }

  _applyChanges(first, count) {
    let unpaid = 0n;
    while (this.changes.length && this.changes[0].fromSlot < first + count) {
      const { home, meter, fromSlot, counters, last } = this.changes.shift();
      if (fromSlot > first) throw new Wrong("batchAcrossChange", fromSlot, first);
      const known = this.homes.get(home);
      const ends = split(last);
      const gap = known.counters.map((start, side) => Math.max(ends[side] - start, 0));
      unpaid += this.till.settleGap(home, ...gap);
      Object.assign(known, { counters: split(counters), meter });
    }
    return unpaid;
  }

  /** Return [counters, pairs, message where a meter signed one] of a home's entry; undefined without a reading. */
  _read(home, first, count, { tag, counters, deltas }) {
    const known = this.homes.get(home);
    if (tag === MISSING) {
      for (let slot = first; slot < first + count; slot++) {
        if (known.posted.has(slot)) throw new Wrong("postedUsed", `${home}: ${slot}`, "—");
      }
      return undefined;
    }
    if (tag === POSTED) {
      const posted = known.posted.get(first);
      if (!posted) throw new Wrong("postedThere", `${home}: ${first}`, "—");
      if (posted.counters.some((given, side) => given < known.counters[side])) return undefined;
      return [posted.counters, [posted.pair]];
    }
    const start = counters ?? known.counters;
    if (start.some((given, side) => given < known.counters[side])) {
      throw new Wrong("counterBack", known.counters.join(" / "), start.join(" / "));
    }
    const message = { home, firstSlot: first, imported: BigInt(start[0]), exported: BigInt(start[1]), deltas };
    return [start, unpack(deltas), message];
  }

  _settle(slot, t, pairs, gaps, pending, batch) {
    const nets = new Map([...pairs].map(([home, counted]) => [home, counted[t][0] - counted[t][1]]));
    const orders = new Map([...nets.keys()].map((home) => [home, this.order(home, slot)]));
    const before = this.till.total();
    const found = this.till.settleSlot(nets, orders);
    for (const [home, counted] of pairs) {
      const known = this.homes.get(home);
      known.counters = plus(known.counters, counted[t]);
    }
    const of = (wanted) => pending.filter(({ name, args }) => name === wanted && Number(args.slot) === slot);
    const [cleared, ...more] = of("SlotCleared");
    if (!cleared || more.length) throw new Wrong("slotTold", slot, more.length ? `${more.length + 1}` : "—");
    this.cleared++;
    const kept = { ...found, ...batch, nets, orders, told: cleared.args, change: this.till.total() - before };
    if (this.wanted.has(slot)) {
      this.slots.set(slot, kept); // its own step compares it
      return;
    }
    for (const name of ["lo", "hi", "price", "volume"]) same(name, found[name], cleared.args[name]);
    same("unpaid", gaps + found.unpaid, of("FeedInUnpaid")[0]?.args.unpaid ?? 0n);
  }
}

const plus = (counters, pair) => [counters[0] + pair[0], counters[1] + pair[1]];
const plain = (terms) => Object.fromEntries(Object.entries(terms).map(([name, value]) => [name, Number(value)]));
