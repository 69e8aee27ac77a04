// The visitor's node, by JSON-RPC over HTTP: the only thing that a check asks.
import { Unknown } from "./steps.js";

const PATIENCE = 30_000;
const STRETCH = 5_000; // blocks asked for at once; fewer where the node finds that too many
const TOGETHER = 50; // calls in one request

/** Return a JSON-RPC quantity as a BigInt. Throws where it is none. */
export function big(quantity) {
  if (typeof quantity !== "string" || !/^0x[0-9a-f]{1,64}$/i.test(quantity))
    throw new Error(`${quantity} is no quantity`);
  return BigInt(quantity);
}

/** Return a JSON-RPC quantity as a number that JavaScript counts exactly. */
export function count(quantity) {
  const found = big(quantity);
  if (found > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error(`${quantity} is too large`);
  return Number(found);
}

export const hex = (number) => `0x${BigInt(number).toString(16)}`;

/** The node refused one call: it said so itself. */
class Refused extends Unknown {}

export class Node {
  /** `url` is https, or http on the visitor's own machine. Throws Unknown for any other. */
  constructor(url) {
    let parsed;
    try {
      parsed = new URL(url);
    } catch {
      throw new Unknown("url", url);
    }
    const own = ["localhost", "127.0.0.1"].includes(parsed.hostname);
    if (parsed.protocol !== "https:" && !(parsed.protocol === "http:" && own)) throw new Unknown("url", url);
    this.url = parsed.href;
    this.step = STRETCH;
  }

  async _post(body) {
    for (let attempt = 0; ; attempt++) {
      let answer;
      try {
        answer = await fetch(this.url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
          credentials: "omit",
          referrerPolicy: "no-referrer",
          signal: AbortSignal.timeout(PATIENCE),
        });
      } catch (error) {
        throw new Unknown("unreachable", error.name === "TimeoutError" ? `${PATIENCE / 1000} s` : "");
      }
      if (answer.status === 429 && attempt < 4) {
        const wait = Math.min(Number(answer.headers.get("retry-after")) || 2 ** attempt, 30);
        await new Promise((resolve) => setTimeout(resolve, wait * 1000));
        continue;
      }
      try {
        return await answer.json();
      } catch {
        throw new Unknown("unreachable", `HTTP ${answer.status}`);
      }
    }
  }

  /** Return the result of one call. Throws Unknown where the node does not answer or refuses. */
  async call(method, ...params) {
    const [found] = await this.calls([[method, params]]);
    return found;
  }

  /** Return the results of many calls, in their order. */
  async calls(calls) {
    const found = [];
    for (let start = 0; start < calls.length; start += TOGETHER) {
      const part = calls.slice(start, start + TOGETHER);
      const body = part.map(([method, params], id) => ({ jsonrpc: "2.0", id, method, params }));
      const answers = await this._post(body.length === 1 ? body[0] : body);
      const listed = Array.isArray(answers) ? answers : [answers];
      for (const { id } of body) {
        const answer = listed.find((each) => each?.id === id) ?? listed[0];
        if (answer?.error) throw new Refused("refused", `${part[id][0]}: ${answer.error.message}`);
        if (answer?.id !== id || answer.result === undefined) throw new Unknown("refused", `${part[id][0]}`);
        found.push(answer.result);
      }
    }
    return found;
  }

  /** Return the logs of some blocks, both ends included, in chain order. */
  async logs(filter, from, to, progress) {
    const found = [];
    for (let start = from; start <= to;) {
      const end = Math.min(start + this.step - 1, to);
      let part;
      try {
        part = await this.call("eth_getLogs", { ...filter, fromBlock: hex(start), toBlock: hex(end) });
      } catch (error) {
        if (!(error instanceof Refused) || end === start) throw error;
        this.step = Math.ceil((end - start + 1) / 2);
        continue;
      }
      found.push(...part);
      start = end + 1;
      progress?.(end - from + 1, to - from + 1);
    }
    const at = (log) => count(log.blockNumber) * 1e6 + count(log.logIndex);
    return found.sort((one, other) => at(one) - at(other));
  }
}
