// The Merkle tree of an access log and its proofs (RFC 9162, 2.1; SHA-256); the twin of liggare/records/tree.py.
// Hashes are hexadecimal text.
import { sha256 } from "viem";

/** Return the hash of an entry, given as bytes. */
export function leafHash(entry) {
  const whole = new Uint8Array(entry.length + 1);
  whole.set(entry, 1);
  return sha256(whole);
}

const nodeHash = (left, right) => sha256(`0x01${left.slice(2)}${right.slice(2)}`);

/** Return the roots over the first n leaves, for each n of `sizes`, which ascend. */
export function roots(leaves, sizes) {
  const found = new Map();
  const whole = []; // of whole subtrees, the largest first, each with how many leaves it has
  let next = 0;
  for (const size of sizes) {
    for (; next < size; next++) {
      let [node, span] = [leaves[next], 1];
      while (whole.length && whole.at(-1).span === span) {
        node = nodeHash(whole.pop().node, node);
        span *= 2;
      }
      whole.push({ node, span });
    }
    found.set(
      size,
      whole.length ? whole.map(({ node }) => node).reduceRight((right, left) => nodeHash(left, right)) : sha256("0x"),
    );
  }
  return found;
}

/** Tell whether the proof shows that a leaf is entry `index` of a log of this size and root (2.1.3.2). */
export function verifyInclusion(leaf, index, size, root, proof) {
  if (!(index >= 0 && index < size)) return false;
  let [fn, sn, node] = [BigInt(index), BigInt(size) - 1n, leaf];
  for (const sibling of proof) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      node = nodeHash(sibling, node);
      while (!(fn & 1n) && fn) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      node = nodeHash(node, sibling);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && node === root.toLowerCase();
}

/** Tell whether the proof shows that the second log begins with all of the first (2.1.4.2). */
export function verifyConsistency(first, firstRoot, second, secondRoot, proof) {
  if (!(first > 0 && first <= second)) return false;
  if (first === second) return !proof.length && firstRoot.toLowerCase() === secondRoot.toLowerCase();
  let [fn, sn] = [BigInt(first) - 1n, BigInt(second) - 1n];
  const path = (BigInt(first) & fn) === 0n ? [firstRoot, ...proof] : [...proof];
  if (!proof.length) return false;
  while (fn & 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let [fr, sr] = [path[0].toLowerCase(), path[0].toLowerCase()];
  for (const node of path.slice(1)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      [fr, sr] = [nodeHash(node, fr), nodeHash(node, sr)];
      while (!(fn & 1n) && fn) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      sr = nodeHash(sr, node);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && fr === firstRoot.toLowerCase() && sr === secondRoot.toLowerCase();
}
