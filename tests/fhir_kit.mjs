// fhir-kit-client at a gatekeeper as it is served. Signs in, where asked, by a message of viem's and a signature of ethers'.
//
//   stdin   {"url": the gatekeeper's, "token": "…" or
//            "signIn": {"key", "purpose", "scopes": ["patient/*.rs"], "shares": [documents], "patient": "0x…" (optional), "now": ms},
//            "calls": [{"do": "read" or another method of the client's, "words": {…}}, …]}
//            `pages` searches and follows every next page; `found` is what the client finds of where one signs in.
//   stdout  {"token", "answers": [the answer, or {"error": its message, "status", "outcome"}, …]}
import { readFileSync } from "node:fs";
import { Wallet } from "ethers";
import { Client } from "fhir-kit-client";
import { keccak256, toHex } from "viem";
import { createSiweMessage } from "viem/siwe";

const asked = JSON.parse(readFileSync(0, "utf8"));

async function post(path, body) {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(asked.url + path, { method: "POST", headers, body: JSON.stringify(body) });
    const document = await answer.json();
    if (!answer.ok) throw new Error(`${document.name}: ${document.error_description}`);
    return document;
}

// a share is named by its JSON with sorted members and no spaces
function canonical(value) {
    if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
    if (value === null || typeof value !== "object") return JSON.stringify(value);
    const members = Object.keys(value).sort();
    return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
}

async function signIn({ key, purpose, scopes, shares = [], patient, now }) {
    const wallet = new Wallet(key);
    const told = await post("/auth/nonce", { address: wallet.address });
    const message = createSiweMessage({
        address: wallet.address,
        chainId: told.chainId,
        domain: told.domain,
        uri: told.uri,
        version: "1",
        nonce: told.nonce,
        statement: told.statement,
        issuedAt: new Date(now),
        expirationTime: new Date(now + 600_000),
        resources: [
            `urn:liggare:custodian:${told.custodian}`,
            `urn:liggare:purpose:${purpose}`,
            ...scopes.map((scope) => `urn:liggare:scope:${scope}`),
            ...shares.map((share) => `urn:liggare:share:${keccak256(toHex(canonical(share)))}`),
            ...(patient ? [`urn:liggare:patient:${patient}`] : []),
        ],
    });
    const given = { message, signature: await wallet.signMessage(message), shares };
    return (await post("/auth/token", given)).access_token;
}

const token = asked.token ?? (await signIn(asked.signIn));
const client = new Client({ baseUrl: `${asked.url}/fhir`, bearerToken: token });

const ours = {
    found: async () => (await client.smartAuthMetadata()).tokenUrl.href,
    pages: async (words) => {
        const pages = [await client.search(words)];
        for (let next; (next = await client.nextPage({ bundle: pages.at(-1) })); ) pages.push(next);
        return pages;
    },
};

const answers = [];
for (const { do: name, words = {} } of asked.calls) {
    try {
        answers.push(await (ours[name] ?? client[name].bind(client))(words));
    } catch (error) {
        answers.push({ error: error.message, status: error.response?.status, outcome: error.response?.data });
    }
}
console.log(JSON.stringify({ token, answers }));
