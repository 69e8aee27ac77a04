// What the explorer's visitors run, without a page.
//
//   stdin   [{"do": "check", "kind", "claims", "url", "file": base64 (optional)}, {"do": another function below, …}, …]
//   stdout  [what it gave, or {"error": its message}, …]; a check gives {"result", "steps": [the last word of each step]}
//           Numbers that JavaScript can't hold come as decimal text.
import { readFileSync } from "node:fs";
import * as abi from "../liggare/web/checks/abi.js";
import { check } from "../liggare/web/checks/checks.js";
import { canonical } from "../liggare/web/checks/log.js";
import { match } from "../liggare/web/checks/matching.js";
import { leafHash, roots, verifyConsistency, verifyInclusion } from "../liggare/web/checks/merkle.js";
import { idOf, signerOf } from "../liggare/web/checks/messages.js";
import { decodeBatch } from "../liggare/web/checks/payments.js";
import { decodeReadings } from "../liggare/web/checks/readings.js";
import { Till } from "../liggare/web/checks/settlement.js";
import { WORDS } from "../liggare/web/checks/words.js";

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));

const DO = {
    async check({ kind, claims, url, file }) {
        const steps = new Map();
        const result = await check(kind, claims, url, (step) => steps.set(step.name, step), file && bytes(file));
        return { result, steps: Object.fromEntries(steps) };
    },
    async batch({ data, domain }) {
        const items = decodeBatch(data);
        return Promise.all(
            items.map(async (item) => {
                const id = idOf(domain, item.type, item.message);
                return { ...item, id, signer: (await signerOf(id, item.signature)) ?? null };
            }),
        );
    },
    match: ({ bids, offers, lowest, highest }) => match(bids, offers, lowest, highest),
    // slots: [{nets: [[home, Wh], …], orders: [[home, {buyLimit, sellLimit, cap}], …]}, …]
    settle({ tariffs, utility, balances, slots }) {
        const till = new Till(tariffs);
        till.utility = BigInt(utility);
        till.balances = new Map(balances.map(([home, value]) => [home, BigInt(value)]));
        const found = slots.map(({ nets, orders }) => till.settleSlot(new Map(nets), new Map(orders)));
        return {
            slots: found.map(({ traded, ...rest }) => ({ ...rest, traded: [...traded] })),
            balances: [...till.balances],
            utility: till.utility,
            debt: till.debt,
        };
    },
    readings: ({ data, homes, count }) => decodeReadings(data, homes, count),
    canonical: ({ value }) => canonical(value),
    roots: ({ entries, sizes }) => [...roots(entries.map(bytes).map(leafHash), sizes)],
    inclusion: ({ entry, index, size, root, proof }) => verifyInclusion(leafHash(bytes(entry)), index, size, root, proof),
    consistency: ({ first, firstRoot, second, secondRoot, proof }) =>
        verifyConsistency(first, firstRoot, second, secondRoot, proof),
    interfaces: () => ({ MONEY: abi.MONEY, PAID: abi.PAID, MARKET: abi.MARKET, RECORDS: abi.RECORDS }),
    words: () => JSON.parse(JSON.stringify(WORDS, (_, value) => (typeof value === "function" ? "function" : value))),
};

const answers = [];
for (const asked of JSON.parse(readFileSync(0, "utf8"))) {
    try {
        answers.push(await DO[asked.do](asked));
    } catch (error) {
        answers.push({ error: error.message });
    }
}
const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
process.stdout.write(JSON.stringify(answers, plain));
