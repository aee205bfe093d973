// How answers are generated: the values, and the panel that edits them. A change counts from the next answer on.

import { element, icon } from "./dom.js";
import { recall, remember } from "./storage.js";

const defaults = {
  // Without one, SmolLM2's template writes its own, and the model gets capitals wrong that it gets right with this one.
  system: "You are a knowledgeable assistant who gives short, correct answers.",
  temperature: 0.3,
  topP: 0.9,
  topK: 40,
  minP: 0.05,
  // Small models fall into loops; this is enough to keep most of them out without bending what they say.
  repeatPenalty: 1.1,
  maxTokens: 400,
  tools: false,
  seed: null,
};

const fields = [
  { name: "system", kind: "text", label: "System prompt", hint: "Set before every conversation, if the model takes one; without it, some have their own. Chat only." },
  { name: "tools", kind: "flag", label: "Tools", hint: "The model may call a clock and a calculator, which run here. Many small models have no way to; Qwen, Llama 3 and Mistral have." },
  { name: "temperature", kind: "range", label: "Temperature", min: 0, max: 2, step: 0.05, hint: "0 always takes the likeliest word; higher is bolder." },
  { name: "topP", kind: "range", label: "Top-p", min: 0.05, max: 1, step: 0.05, hint: "Keep the likeliest words that together reach this probability. 1 keeps all." },
  { name: "topK", kind: "range", label: "Top-k", min: 0, max: 200, step: 1, hint: "Keep this many of the likeliest words. 0 keeps all." },
  { name: "minP", kind: "range", label: "Min-p", min: 0, max: 0.5, step: 0.01, hint: "Drop words less likely than this share of the likeliest. 0 drops none." },
  { name: "repeatPenalty", kind: "range", label: "Repeat penalty", min: 1, max: 1.5, step: 0.01, hint: "Makes words that were just used less likely. 1 is none." },
  { name: "maxTokens", kind: "number", label: "Longest answer", min: 1, max: 8192, step: 1, hint: "In tokens; an English word is about 1.3." },
  { name: "seed", kind: "number", label: "Seed", min: 0, max: 4294967295, step: 1, optional: true, hint: "The same seed gives the same answer. Empty: a new one each time." },
];

export class Settings {
  #values;
  #inputs = new Map();

  constructor() {
    this.#values = { ...defaults, ...valid(recall("settings")) };
  }

  get system() {
    return this.#values.system;
  }

  get tools() {
    return this.#values.tools;
  }

  get maxTokens() {
    return this.#values.maxTokens;
  }

  /** The sampling part, as options of `generate`. All of it: what is left out has a default there, which is not "off". */
  generation() {
    const { temperature, topP, topK, minP, repeatPenalty, maxTokens, seed } = this.#values;
    const drawn = seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    return { temperature, topP, topK, minP, repeatPenalty, maxTokens, seed: drawn };
  }

  /** Builds the panel into the dialog's form. */
  render(form) {
    const close = element("button", { class: "tool square", type: "button", "data-close": true, "aria-label": "Close" });
    close.append(icon("close"));
    const reset = element("button", { class: "quiet", type: "button" }, "Restore defaults");
    reset.addEventListener("click", () => this.#reset());
    form.replaceChildren(
      element("header", { class: "panel-head" }, element("h2", { id: "settings-title" }, "Settings"), close),
      ...fields.map((field) => this.#row(field)),
      element("footer", { class: "panel-foot" }, reset, element("button", { class: "primary small", type: "submit" }, "Done")),
    );
  }

  #row(field) {
    const id = `setting-${field.name}`;
    const input =
      field.kind === "text"
        ? element("textarea", { id, rows: 2, "aria-describedby": `${id}-hint` })
        : element("input", {
            id,
            type: field.kind === "flag" ? "checkbox" : field.kind,
            min: field.min,
            max: field.max,
            step: field.step,
            inputmode: field.kind === "number" ? "numeric" : undefined,
            placeholder: field.optional ? "random" : undefined,
            "aria-describedby": `${id}-hint`,
          });
    const output = field.kind === "range" ? element("output", { for: id }) : null;
    this.#inputs.set(field.name, { field, input, output });
    input.addEventListener("input", () => this.#take(field, input, output));
    // A value left out of range goes back to the one in force.
    input.addEventListener("change", () => this.#show(field.name));
    this.#show(field.name);
    return element(
      "div",
      { class: `setting ${field.kind}` },
      element("label", { for: id }, field.label),
      ...(output ? [output] : []),
      input,
      element("p", { class: "hint", id: `${id}-hint` }, field.hint),
    );
  }

  #take(field, input, output) {
    const value = field.kind === "flag" ? input.checked : parse(field, input.value);
    if (value === undefined) return;
    this.#values[field.name] = value;
    if (output) output.value = String(value);
    remember("settings", this.#values);
  }

  #show(name) {
    const { field, input, output } = this.#inputs.get(name);
    if (field.kind === "flag") input.checked = this.#values[name];
    else input.value = this.#values[name] ?? "";
    if (output) output.value = String(this.#values[name]);
  }

  #reset() {
    this.#values = { ...defaults };
    for (const name of this.#inputs.keys()) this.#show(name);
    remember("settings", this.#values);
  }
}

/** The value a field's text stands for; undefined when it is not one the field allows. */
function parse(field, text) {
  if (field.kind === "text") return text;
  if (text === "") return field.optional ? null : undefined;
  const value = Number(text);
  const whole = field.step >= 1;
  return Number.isFinite(value) && value >= field.min && value <= field.max && (!whole || Number.isInteger(value))
    ? value
    : undefined;
}

/** What was remembered, less anything that is not allowed (any more). */
function valid(stored) {
  const values = {};
  for (const field of fields) {
    const value = stored?.[field.name];
    if (value === undefined || (value === null && !field.optional)) continue;
    if (field.kind === "text" && typeof value !== "string") continue;
    if (field.kind === "flag") {
      values[field.name] = value === true;
      continue;
    }
    const parsed = parse(field, value === null ? "" : String(value));
    if (parsed !== undefined) values[field.name] = parsed;
  }
  return values;
}
