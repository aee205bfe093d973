// The load, as it goes: which step, how many bytes, how fast, how long still.

import { byId } from "./dom.js";
import { bytes, duration } from "./words.js";

const phases = {
  download: "Downloading",
  prepare: "Arranging the weights",
  compile: "Preparing the engine",
  warmup: "Warming up",
};

// Speed is taken over this much of the recent past, so that it follows a changing network without trembling.
const windowMs = 3000;

export class ProgressView {
  #announce;
  #frame = 0;
  #phases = new Map();
  #latest = null;
  #samples = [];
  #spoken = "";
  #local = false;

  constructor(announce) {
    this.#announce = announce;
  }

  start(name, local) {
    this.#local = local;
    this.#phases.clear();
    this.#latest = null;
    this.#samples = [];
    this.#spoken = "";
    byId("progress-phase").textContent = "Starting";
    byId("progress-name").textContent = name;
    byId("progress-bar").removeAttribute("value");
    byId("progress-bytes").textContent = "";
    byId("progress-speed").textContent = "";
    byId("progress").hidden = false;
    byId("lantern").style.setProperty("--glow", "0");
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    byId("progress").hidden = true;
    byId("lantern").style.removeProperty("--glow");
  }

  update({ phase, loaded, total }) {
    this.#phases.set(phase, { loaded, total });
    this.#latest = phase;
    if (phase === "download") {
      const now = performance.now();
      this.#samples.push({ at: now, loaded });
      while (this.#samples.length > 2 && now - this.#samples[0].at > windowMs) this.#samples.shift();
    }
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Steps may overlap; the download, where it is still running, is the one worth watching. */
  #shown() {
    const download = this.#phases.get("download");
    return download && !(download.loaded >= download.total) ? "download" : this.#latest;
  }

  #draw() {
    const phase = this.#shown();
    const { loaded, total } = this.#phases.get(phase);
    const known = Number.isFinite(total) && total > 0;
    const share = known ? Math.min(loaded / total, 1) : 0;
    const bar = byId("progress-bar");
    if (known) bar.value = share;
    else bar.removeAttribute("value");
    byId("progress-phase").textContent = this.#word(phase);
    byId("lantern").style.setProperty("--glow", phase === "download" ? share.toFixed(3) : "1");

    // Some steps count bytes, some count steps; only the first are worth a figure.
    const inBytes = loaded > 1e4 || total > 1e4;
    byId("progress-bytes").textContent = !inBytes ? "" : known ? `${bytes(loaded)} of ${bytes(total)}` : bytes(loaded);
    byId("progress-speed").textContent = phase === "download" ? this.#speed(total) : "";
    this.#speak(phase, known ? share : null);
  }

  #word(phase) {
    return phase === "download" && this.#local ? "Reading" : (phases[phase] ?? phase);
  }

  #speed(total) {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    const perSecond = last && last.at - first.at > 250 ? ((last.loaded - first.loaded) * 1000) / (last.at - first.at) : 0;
    if (!(perSecond > 0)) return "";
    const seconds = Math.round((total - last.loaded) / perSecond);
    const ending = seconds >= 1 ? `, about ${seconds < 60 ? `${seconds} s` : duration(seconds * 1000)} left` : "";
    return `${bytes(perSecond)}/s${ending}`;
  }

  /** Each step and each quarter of the download is said once. */
  #speak(phase, share) {
    const quarter = phase === "download" && share !== null ? Math.floor(share * 4) * 25 : null;
    const line = `${this.#word(phase)}${quarter ? `, ${quarter} percent` : ""}`;
    if (line === this.#spoken) return;
    this.#spoken = line;
    this.#announce(line);
  }
}
