// What this browser can do, from `probe()`, in words for people.

import { byId, element } from "./dom.js";
import { bytes, plural } from "./words.js";

/** `{ summary, abilities: { able, title, text }[] }` of a device report. */
function describe({ device, wasm, webgpu, crossOriginIsolated, cores, storage }) {
  const has = (feature) => wasm.features.includes(feature);
  const free = storage.free ? ` About ${bytes(storage.free)} are free.` : "";
  return {
    summary: device
      ? "It can run small language models, on the processor."
      : "It cannot run the engine. A current version of Chrome, Edge, Firefox or Safari can.",
    abilities: [
      ability(has("simd128"), "SIMD", "Computes on several numbers at once.", "Missing, and the engine needs it."),
      ability(
        has("relaxed-simd"),
        "Relaxed SIMD",
        "Uses the processor's own dot products: the fast build runs.",
        "Not here: the portable, slower build runs.",
      ),
      ability(
        wasm.threads,
        "Threads",
        `There are ${plural(cores, "core")}: as many compute as help.`,
        "Not possible on this page: one core computes.",
      ),
      ability(
        crossOriginIsolated,
        "Isolated page",
        "Its server sends the headers that threads need.",
        "Its server does not send the headers that threads need.",
      ),
      ability(
        webgpu.available,
        "WebGPU",
        "The browser offers the graphics processor. This page computes on the processor.",
        "The browser does not offer the graphics processor.",
      ),
      ability(
        storage.available,
        "Keeps models",
        `A downloaded model is still here at the next visit.${free}`,
        "No storage for them here: they are downloaded at every visit.",
      ),
    ],
  };
}

function ability(able, title, yes, no) {
  return { able, title, text: able ? yes : no };
}

export function showDevice(report) {
  const { summary, abilities } = describe(report);
  byId("device-summary").textContent = summary;
  byId("abilities").replaceChildren(
    ...abilities.map(({ able, title, text }) =>
      element(
        "li",
        { class: able ? "able" : "unable" },
        element("p", { class: "ability" }, element("span", { class: "visually-hidden" }, able ? "Yes: " : "No: "), title),
        element("p", { class: "hint" }, text),
      ),
    ),
  );
}

export function showDeviceUnknown() {
  byId("device-summary").textContent = "It did not say what it can do; loading a model will show.";
}
