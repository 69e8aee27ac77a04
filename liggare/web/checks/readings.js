// The readings of a clearing as its event tells them; the twin of liggare/energy/codec.py.
import { Cursor } from "./bytes.js";

export const MISSING = 0;
export const CATCH_UP = 2;
export const POSTED = 3;

/** Return deltas as [[Wh imported, Wh exported], …], one a slot. Throws where they are not 6 bytes each. */
export function unpack(deltas) {
  const cursor = new Cursor(deltas);
  const pairs = [];
  for (let left = cursor.data.length / 12; left > 0; left--) pairs.push([cursor.number(3), cursor.number(3)]);
  cursor.end();
  return pairs;
}

/** Return one entry {tag, counters, signature, deltas} per home, in home order. Throws as strictly as the contract. */
export function decodeReadings(data, homes, count) {
  const cursor = new Cursor(data);
  const entries = [];
  for (let home = 1; home <= homes; home++) {
    const tag = cursor.number(1);
    if (tag > POSTED) throw new Error(`home ${home}: an entry begins with 0 to 3, not ${tag}`);
    if (tag === MISSING || tag === POSTED) {
      entries.push({ tag });
      continue;
    }
    const counters = tag === CATCH_UP ? [cursor.number(6), cursor.number(6)] : undefined;
    entries.push({ tag, counters, signature: cursor.take(64), deltas: cursor.take(6 * count) });
  }
  cursor.end();
  return entries;
}
