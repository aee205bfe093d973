// The readouts beside the conversation: how fast, how much memory, which model.

import { byId, element, fillFacts } from "./dom.js";
import { bytes, count, duration, parameters, plural, rate } from "./words.js";

const sampleMs = 200;
const samplesKept = 60;

/** What one answer took, in a line: under the answer itself. */
export function answerLine({ usage, timings }) {
  return [
    `${rate(timings.tokensPerSecond)} tokens/s`,
    `first after ${duration(timings.firstTokenMs)}`,
    `${plural(usage.promptTokens, "token")} in, ${count(usage.completionTokens)} out`,
  ];
}

/** Speed while an answer is being written. */
export class SpeedMeter {
  #samples = [];
  #arrived = 0;
  #timer = 0;

  start() {
    byId("speed-card").hidden = false;
    byId("speed-now").textContent = "…";
    this.#samples = [];
    this.#arrived = 0;
    this.#draw();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#sample(), sampleMs);
  }

  tick() {
    this.#arrived++;
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  /** The measured figures replace the live estimate. */
  finish({ usage, timings }) {
    this.stop();
    this.#draw();
    byId("speed-now").textContent = rate(timings.tokensPerSecond);
    fillFacts(byId("speed-facts"), [
      ["First token after", duration(timings.firstTokenMs)],
      ["Prompt", plural(usage.promptTokens, "token")],
      ["Of these, kept from before", usage.cachedTokens ? count(usage.cachedTokens) : ""],
      ["Read at", Number.isFinite(timings.promptTokensPerSecond) && timings.promptTokensPerSecond > 0 ? `${count(timings.promptTokensPerSecond)} tokens/s` : ""],
      ["Answer", plural(usage.completionTokens, "token")],
    ]);
  }

  #sample() {
    const perSecond = (this.#arrived * 1000) / sampleMs;
    this.#arrived = 0;
    if (perSecond === 0 && this.#samples.length === 0) return;
    this.#samples.push(perSecond);
    if (this.#samples.length > samplesKept) this.#samples.shift();
    const recent = this.#samples.slice(-5);
    byId("speed-now").textContent = rate(recent.reduce((a, b) => a + b, 0) / recent.length);
    this.#draw();
  }

  #draw() {
    const [area, line] = byId("speed-trace").querySelectorAll("path");
    if (this.#samples.length < 2) {
      line.setAttribute("d", "");
      area.setAttribute("d", "");
      return;
    }
    const top = Math.max(...this.#samples) * 1.1;
    // Few samples spread out as they come, until the trace is half full.
    const step = 240 / Math.max(this.#samples.length - 1, this.#timer ? samplesKept / 3 : 1);
    const points = smooth(this.#samples).map((value, i) => `${(i * step).toFixed(1)},${(38 - (value / top) * 34).toFixed(1)}`);
    line.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M0,40L${points.join("L")}L${((this.#samples.length - 1) * step).toFixed(1)},40Z`);
  }
}

/** Each sample holds only a few tokens; a mean over three shows the course rather than the rounding. */
function smooth(values) {
  return values.map((value, i) => {
    const near = values.slice(Math.max(0, i - 2), i + 1);
    return near.reduce((a, b) => a + b, 0) / near.length;
  });
}

/** `converses`: whether the memory of a conversation means anything for this model. */
export function showMemory({ weights, kv, peak }, converses) {
  byId("memory-card").hidden = false;
  byId("memory-now").textContent = bytes(peak);
  const rest = Math.max(peak - weights, 0);
  const parts = [
    ["weights", weights],
    ["rest", rest],
  ];
  byId("memory-stack").replaceChildren(
    ...parts.map(([name, size]) => {
      const part = element("span", { class: name });
      part.style.flexGrow = String(Math.max(size, 0));
      return part;
    }),
  );
  fillFacts(byId("memory-facts"), [
    [swatch("weights", "Weights"), bytes(weights)],
    [swatch("rest", "Working space"), bytes(rest)],
    // What the keys and values of a full context would take; they are taken as they are needed.
    ["A full conversation", converses ? `up to ${bytes(kv)}` : ""],
  ]);
}

function swatch(kind, label) {
  return element("span", { class: `swatch ${kind}` }, label);
}

/** `title` is how the page calls the model; its file may have another name for it. */
export function showModel(info, title) {
  byId("model-card").hidden = false;
  fillFacts(byId("model-facts"), [
    ["Name in the file", info.name === title ? "" : info.name],
    ["Family", info.architecture],
    ["Parameters", parameters(info.parameters)],
    ["Stored as", info.quantization],
    ["Context", info.trainedContextLength > info.contextLength ? `${count(info.contextLength)} of ${plural(info.trainedContextLength, "token")}` : plural(info.contextLength, "token")],
    ["Vocabulary", info.vocabSize ? plural(info.vocabSize, "token") : ""],
    ["Runs on", info.device?.description],
  ]);
}

export function hideModel() {
  for (const id of ["speed-card", "memory-card", "model-card"]) byId(id).hidden = true;
}
