// A check is a row of steps; each is told when it begins and when it ends, in one of three states.
//
//     running -> good | bad (a value is not what it must be) | unknown (it could not be checked, and why)

/** A value is not what it must be: `rule` names it in words.js; both values are shown. */
export class Wrong extends Error {
  constructor(rule, expected, actual) {
    super(`${rule}: expected ${expected}, found ${actual}`);
    Object.assign(this, { rule, expected: String(expected), actual: String(actual) });
  }
}

/** Nothing is known to be wrong, but this could not be checked: `reason` names why in words.js. */
export class Unknown extends Error {
  constructor(reason, detail = "") {
    super(`${reason} ${detail}`.trim());
    Object.assign(this, { reason, detail });
  }
}

/** The steps after this one have nothing to stand on. */
class Stopped extends Error {}

/** Throw Wrong unless both are the same; addresses and hashes whatever the case of their digits. */
export function same(rule, expected, actual) {
  const plain = (value) => (/^0x/i.test(String(value)) ? String(value).toLowerCase() : String(value));
  if (plain(expected) !== plain(actual)) throw new Wrong(rule, expected, actual);
}

/** Runs the steps of one check; `tell({name, state, ...})` is called for each change. */
export class Steps {
  constructor(tell) {
    this.tell = tell;
    this.states = [];
  }

  /** Run one step and return what it found; where it did not end well, undefined. `work(progress)` may return [found, words]. */
  async step(name, work) {
    this.tell({ name, state: "running" });
    try {
      const [found, values = {}] = (await work((done, all) => this.tell({ name, state: "running", done, all }))) ?? [];
      this._end(name, "good", { values });
      return found;
    } catch (error) {
      if (error instanceof Unknown) this._end(name, "unknown", { reason: error.reason, detail: error.detail });
      else if (error instanceof Wrong)
        this._end(name, "bad", { rule: error.rule, expected: error.expected, actual: error.actual });
      // whatever else goes wrong, goes wrong over what the node or the page gave
      else this._end(name, "bad", { rule: "form", expected: "", actual: String(error.message).split("\n")[0] });
      return undefined;
    }
  }

  /** As `step`, where nothing after it makes sense unless it ends well. */
  async needed(name, work) {
    const before = this.states.length;
    const found = await this.step(name, work);
    if (this.states[before] !== "good") throw new Stopped();
    return found;
  }

  _end(name, state, more) {
    this.states.push(state);
    this.tell({ name, state, ...more });
  }

  /** Run a whole check; return "good", "bad" or "unknown". */
  async run(check, ...words) {
    try {
      await check(this, ...words);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
    if (this.states.includes("bad")) return "bad";
    return this.states.includes("unknown") || !this.states.length ? "unknown" : "good";
  }
}
