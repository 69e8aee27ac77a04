// The checks by kind, without a page: what main.js shows and the tests run.
import { checkLog } from "./log.js";
import { count, Node } from "./node.js";
import { checkPayment } from "./payment.js";
import { checkSlot } from "./slot.js";
import { same, Steps, Wrong } from "./steps.js";

const CHECKS = { payment: checkPayment, slot: checkSlot, log: checkLog };

export const KINDS = Object.keys(CHECKS);

const NUMBER = /^\d{1,39}$/;
const ADDRESS = /^0x[0-9a-f]{40}$/i;
const HASH = /^0x[0-9a-f]{64}$/i;
const FORMS = { contract: ADDRESS, payer: ADDRESS, payee: ADDRESS, custodian: ADDRESS };
Object.assign(FORMS, { transaction: HASH, id: HASH, root: HASH, fills: /^(\d+:-?\d+( |$))*$/ });
for (const name of ["chain", "block", "log", "value", "slot", "price", "lo", "hi", "volume", "heads", "size"]) {
  FORMS[name] = NUMBER;
}

function checkForms(claims) {
  for (const [name, form] of Object.entries(FORMS)) {
    if (claims[name] !== undefined && !form.test(claims[name])) throw new Wrong("claim", form.source, claims[name]);
  }
}

/** Check what a page claims by the node at `url`; `tell` hears of each step. Returns "good", "bad" or "unknown". */
export function check(kind, claims, url, tell, file) {
  return new Steps(tell).run(async (steps) => {
    const node = await steps.needed("chain", async () => {
      checkForms(claims);
      const made = new Node(url);
      same("chain", claims.chain, count(await made.call("eth_chainId")));
      return [made, { chain: claims.chain }];
    });
    await CHECKS[kind](steps, node, claims, file);
  });
}
