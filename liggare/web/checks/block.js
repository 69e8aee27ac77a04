// A block as its own hashes hold it together: what is in it can't be told otherwise without another hash.
//
//     header fields -> block hash      transactions -> transactionsRoot      receipts -> receiptsRoot, bloom
import { createMPT } from "@ethereumjs/mpt";
import { bytesToHex, formatTransaction, hexToBytes, keccak256, serializeTransaction, toRlp } from "viem";
import { count, hex } from "./node.js";
import { same, Unknown, Wrong } from "./steps.js";

const number = (quantity) => {
  const digits = BigInt(quantity).toString(16);
  return digits === "0" ? "0x" : `0x${digits.length % 2 ? "0" : ""}${digits}`;
};

/** Return the hash of a header as JSON-RPC has it, from its fields. */
export function headerHash(block) {
  const fields = [block.parentHash, block.sha3Uncles, block.miner, block.stateRoot, block.transactionsRoot];
  fields.push(block.receiptsRoot, block.logsBloom, number(block.difficulty), number(block.number));
  fields.push(number(block.gasLimit), number(block.gasUsed), number(block.timestamp), block.extraData);
  fields.push(block.mixHash, block.nonce);
  // each fork added its own at the end
  if (block.baseFeePerGas !== undefined) fields.push(number(block.baseFeePerGas));
  if (block.withdrawalsRoot !== undefined) fields.push(block.withdrawalsRoot);
  if (block.blobGasUsed !== undefined) fields.push(number(block.blobGasUsed), number(block.excessBlobGas));
  if (block.parentBeaconBlockRoot !== undefined) fields.push(block.parentBeaconBlockRoot);
  if (block.requestsHash !== undefined) fields.push(block.requestsHash);
  return keccak256(toRlp(fields));
}

/** Return a transaction's own bytes from the fields that a node shows, signature included. */
export function serialized(transaction) {
  const type = Number(transaction.type ?? 0);
  if (type > 4) throw new Unknown("transactionType", String(type));
  const { r, s, v, yParity, ...fields } = formatTransaction(transaction);
  if (type >= 2) delete fields.gasPrice; // nodes tell there what was paid in the end
  const made = serializeTransaction({ ...fields, data: transaction.input }, { r, s, v, yParity });
  same("transactionHash", transaction.hash, keccak256(made));
  return made;
}

function receiptBytes(receipt) {
  const logs = receipt.logs.map((log) => [log.address, log.topics, log.data]);
  const body = toRlp([number(receipt.status), number(receipt.cumulativeGasUsed), receipt.logsBloom, logs]);
  const type = Number(receipt.type ?? 0);
  return type ? `0x${type.toString(16).padStart(2, "0")}${body.slice(2)}` : body;
}

async function root(items) {
  const trie = await createMPT();
  for (const [index, item] of items.entries()) await trie.put(hexToBytes(toRlp(number(index))), hexToBytes(item));
  return bytesToHex(trie.root());
}

/** Return the transactions' root. */
export const transactionsRoot = (transactions) => root(transactions.map(serialized));

/** Return the receipts' root. */
export const receiptsRoot = (receipts) => root(receipts.map(receiptBytes));

/** Return the bloom filter of some logs. */
export function bloom(logs) {
  const bits = new Uint8Array(256);
  for (const value of logs.flatMap((log) => [log.address, ...log.topics])) {
    const hash = hexToBytes(keccak256(value));
    for (const place of [0, 2, 4]) {
      const bit = ((hash[place] << 8) | hash[place + 1]) & 2047;
      bits[255 - (bit >> 3)] |= 1 << (bit & 7);
    }
  }
  return bytesToHex(bits);
}

/** Return all receipts of a block: at once where the node knows how, else one by one. */
async function receiptsOf(node, block) {
  try {
    const found = await node.call("eth_getBlockReceipts", block.number);
    if (found?.length === block.transactions.length) return found;
  } catch (error) {
    if (!(error instanceof Unknown)) throw error;
  }
  return node.calls(block.transactions.map(({ hash }) => ["eth_getTransactionReceipt", [hash]]));
}

/** Three steps: the block of a transaction by its own hash, the transaction in it, and its events. */
export async function openTransaction(steps, node, hash) {
  const block = await steps.needed("block", async () => {
    const transaction = await node.call("eth_getTransactionByHash", hash);
    if (!transaction?.blockNumber) throw new Wrong("transactionThere", hash, "—");
    const found = await node.call("eth_getBlockByNumber", transaction.blockNumber, true);
    if (!found) throw new Unknown("refused", "eth_getBlockByNumber");
    same("headerHash", found.hash, headerHash(found));
    same("blockOfTransaction", transaction.blockHash, found.hash);
    const head = count(await node.call("eth_blockNumber"));
    return [found, { block: count(found.number), hash: found.hash, above: head - count(found.number) }];
  });
  const transaction = await steps.needed("transaction", async () => {
    const found = block.transactions.find((each) => each.hash === hash.toLowerCase());
    if (!found) throw new Wrong("transactionInBlock", hash, "—");
    same("transactionsRoot", block.transactionsRoot, await transactionsRoot(block.transactions));
    return [found, { count: block.transactions.length, root: block.transactionsRoot }];
  });
  const receipts = await steps.needed("receipts", async () => {
    const found = await receiptsOf(node, block);
    if (found.some((each) => !each)) throw new Unknown("receipts");
    same("receiptsRoot", block.receiptsRoot, await receiptsRoot(found));
    const logs = found.flatMap((each) => each.logs);
    same("bloom", block.logsBloom, bloom(logs));
    return [found, { count: logs.length, root: block.receiptsRoot }];
  });
  // the place of a log in its block follows from the receipts alone
  const logs = receipts.flatMap((each) => each.logs).map((log, index) => ({ ...log, logIndex: hex(index) }));
  const place = block.transactions.indexOf(transaction);
  const first = receipts.slice(0, place).reduce((sum, each) => sum + each.logs.length, 0);
  return { block, transaction, logs, own: logs.slice(first, first + receipts[place].logs.length) };
}
