// Search by meaning: texts and a question become vectors, and the nearest texts come first.

import { amiss, field, heading, Job, lines } from "./bench.js";
import { literal } from "./code.js";
import { element } from "./dom.js";
import { Snippet } from "./snippet.js";
import { plural } from "./words.js";

const sampleDocuments = [
  "Returns are free within thirty days of delivery.",
  "The lamp needs two AAA batteries, which are not in the box.",
  "Parcels leave our warehouse in Graz on weekdays before noon.",
  "Clean the grinder with a dry brush; water damages the burrs.",
  "Gift cards can be used several times until nothing is left on them.",
  "If the light blinks red, hold the button for ten seconds.",
  "We plant a tree for every hundred orders.",
  "Students get a fifth off with a valid card.",
];

export class Search {
  node = element("section", { class: "bench", "aria-label": "Embed and search" });
  #model = null;
  #opening = () => "";
  #documents = field("Documents", { hint: "One a line. Each is embedded once, and kept while the model is there.", rows: 9, value: sampleDocuments.join("\n") });
  #query = element("input", { type: "search", "aria-label": "What to look for", placeholder: "What to look for", value: "How do I reset it?" });
  #list = element("ol", { class: "ranking" });
  #vectors = new Map();
  #job;
  #snippet;

  constructor() {
    this.#job = new Job("Search", (signal, say) => this.#run(signal, say));
    this.#query.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) this.#job.run();
    });
    this.#snippet = new Snippet(() => this.#code());
    for (const box of [this.#documents.box, this.#query]) box.addEventListener("input", () => this.#snippet.refresh());
    this.node.append(
      heading("Search by meaning", "What is found need not share a word with the question."),
      this.#documents.node,
      element("div", { class: "query" }, this.#query),
      this.#job.node,
      this.#list,
      this.#snippet.node,
    );
  }

  open(model, opening) {
    this.#job.stop();
    this.#opening = opening;
    // Another model's vectors say other things.
    if (model !== this.#model) {
      this.#vectors.clear();
      this.#list.replaceChildren();
    }
    this.#model = model;
    if (model) this.#snippet.refresh();
  }

  async #run(signal, say) {
    const model = this.#model;
    const documents = [...new Set(lines(this.#documents.box.value))];
    const query = this.#query.value.trim();
    if (documents.length === 0) throw amiss("There is nothing to search in", "Paste some texts, one a line.");
    if (!query) throw amiss("There is nothing to look for", "Write a question or a few words.");
    const fresh = documents.filter((text) => !this.#vectors.has(text));
    const began = performance.now();
    const vectors = await model.embed(fresh, {
      signal,
      onProgress: ({ done, total }) => say(`Embedding ${done} of ${total}`, done / total),
    });
    fresh.forEach((text, i) => this.#vectors.set(text, vectors[i]));
    const asked = await model.embed(query, { signal });
    const ranking = documents
      .map((text) => ({ text, score: this.#vectors.get(text).reduce((sum, value, i) => sum + value * asked[i], 0) }))
      .sort((a, b) => b.score - a.score);
    this.#list.replaceChildren(...ranking.map(({ text, score }) => row(text, score)));
    const ms = Math.round(performance.now() - began);
    return fresh.length > 0 ? `${plural(fresh.length, "text")} embedded and ranked in ${ms} ms.` : `Ranked in ${ms} ms.`;
  }

  #code() {
    if (this.#model === null) return "";
    return `${this.#opening()}
const documents = ${literal(lines(this.#documents.box.value))};
const vectors = await model.embed(documents);

const asked = await model.embed(${literal(this.#query.value.trim())});
// Vectors have length 1: the product is the cosine.
const score = (vector) => vector.reduce((sum, value, i) => sum + value * asked[i], 0);
const ranking = documents
  .map((text, i) => ({ text, score: score(vectors[i]) }))
  .sort((a, b) => b.score - a.score);
for (const { text, score } of ranking) console.log(score, text);`;
  }
}

function row(text, score) {
  const bar = element("span", { class: "share" });
  bar.style.setProperty("--share", Math.max(score, 0));
  return element("li", {}, element("p", {}, text), element("p", { class: "measure" }, bar, score.toFixed(2)));
}
