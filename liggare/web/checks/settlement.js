// Who pays whom after a slot, to the unit; the twin of liggare/energy/settlement.py.
import { match } from "./matching.js";

const owed = (balance) => (balance < 0n ? -balance : 0n);

/** The money of all homes and of the utility, in units of 10^-6; energy in Wh, prices in thousandths per kWh. */
export class Till {
  constructor({ retail, feedIn, gridFee }) {
    Object.assign(this, { retail, feedIn, gridFee, balances: new Map(), utility: 0n, debt: 0n });
  }

  total() {
    return [...this.balances.values()].reduce((sum, each) => sum + each, this.utility);
  }

  /** Pay into an account, or out of it below zero. */
  move(home, value) {
    if (home === 0) {
      this.utility += value;
      return;
    }
    const before = this.balances.get(home) ?? 0n;
    this.balances.set(home, before + value);
    this.debt += owed(before + value) - owed(before);
  }

  /** Move a home's money; return what of `due`, the feed-in, the utility's free money does not cover. */
  settle(home, market, charge, due) {
    const before = this.balances.get(home);
    let balance = before + market - charge;
    let utility = this.utility + charge;
    let unpaid = due;
    if (utility - this.debt + owed(before) - due >= owed(balance + due)) {
      balance += due;
      utility -= due;
      unpaid = 0n;
    }
    this.balances.set(home, balance);
    this.utility = utility;
    this.debt += owed(balance) - owed(before);
    return unpaid;
  }

  /** Settle with the grid what was counted outside of slots with a reading. */
  settleGap(home, imported, exported) {
    return this.settle(home, 0n, BigInt(imported) * BigInt(this.retail), BigInt(exported) * BigInt(this.feedIn));
  }

  /** Clear and settle a slot: `nets` home -> Wh in home order, `orders` home -> order in force.
   *
   * Returns {lo, hi, price, volume, traded, bids, offers, unpaid}; traded home -> Wh, below zero sold.
   */
  settleSlot(nets, orders) {
    const [bids, offers] = [[], []];
    for (const [home, net] of nets) {
      const order = orders.get(home);
      if (net > 0) bids.push({ home, ...this._bid(home, net, order) });
      if (net < 0) offers.push({ home, ...this._offer(net, order) });
    }
    const { bought, sold, ...found } = match(bids, offers, this.feedIn, this.retail - this.gridFee);
    const traded = new Map([
      ...bids.map(({ home }, index) => [home, bought[index]]),
      ...offers.map(({ home }, index) => [home, -sold[index]]),
    ]);
    let unpaid = 0n;
    for (const [home, net] of nets) {
      if (!net) continue;
      const fill = traded.get(home);
      const rest = net - fill;
      const charge = Math.max(rest, 0) * this.retail + Math.max(fill, 0) * this.gridFee;
      const due = Math.max(-rest, 0) * this.feedIn;
      unpaid += this.settle(home, BigInt(-fill * found.price), BigInt(charge), BigInt(due));
    }
    return { ...found, traded, bids, offers, unpaid };
  }

  _bid(home, net, order) {
    if (!order || order.buyLimit < this.feedIn + this.gridFee) return { limit: 0, wh: 0 };
    const [limit, wh] = [Math.min(order.buyLimit, this.retail), Math.min(order.cap, net)];
    // only who can pay all of it is heard
    return this.balances.get(home) >= BigInt(limit * wh) ? { limit: limit - this.gridFee, wh } : { limit: 0, wh: 0 };
  }

  _offer(net, order) {
    if (!order || order.sellLimit > this.retail) return { limit: 0, wh: 0 };
    return { limit: order.sellLimit, wh: Math.min(order.cap, -net) };
  }
}
