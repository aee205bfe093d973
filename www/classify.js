// Sorting texts into classes: by a model that writes, by the head of a classifier, or by a head that is fitted to examples.

import { amiss, field, heading, Job, lines } from "./bench.js";
import { literal } from "./code.js";
import { formatTable, parseTable, save, wordiest } from "./csv.js";
import { element } from "./dom.js";
import { Snippet } from "./snippet.js";
import { plural } from "./words.js";
import { writes } from "./views.js";

const sampleTexts = [
  "I was charged twice for the same order.",
  "Where is my parcel? The tracking hasn't moved since Tuesday.",
  "The app crashes as soon as I open the camera.",
  "Lovely handwritten note in the box, it made my day.",
  "Please change the company name on last month's invoice.",
  "The courier left it out in the rain.",
];

const sampleExamples = [
  "billing: Why did my subscription go up without notice?",
  "billing: Can you send me a proper VAT invoice?",
  "billing: My bank shows a payment that I do not recognise.",
  "billing: The discount code did not change the total.",
  "delivery: How long does delivery to Norway take?",
  "delivery: The package went to the wrong house.",
  "delivery: The courier marked it delivered, but nothing is here.",
  "delivery: Can I have it dropped at a pickup point?",
  "technical problem: Your website shows a blank page.",
  "technical problem: The printer won't connect to the Wi-Fi.",
  "technical problem: Since the last update the battery is flat after an hour.",
  "technical problem: The save button does nothing.",
  "praise: You guys rock!",
  "praise: Best coffee grinder I've ever owned.",
  "praise: Thank you for sorting everything out so quickly.",
  "praise: The new layout is so much clearer, well done.",
];

/** Texts that the engine gets at a time: a row appears when its batch is done. */
const batch = 8;

export class Classify {
  node = element("section", { class: "bench", "aria-label": "Classify" });
  #model = null;
  #opening = () => "";
  #texts = field("Texts", { hint: "One a line.", rows: 8, value: sampleTexts.join("\n") });
  #labels = field("Classes", { hint: "Separated by commas.", rows: 2, value: "billing, delivery, technical problem, praise" });
  #examples = field("Examples", { hint: "One a line.", placeholder: "billing: Can you send me an invoice?" });
  #column = element("select", { "aria-label": "Column of the file" });
  #columnField = element("label", { class: "inline-label", hidden: true }, "Column ", this.#column);
  #table = [];
  #body = element("tbody");
  #output = element("div", { class: "output", hidden: true });
  #job;
  #snippet;
  #rows = [];

