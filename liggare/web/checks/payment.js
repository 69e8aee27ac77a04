// A payment: it is in the chain, and its payer signed exactly it.
//
//     transaction -> block by its own hash -> receipts -> Transfer -> calldata -> message -> id -> signer = payer
import { encodeFunctionData, getAddress, parseAbi, recoverTransactionAddress } from "viem";
import { money } from "./abi.js";
import { openTransaction, serialized } from "./block.js";
import { ask, checkDomain, event } from "./contract.js";
import { idOf, signerOf } from "./messages.js";
import { count, hex } from "./node.js";
import { signedPayments } from "./payments.js";
import { same, Unknown, Wrong } from "./steps.js";

const ZERO = `0x${"0".repeat(40)}`;
const wallet = parseAbi(["function isValidSignature(bytes32 hash, bytes signature) view returns (bytes4)"]);

/** `claims`: chain, contract, transaction, log, payer, payee, value, and id where the page names one. */
export async function checkPayment(steps, node, claims) {
  const { block, transaction, logs, own } = await openTransaction(steps, node, claims.transaction);
  const { contract } = claims;
  const place = Number(claims.log) - (own.length ? count(own[0].logIndex) : 0);
  const used = await steps.needed("transfer", () => {
    if (!own[place]) throw new Wrong("logInTransaction", claims.log, `${own.length} of ${logs.length}`);
    const found = event(money, contract, own[place]);
    same("transfer", "Transfer", found?.name ?? "—");
    same("payer", claims.payer, found.args.from);
    same("payee", claims.payee, found.args.to);
    same("value", claims.value, found.args.value);
    return [usedBefore(own, place, claims), { value: claims.value, from: claims.payer, to: claims.payee }];
  });
  const domain = await checkDomain(steps, node, money, claims);
  const found = await steps.needed("message", () => {
    const { items, ...plain } = signedPayments(transaction, contract, used?.nonce);
    if (!items) {
      same("payee", plain.to, claims.payee);
      same("value", plain.value, claims.value);
      if ((plain.plain === "mint") !== (getAddress(claims.payer) === ZERO)) throw new Unknown("calldata", plain.plain);
      if (claims.id) throw new Wrong("id", claims.id, "—");
      return [plain, { plain: plain.plain }];
    }
    const item = items.find(
      ({ message }) => message.nonce === used?.nonce && message.from === getAddress(claims.payer),
    );
    if (!item) throw new Wrong("messageOfPayment", `${claims.payer}, ${used?.nonce ?? "—"}`, "—");
    const payment = item.payments[place - used.place - 1];
    same("payee", payment?.to, claims.payee);
    same("value", payment?.value, claims.value);
    const time = count(block.timestamp);
    const { validAfter, validBefore } = item.message;
    if (!(validAfter < time && time < validBefore)) throw new Wrong("time", `${validAfter} … ${validBefore}`, time);
    const id = idOf(domain, item.type, item.message);
    if (claims.id) same("id", id, claims.id);
    return [
      { ...item, id },
      { id, type: item.type },
    ];
  });
  await steps.step("signature", () =>
    found.plain ? checkSender(node, transaction, found, claims) : checkSigner(node, block, found),
  );
  if (used) {
    await steps.step("nonce", async () => {
      const [spent] = await ask(node, money, contract, [["authorizationState", used.authorizer, used.nonce]]);
      same("nonce", true, spent);
      return [true, { nonce: used.nonce }];
    });
  }
}

/** Return the AuthorizationUsed that a Transfer belongs to: right before it, or before others of the same payer. */
function usedBefore(logs, place, { contract, payer }) {
  for (let at = place - 1; at >= 0; at--) {
    const found = event(money, contract, logs[at]);
    if (found?.name === "AuthorizationUsed") {
      return found.args.authorizer === getAddress(payer) ? { ...found.args, place: at } : undefined;
    }
    if (found?.name !== "Transfer" || found.args.from !== getAddress(payer)) return undefined;
  }
  return undefined;
}

async function checkSigner(node, block, { id, message, signature }) {
  const signer = await signerOf(id, signature);
  if (signer === message.from) return [signer, { signer }];
  const code = await node.call("eth_getCode", message.from, "latest");
  if (code === "0x") throw new Wrong("signer", message.from, signer ?? "—");
  const data = encodeFunctionData({ abi: wallet, functionName: "isValidSignature", args: [id, signature] });
  // by the wallet's rules of that moment: who may sign for it can change
  const answer = await node.call("eth_call", { to: message.from, data }, hex(count(block.number)));
  if (!answer.startsWith("0x1626ba7e")) throw new Wrong("wallet", "0x1626ba7e", answer.slice(0, 10));
  return [message.from, { wallet: message.from }];
}

/** Without a signed message the sender of the transaction itself is who moved the money. */
async function checkSender(node, transaction, { plain }, { payer, contract }) {
  const sender = await recoverTransactionAddress({ serializedTransaction: serialized(transaction) });
  if (plain === "transfer") {
    same("signer", payer, sender);
  } else {
    const [issuer] = await ask(node, money, contract, [["issuer"]], hex(count(transaction.blockNumber)));
    same("issuer", issuer, sender);
  }
  return [sender, { signer: sender }];
}
