// Packed bytes, given as hexadecimal text, read from front to back.

export class Cursor {
  constructor(data) {
    this.data = data.slice(2);
    this.at = 0;
  }

  /** Return the next bytes as hexadecimal text. Throws where the data end before. */
  take(size) {
    const start = 2 * this.at;
    this.at += size;
    if (2 * this.at > this.data.length) throw new Error(`the bytes are cut off at ${this.data.length / 2}`);
    return `0x${this.data.slice(start, 2 * this.at)}`;
  }

  /** Return the next bytes, six at most, as a number. */
  number(size) {
    return Number(this.take(size));
  }

  big(size) {
    return BigInt(this.take(size));
  }

  /** Throws where something is left. */
  end() {
    if (2 * this.at !== this.data.length) throw new Error(`the bytes go on after ${this.at}`);
  }
}
