// The checks by kind, without a page: what main.js shows and the tests run.
import { checkLog } from "./log.js";
import { count, Node } from "./node.js";
import { checkPayment } from "./payment.js";
import { checkSlot } from "./slot.js";
import { same, Steps } from "./steps.js";

const CHECKS = { payment: checkPayment, slot: checkSlot, log: checkLog };

export const KINDS = Object.keys(CHECKS);

/** Check what a page claims by the node at `url`; `tell` hears of each step. Returns "good", "bad" or "unknown". */
export function check(kind, claims, url, tell, file) {
  return new Steps(tell).run(async (steps) => {
    const node = await steps.needed("chain", async () => {
      const made = new Node(url);
      same("chain", claims.chain, count(await made.call("eth_chainId")));
      return [made, { chain: claims.chain }];
    });
    await CHECKS[kind](steps, node, claims, file);
  });
}
