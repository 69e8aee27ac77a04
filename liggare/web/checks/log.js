// A custodian's access log: each head that it posted goes on from the one before; a log at hand has these roots.
//
//     LogHeadPosted -> each names its predecessor and grows -> newest is in its block -> contract's word -> file
import { toEventSelector } from "viem";
import { records } from "./abi.js";
import { openTransaction } from "./block.js";
import { ask, event } from "./contract.js";
import { leafHash, roots, verifyConsistency, verifyInclusion } from "./merkle.js";
import { count, hex } from "./node.js";
import { same, Unknown, Wrong } from "./steps.js";

const FORM = "accesses/1";
const POSTED = toEventSelector(records.find(({ name }) => name === "LogHeadPosted"));
const NOTHING = `0x${"0".repeat(64)}`;
const word = ({ head, size }) => `${head.slice(0, 50)}${size.toString(16).padStart(16, "0")}`;

/** `claims`: chain, contract, block (the contract's first), custodian, heads, and size and root of the newest where there is one.
 *
 * `file`, where the visitor picked one, is a log's lines (`liggare custodian export-log`) or an answer to a patient, as bytes.
 */
export async function checkLog(steps, node, claims, file) {
  const { contract, custodian } = claims;
  const { heads, last, at } = await steps.needed("heads", async (progress) => {
    const end = count(await node.call("eth_blockNumber"));
    const topics = [POSTED, `0x${custodian.slice(2).toLowerCase().padStart(64, "0")}`];
    const logs = await node.logs({ address: contract, topics }, Number(claims.block), end, progress);
    const told = logs.map((log) => ({ log, found: event(records, contract, log) }));
    const posted = told.filter(({ found }) => found?.name === "LogHeadPosted");
    const args = posted.map(({ found }) => found.args);
    for (const one of args) same("custodian", custodian, one.custodian);
    return [
      { heads: args, last: posted.at(-1)?.log, at: hex(end) },
      { count: args.length, block: end },
    ];
  });
  await steps.needed("chainOfHeads", () => {
    let before = { head: NOTHING, size: 0n };
    for (const one of heads) {
      same("predecessor", before.size ? word(before) : NOTHING, one.predecessor);
      if (one.size <= before.size) throw new Wrong("grows", `> ${before.size}`, one.size);
      before = one;
    }
    return [true, { count: heads.length, size: before.size }];
  });
  await steps.needed("word", async () => {
    const [found] = await ask(node, records, contract, [["logHeads", custodian]], at);
    same("word", heads.length ? word(heads.at(-1)) : NOTHING, found);
    return [found, { word: found }];
  });
  await steps.step("headPage", () => {
    const shown = Number(claims.heads);
    if (!(shown <= heads.length)) throw new Wrong("headCount", heads.length, claims.heads);
    if (shown) {
      same("size", heads[shown - 1].size, claims.size);
      same("root", heads[shown - 1].head, claims.root);
    }
    return [true, { count: shown, since: heads.length - shown }];
  });
  if (last) {
    const { own } = await openTransaction(steps, node, last.transactionHash);
    await steps.step("headInBlock", () => {
      const there = own.some((log) => log.data === last.data && log.topics.join() === last.topics.join());
      if (!there) throw new Wrong("headInBlock", last.data, "—");
      return [true, { size: heads.at(-1).size }];
    });
  }
  if (file) await steps.step("file", () => checkFile(file, heads, claims));
}

function checkFile(file, heads, claims) {
  const answer = patientsAnswer(file);
  if (answer) return checkAnswer(answer, heads, claims);
  const leaves = lines(file).map(leafHash);
  const within = heads.filter(({ size }) => size <= leaves.length);
  if (!within.length) throw new Unknown("shortFile", `${leaves.length}`);
  const found = roots(
    leaves,
    within.map(({ size }) => Number(size)),
  );
  for (const { size, head } of within) same("rootOfFile", `${size}: ${head}`, `${size}: ${found.get(Number(size))}`);
  return [true, { entries: leaves.length, heads: within.length }];
}

function lines(file) {
  const found = [];
  for (let start = 0; start < file.length;) {
    const end = file.indexOf(10, start);
    if (end < 0) throw new Wrong("lineEnd", "\\n", new TextDecoder().decode(file.slice(start, start + 40)));
    found.push(file.subarray(start, end));
    start = end + 1;
  }
  return found;
}

function patientsAnswer(file) {
  try {
    const found = JSON.parse(new TextDecoder().decode(file));
    return found?.liggare === FORM ? found : undefined;
  } catch {
    return undefined; // lines of a log
  }
}

/** A custodian's answer to a patient: its entries are in the log that was posted. */
function checkAnswer({ custodian, chainId, size, root, entries, consistency }, heads, claims) {
  same("custodian", claims.custodian, custodian);
  same("chain", claims.chain, chainId);
  const head = heads.find((each) => each.size === BigInt(size));
  if (!head) throw new Wrong("sizePosted", heads.map((each) => each.size).join(" ") || "—", size);
  same("rootOfFile", head.head, root);
  for (const { number, entry, proof } of entries) {
    const leaf = leafHash(new TextEncoder().encode(canonical(entry)));
    if (!verifyInclusion(leaf, number, size, root, proof)) throw new Wrong("inclusion", root, `${number}`);
  }
  const goesOn = ({ size: first, head: older }) => verifyConsistency(Number(first), older, size, root, consistency);
  if (consistency.length && !heads.some(goesOn)) throw new Wrong("consistency", root, consistency[0]);
  return [true, { entries: entries.length, heads: 1 }];
}

/** An entry's one line: sorted members, no spaces, ASCII. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") {
    return JSON.stringify(value).replace(
      /[\u007f-\uffff]/g,
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  }
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${canonical(name)}:${canonical(value[name])}`).join(",")}}`;
}
