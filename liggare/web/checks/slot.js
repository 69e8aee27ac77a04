// A market slot: its price and everybody's part follow from orders and readings, and nobody was left out.
//
//     clearing in its block -> all events of the market -> replay -> signatures of meters -> price -> fills -> sums -> state
import { market } from "./abi.js";
import { openTransaction } from "./block.js";
import { ask, checkDomain, event } from "./contract.js";
import { Market } from "./market.js";
import { idOf, signerOf } from "./messages.js";
import { count } from "./node.js";
import { same, Wrong } from "./steps.js";

/** `claims`: chain, contract, block (the contract's first), transaction, slot, price, lo, hi, volume, and fills where shown. */
export async function checkSlot(steps, node, claims) {
  const { block, logs, own } = await openTransaction(steps, node, claims.transaction);
  const { contract } = claims;
  const slot = Number(claims.slot);
  const end = count(block.number);
  await steps.needed("clearing", () => {
    const told = own.map((log) => event(market, contract, log)).filter((each) => each?.name === "SlotCleared");
    const found = told.find(({ args }) => Number(args.slot) === slot);
    if (!found) throw new Wrong("slotInTransaction", slot, told.map(({ args }) => args.slot).join(" ") || "—");
    return [found, { slot }];
  });
  const domain = await checkDomain(steps, node, market, claims, "Liggare Energy");
  const history = await steps.needed("events", async (progress) => {
    const found = await node.logs({ address: contract }, Number(claims.block), end, progress);
    const proven = logs.filter((log) => log.address.toLowerCase() === contract.toLowerCase());
    const last = found.filter((log) => count(log.blockNumber) === end);
    same("eventsOfBlock", JSON.stringify(proven.map(content)), JSON.stringify(last.map(content)));
    return [found, { count: found.length, from: claims.block, to: end }];
  });
  const replayed = await steps.needed("replay", async (progress) => {
    const [retail, feedIn, gridFee] = (await ask(node, market, contract, [["retail"], ["feedIn"], ["gridFee"]])).map(
      Number,
    );
    const found = new Market(domain, { retail, feedIn, gridFee }, new Set([slot]));
    for (const [index, log] of history.entries()) {
      const told = event(market, contract, log);
      if (told) found.apply(told);
      if (index % 500 === 0) {
        progress(index, history.length);
        await new Promise((resolve) => setTimeout(resolve)); // let the page breathe
      }
    }
    if (!found.slots.has(slot)) throw new Wrong("readingsTold", slot, "—");
    return [found, { homes: found.homes.size, orders: found.orders, slots: found.cleared }];
  });
  const found = replayed.slots.get(slot);
  await steps.step("readings", async () => {
    for (const { meter, message, signature } of found.signed) {
      const signer = await signerOf(idOf(domain, "Readings", message), signature);
      if (signer !== meter) throw new Wrong("meter", `${message.home}: ${meter}`, signer ?? "—");
    }
    return [true, { homes: found.homes.length, signed: found.signed.length, missing: found.missing.join(" ") || "—" }];
  });
  await steps.step("price", () => {
    for (const name of ["lo", "hi", "price", "volume"]) {
      same(name, found[name], found.told[name]);
      same(`${name}Page`, found[name], claims[name]);
    }
    return [true, { price: found.price, lo: found.lo, hi: found.hi, volume: found.volume }];
  });
  const fills = [...found.traded].filter(([, wh]) => wh);
  if (claims.fills !== undefined) {
    await steps.step("fills", () => {
      const text = fills.sort(([one], [other]) => one - other).map(([home, wh]) => `${home}:${wh}`);
      const shown = claims.fills
        .split(" ")
        .filter(Boolean)
        .sort((one, other) => parseInt(one, 10) - parseInt(other, 10));
      same("fillsPage", text.join(" "), shown.join(" "));
      return [true, { fills: text.join(", ") || "—" }];
    });
  }
  await steps.step("sums", () => {
    const side = (sign) => fills.reduce((sum, [, wh]) => sum + Math.max(sign * wh, 0), 0);
    same("bought", found.volume, side(1));
    same("sold", found.volume, side(-1));
    same("zero", 0n, found.change);
    return [true, { bought: side(1), sold: side(-1) }];
  });
  await steps.step("state", () => compareState(node, contract, block.number, replayed));
}

const content = ({ topics, data }) => [topics, data];

/** What the chain itself holds at the end of the block is what the replay gives. */
async function compareState(node, contract, at, { homes, till, nextSlot }) {
  const numbers = [...homes.keys()];
  const views = [["homeCount"], ["nextSlot"], ["debt"], ["balanceOf", 0n]];
  for (const home of numbers.map(BigInt))
    views.push(["balanceOf", home], ["countersOf", home], ["orderOf", home, nextSlot]);
  const [homeCount, next, debt, utility, ...rest] = await ask(node, market, contract, views, at);
  same("homeCount", homes.size, homeCount);
  same("nextSlot", nextSlot, next);
  same("debt", till.debt, debt);
  same("balance", `0: ${till.utility}`, `0: ${utility}`);
  for (const [index, home] of numbers.entries()) {
    const [balance, counters, [seq]] = rest.slice(3 * index, 3 * index + 3);
    same("balance", `${home}: ${till.balances.get(home)}`, `${home}: ${balance}`);
    same("counters", `${home}: ${homes.get(home).counters.join(" / ")}`, `${home}: ${counters.join(" / ")}`);
    same("seq", `${home}: ${homes.get(home).seq}`, `${home}: ${seq}`);
  }
  return [true, { accounts: numbers.length + 1 }];
}
