// Questions to a contract by its views, and its events from raw logs.
import { decodeEventLog, decodeFunctionResult, domainSeparator, encodeFunctionData, getAddress } from "viem";
import { same } from "./steps.js";

/** Return the results of views at a block ("latest" or a quantity): `views` are [name, ...arguments]. */
export async function ask(node, abi, address, views, block = "latest") {
  const calls = views.map(([functionName, ...args]) => {
    const data = encodeFunctionData({ abi, functionName, args });
    return ["eth_call", [{ to: address, data }, block]];
  });
  const found = await node.calls(calls);
  return found.map((data, index) => decodeFunctionResult({ abi, functionName: views[index][0], data }));
}

/** Return {name, args} of a log of this contract, or undefined where it is of another. */
export function event(abi, address, log) {
  if (log.address.toLowerCase() !== address.toLowerCase()) return undefined;
  try {
    const { eventName: name, args } = decodeEventLog({ abi, topics: log.topics, data: log.data });
    return { name, args };
  } catch (error) {
    if (error.name === "AbiEventSignatureNotFoundError") return undefined; // no check is about it
    throw error;
  }
}

/** One step: the contract binds signatures to this domain, and says so itself. `name` is asked for where it is not given. */
export function checkDomain(steps, node, abi, { chain, contract }, name) {
  return steps.needed("domain", async () => {
    const views = name ? [["DOMAIN_SEPARATOR"]] : [["DOMAIN_SEPARATOR"], ["name"]];
    const [told, named = name] = await ask(node, abi, contract, views);
    const domain = { name: named, version: "1", chainId: Number(chain), verifyingContract: getAddress(contract) };
    same("domain", domainSeparator({ domain }), told);
    return [domain, { name: named, contract }];
  });
}
