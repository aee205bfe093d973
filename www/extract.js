// Values out of a text: a JSON Schema on one side, JSON on the other.

import { amiss, field, heading, Job, lines } from "./bench.js";
import { element } from "./dom.js";
import { Snippet } from "./snippet.js";
import { duration } from "./words.js";

const sampleSchema = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 40 },
    email: { type: "string", format: "email" },
    product: { type: "string", maxLength: 40 },
    urgency: { enum: ["low", "medium", "high"] },
  },
  required: ["name", "email", "product", "urgency"],
  additionalProperties: false,
};

const sampleText = `Hello, this is Maria Keller (maria.keller@example.org). My coffee grinder
KG-20 stopped working this morning, in the middle of the breakfast rush. Please hurry, I need it urgently!`;

export class Extract {
  node = element("section", { class: "bench", "aria-label": "Extract" });
  #model = null;
  #opening = () => "";
  #schema = field("Schema", { hint: "A JSON Schema: what you want to know.", rows: 14, code: true, value: JSON.stringify(sampleSchema, null, 2) });
  #text = field("Text", { rows: 5, value: sampleText.replaceAll("\n", " ") });
  #result = element("code", {}, "");
  #snippet;
  #job;

  constructor() {
    this.#job = new Job("Extract", (signal) => this.#run(signal));
    this.#snippet = new Snippet(() => this.#code());
    for (const { box } of [this.#schema, this.#text]) box.addEventListener("input", () => this.#snippet.refresh());
    const result = element("pre", { class: "result", tabindex: "0", "aria-label": "JSON", role: "region", "aria-live": "polite" }, this.#result);
    this.node.append(
      heading("Text in, JSON out", "The answer satisfies the schema, always. Whether it is true is up to the model: a small one is often wrong."),
      element(
        "div",
        { class: "columns" },
        this.#schema.node,
        element("div", {}, this.#text.node, this.#job.node, element("p", { class: "label" }, "JSON"), result),
      ),
      this.#snippet.node,
    );
  }

  open(model, opening) {
    this.#job.stop();
    this.#model = model;
    this.#opening = opening;
    if (model) this.#snippet.refresh();
  }

  async #run(signal) {
    let schema;
    try {
      schema = JSON.parse(this.#schema.box.value);
    } catch (error) {
      throw amiss("The schema is not JSON", error.message);
    }
    if (lines(this.#text.box.value).length === 0) throw amiss("There is no text", "Paste one to extract from.");
    this.#result.textContent = "";
    const began = performance.now();
    const value = await this.#model.extract(this.#text.box.value, schema, { signal });
    this.#result.textContent = JSON.stringify(value, null, 2);
    return `In ${duration(performance.now() - began)}.`;
  }

  #code() {
    if (this.#model === null) return "";
    return `${this.#opening()}
const schema = ${this.#schema.box.value.trim()};
const text = ${JSON.stringify(this.#text.box.value)};
const value = await model.extract(text, schema);
console.log(value);`;
  }
}
