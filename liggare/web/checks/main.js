// "Check this yourself": builds the form in `<section id="check">` and shows the steps as they happen.
//
// What the page says stands in the section's data attributes; each of them is a claim, compared with what the visitor's
// own node gives. Nothing is asked of the server that the page came from.
import { check, KINDS } from "./checks.js";
import { WORDS } from "./words.js";

const MEMORY = "liggare-rpc";
const SIGN = { running: "…", good: "✓", bad: "✗", unknown: "?" };

const words = WORDS[document.documentElement.lang.toLowerCase().startsWith("sv") ? "sv" : "en"];

/** Make an element; text is always text, whatever stands in it. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function remembered() {
  try {
    return localStorage.getItem(MEMORY);
  } catch {
    return null; // the visitor lets pages remember nothing
  }
}

function remember(url) {
  try {
    localStorage.setItem(MEMORY, url);
  } catch {
    // as above
  }
}

/** Shows the steps of one run in a list. */
class Shown {
  constructor(list) {
    list.replaceChildren();
    this.list = list;
    this.items = new Map();
  }

  tell({ name, state, done, all, ...end }) {
    const [title, detail] = words.steps[name];
    if (!this.items.has(name)) {
      this.items.set(name, make("li", { class: "check-step", "data-step": name }));
      this.list.append(this.items.get(name));
    }
    const item = this.items.get(name);
    if (state === "running" && done !== undefined) {
      // how far it is changes often: for the eye only
      let bar = item.querySelector("progress");
      if (!bar) item.append((bar = make("progress", { "aria-label": title })));
      bar.max = all;
      bar.value = done;
      return;
    }
    item.dataset.state = state;
    const sign = make("span", { class: "check-sign", "aria-hidden": "true" }, SIGN[state]);
    item.replaceChildren(sign, make("span", { class: "check-title" }, title), " ");
    item.append(make("span", { class: "check-state" }, words.state[state]));
    const lines = [];
    if (state === "good") lines.push(detail(end.values));
    if (state === "unknown") lines.push([words.reasons[end.reason], end.detail].filter(Boolean).join(": "));
    if (state === "bad") {
      lines.push(words.rules[end.rule]);
      if (end.expected) lines.push(words.expected(end.expected));
      lines.push(words.actual(end.actual));
    }
    item.append(...lines.map((line) => make("span", { class: "check-detail" }, line)));
  }
}

/** Build the form and its places in a section. */
function build(section) {
  const input = make("input", { id: "check-rpc", name: "rpc", type: "url", required: "", spellcheck: "false" });
  input.setAttribute("autocomplete", "url");
  input.setAttribute("aria-describedby", "check-rpc-hint");
  input.value = remembered() || section.dataset.rpc || "";
  const form = make("form", { class: "check-form" });
  form.append(make("label", { for: "check-rpc" }, words.node), input);
  form.append(make("p", { id: "check-rpc-hint", class: "check-hint" }, words.nodeHint));
  let file;
  if (section.dataset.kind === "log") {
    file = make("input", { id: "check-file", type: "file", "aria-describedby": "check-file-hint" });
    form.append(make("label", { for: "check-file" }, words.file), file);
    form.append(make("p", { id: "check-file-hint", class: "check-hint" }, words.fileHint));
  }
  const button = make("button", { type: "submit" }, words.button);
  form.append(button);
  const list = make("ol", { class: "check-steps", "aria-live": "polite" });
  const verdict = make("p", { class: "check-verdict", role: "status" });
  section.append(form, list, verdict);
  form.addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    if (section.dataset.result === "running") return; // a disabled button would lose the focus
    button.setAttribute("aria-disabled", "true");
    remember(input.value);
    await run(section, input.value, file?.files[0], list, verdict);
    button.removeAttribute("aria-disabled");
  });
}

async function run(section, url, file, list, verdict) {
  const show = (state) => {
    section.dataset.result = state;
    verdict.dataset.state = state;
    verdict.textContent = words.verdict[state];
  };
  show("running");
  const shown = new Shown(list);
  try {
    const bytes = file && new Uint8Array(await file.arrayBuffer());
    const claims = { ...section.dataset };
    show(await check(claims.kind, claims, url, (step) => shown.tell(step), bytes));
  } catch (error) {
    // a fault of this script, or a page that gives no claims: nothing was shown to be right
    console.error(error);
    show("unknown");
  }
}

for (const section of document.querySelectorAll("#check[data-kind]")) {
  if (KINDS.includes(section.dataset.kind)) build(section);
}