  constructor() {
    const file = element("input", { type: "file", accept: ".csv,.tsv,.txt" });
    file.addEventListener("change", () => {
      if (file.files[0]) this.takeFile(file.files[0]);
      file.value = "";
    });
    this.#column.addEventListener("change", () => this.#takeColumn());
    const open = element("label", { class: "file" }, file, element("span", { class: "quiet" }, "Open a CSV…"));
    this.#texts.node.append(element("div", { class: "field-row" }, open, this.#columnField));
    this.#job = new Job("Classify", (signal, say) => this.#run(signal, say));
    const head = element("tr", {}, ...["Text", "Class", "Probability"].map((name) => element("th", { scope: "col" }, name)));
    const exports = element("button", { class: "quiet", type: "button" }, "Export CSV");
    exports.addEventListener("click", () => this.#export());
    this.#output.append(
      element("div", { class: "table-frame", tabindex: "0", role: "region", "aria-label": "Results" }, element("table", {}, element("thead", {}, head), this.#body)),
      element("div", { class: "output-foot" }, exports),
    );
    this.#snippet = new Snippet(() => this.#code());
    for (const { box } of [this.#texts, this.#labels, this.#examples]) box.addEventListener("input", () => this.#snippet.refresh());
    this.node.append(
      heading("Sort texts into classes", "Every text gets a probability for each class; the likeliest one is shown."),
      element("div", { class: "columns" }, this.#texts.node, element("div", {}, this.#labels.node, this.#examples.node)),
      this.#job.node,
      this.#output,
      this.#snippet.node,
    );
  }

  /** A model is there, or, with null, no more; `opening(also)` is the source that loads it. */
  open(model, opening) {
    this.#job.stop();
    this.#opening = opening;
    if (model && this.#model === null) this.#examples.box.value = writes(model.info) ? "" : sampleExamples.join("\n");
    this.#model = model;
    if (!model) return;
    const { labels } = model.info;
    if (labels) this.#labels.box.value = labels.join(", ");
    const fits = !writes(model.info) && !labels;
    this.#labels.node.hidden = fits;
    this.#examples.node.hidden = Boolean(labels);
    if (fits && !this.#examples.box.value.trim()) this.#examples.box.value = sampleExamples.join("\n");
    this.#examples.node.querySelector("label").textContent = fits ? "Examples" : "Examples, if you like";
    this.#examples.box.rows = fits ? 8 : 4;
    this.#examples.node.querySelector(".hint").textContent = fits
      ? "One a line. A head is fitted to them, here, in a moment."
      : "One a line. A small model needs them; an embedding model makes the most of them.";
    this.#snippet.refresh();
  }

  async takeFile(file) {
    this.#table = parseTable(await file.text());
    const [first = []] = this.#table;
    this.#columnField.hidden = first.length < 2;
    this.#column.replaceChildren(...first.map((name, i) => element("option", { value: String(i) }, name.slice(0, 40) || `Column ${i + 1}`)));
    this.#column.value = String(Math.max(wordiest(this.#table), 0));
    this.#takeColumn();
  }

  #takeColumn() {
    const column = Number(this.#column.value || 0);
    // With several columns the first line names them.
    const rows = this.#table[0]?.length > 1 ? this.#table.slice(1) : this.#table;
    this.#texts.box.value = rows.map((row) => (row[column] ?? "").replace(/\s+/g, " ").trim()).filter(Boolean).join("\n");
    this.#snippet.refresh();
  }

  #read() {
    const examples = lines(this.#examples.box.value).map((line) => {
      const colon = line.indexOf(":");
      if (colon < 1) throw amiss("An example has no class", `Write each as “class: text”. This one has no colon: “${line.slice(0, 60)}”.`);
      return { text: line.slice(colon + 1).trim(), label: line.slice(0, colon).trim() };
    });
    const labels = [...new Set(this.#labels.box.value.split(/[,\n]/).map((label) => label.trim()).filter(Boolean))];
    return { texts: lines(this.#texts.box.value), labels, examples };
  }

  async #run(signal, say) {
    const { texts, labels, examples } = this.#read();
    if (texts.length === 0) throw amiss("There is nothing to sort", "Paste some texts, one a line, or open a CSV file.");
    this.#rows = [];
    this.#body.replaceChildren();
    const classifier = await this.#classifier(labels, examples, signal, say);
    this.#output.hidden = false;
    const began = performance.now();
    for (let at = 0; at < texts.length; at += batch) {
      const part = texts.slice(at, at + batch);
      say(`${at} of ${texts.length}`, at / texts.length);
      const answers = await classifier.classify(part, { signal });
      part.forEach((text, i) => this.#add(text, answers[i]));
    }
    const seconds = (performance.now() - began) / 1000;
    return `${plural(texts.length, "text")} in ${seconds.toFixed(1)} s: ${(texts.length / seconds).toFixed(1)} a second.${this.#note}`;
  }

  #note = "";

  async #classifier(labels, examples, signal, say) {
    const model = this.#model;
    this.#note = "";
    if (writes(model.info) || model.info.labels) {
      if (labels.length < 2) throw amiss("Two classes at least", "Name them, separated by commas.");
      const few = examples.length > 0 && !model.info.labels ? { examples } : {};
      return model.classifier({ labels, ...few });
    }
    const { fitClassifier } = await import("./pkg/index.js");
    const steps = { embed: "Reading the examples", fit: "Fitting" };
    const classifier = await fitClassifier(model, examples, {
      signal,
      onProgress: ({ phase, done, total }) => say(`${steps[phase]}…`, done / total),
    });
    const { accuracy, examples: count } = classifier.report;
    this.#note = ` Fitted to ${count} examples, cross-validated: ${Math.round(accuracy * 100)} % right.`;
    return classifier;
  }

  #add(text, scores) {
    this.#rows.push({ text, scores });
    const [{ label, score }] = scores;
    const others = scores.map((entry) => `${entry.label} ${(100 * entry.score).toFixed(1)} %`).join(", ");
    const bar = element("span", { class: "share" });
    bar.style.setProperty("--share", score);
    this.#body.append(
      element(
        "tr",
        { title: others },
        element("td", {}, text),
        element("td", {}, element("span", { class: "tag" }, label)),
        element("td", { class: "measure" }, bar, `${(100 * score).toFixed(0)} %`),
      ),
    );
  }

  #export() {
    const labels = [...new Set(this.#rows.flatMap(({ scores }) => scores.map(({ label }) => label)))].sort();
    const rows = this.#rows.map(({ text, scores }) => {
      const of = new Map(scores.map(({ label, score }) => [label, score]));
      return [text, scores[0].label, ...labels.map((label) => of.get(label)?.toFixed(4) ?? "")];
    });
    save("classified.csv", formatTable([["text", "class", ...labels], ...rows]), "text/csv");
  }

  #code() {
    let read = { texts: [], labels: [], examples: [] };
    try {
      read = this.#read();
    } catch {
      // Half an example is no code yet.
    }
    const { texts, labels, examples } = read;
    if (this.#model === null) return "";
    const { info } = this.#model;
    const fits = !writes(info) && !info.labels;
    const task = { labels, ...(examples.length > 0 && !info.labels && { examples }) };
    const classifier = fits
      ? `const examples = ${literal(examples)};
const classifier = await fitClassifier(model, examples);
console.log(classifier.report.accuracy); // cross-validated`
      : `const classifier = model.classifier(${literal(task)});`;
    return `${this.#opening(fits ? "fitClassifier" : "")}
${classifier}

const texts = ${literal(texts)};
const answers = await classifier.classify(texts);
texts.forEach((text, i) => {
  const [{ label, score }] = answers[i];
  console.log(text, label, score);
});`;
  }
}
