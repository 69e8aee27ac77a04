// The one price that bids and offers imply, and who gets how much; the twin of liggare/energy/matching.py.
// All rules: interfaces/IEnergyMarket.sol.

/** Clear bids and offers, each {limit, wh} in home order: limits are what sellers get at, a bid's without the grid fee.
 *
 * Returns {lo, hi, price, volume, bought, sold}, the last two a number of Wh for each bid and each offer.
 */
export function match(bids, offers, lowest, highest) {
  const clip = (limit) => Math.min(Math.max(limit, lowest), highest);
  const heardBids = bids.map(({ limit, wh }) => ({ limit: clip(limit), wh: limit < lowest ? 0 : wh }));
  const heardOffers = offers.map(({ limit, wh }) => ({ limit: clip(limit), wh: limit > highest ? 0 : wh }));
  const sum = (all, wanted) => all.reduce((total, each) => total + (wanted(each.limit) ? each.wh : 0), 0);
  const demand = (wanted) => sum(heardBids, wanted);
  const supply = (wanted) => sum(heardOffers, wanted);
  // both ends are a tariff or somebody's limit
  const named = [...heardBids, ...heardOffers].filter(({ wh }) => wh).map(({ limit }) => limit);
  const ladder = [...new Set([lowest, highest, ...named])].sort((one, other) => one - other);
  const lo = ladder.find((p) => demand((limit) => limit > p) <= supply((limit) => limit <= p));
  const hi = ladder.findLast((p) => supply((limit) => limit < p) <= demand((limit) => limit >= p));
  const price = Math.floor((lo + hi) / 2);
  const above = demand((limit) => limit > price);
  const below = supply((limit) => limit < price);
  const volume = Math.min(
    demand((limit) => limit >= price),
    supply((limit) => limit <= price),
  );
  const bought = fills(heardBids, (limit) => limit > price, price, volume - above);
  const sold = fills(heardOffers, (limit) => limit < price, price, volume - below);
  return { lo, hi, price, volume, bought, sold };
}

/** Serve what is better than the price in full; those at it share `left` by floors of running sums. */
function fills(all, better, price, left) {
  const margin = all.reduce((total, { limit, wh }) => total + (limit === price ? wh : 0), 0);
  let [running, given] = [0, 0];
  return all.map(({ limit, wh }) => {
    if (limit !== price) return better(limit) ? wh : 0;
    running += wh;
    const upto = margin ? Number((BigInt(left) * BigInt(running)) / BigInt(margin)) : 0;
    const share = upto - given;
    given = upto;
    return share;
  });
}
