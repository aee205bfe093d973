// The visitor's choice of what computes, and what came of it.

import { byId } from "./dom.js";
import { recall, remember } from "./storage.js";

const choices = ["auto", "webgpu", "wasm"];

export class DeviceSwitch {
  #choice = choices.find((choice) => choice === recall("device")) ?? "auto";
  #report = null;

  constructor(onChange) {
    const group = byId("devices");
    this.#mark();
    group.addEventListener("change", ({ target }) => {
      this.#choice = target.value;
      remember("device", this.#choice);
      this.showUse(null);
      onChange();
    });
  }

  /** As an option of `load`. */
  get device() {
    return this.#choice;
  }

  /** Offers what this browser has. */
  show(report) {
    this.#report = report;
    const { available } = report.webgpu;
    this.#input("webgpu").disabled = !available;
    if (!available && this.#choice === "webgpu") this.#choice = "auto";
    this.#mark();
    this.showUse(null);
  }

  /** Says what a model runs on, or without one what it would. */
  showUse(info) {
    byId("device-use").textContent = info ? inUse(info) : this.#expected();
  }

  #expected() {
    if (!this.#report?.device) return "";
    const { webgpu, device } = this.#report;
    const gpu = `The graphics adapter will compute: ${webgpu.description || "the browser does not name it"}.`;
    if (this.#choice === "webgpu") return webgpu.reason ? `${gpu} Expect little: ${webgpu.reason}.` : gpu;
    if (this.#choice === "wasm") return "The processor will compute, as you chose.";
    return device === "webgpu" ? `${gpu} The processor steps in if it cannot.` : `The processor will compute: ${webgpu.reason}.`;
  }

  #mark() {
    this.#input(this.#choice).checked = true;
  }

  #input(choice) {
    return byId("devices").querySelector(`[value="${choice}"]`);
  }
}

function inUse({ device: { description, features } }) {
  return `${description}. ${features.length ? `In use: ${features.join(", ")}.` : ""}`;
}
