// What this browser can do, from `probe()`, in words for people.

import { byId, element } from "./dom.js";
import { bytes, plural } from "./words.js";

/** `{ summary, abilities: { able, title, text }[] }` of a device report, and of what came of asking for isolation. */
function describe({ device, wasm, webgpu, crossOriginIsolated, cores, storage }, isolation) {
  const has = (feature) => wasm.features.includes(feature);
  const free = storage.free ? ` About ${bytes(storage.free)} are free.` : "";
  return {
    summary: device
      ? `It can run small language models, on the ${device === "webgpu" ? "graphics adapter" : "processor"}.`
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
        navigator.serviceWorker?.controller
          ? "Its server does not send the headers that threads need: a service worker adds them."
          : "Its server sends the headers that threads need.",
        `Threads need it, and it could not be had: ${isolation.reason}.`,
      ),
      ability(
        webgpu.reason === undefined,
        "WebGPU",
        `The browser offers the graphics adapter, with buffers of up to ${bytes(webgpu.limits.maxStorageBufferBindingSize)}.`,
        `Not taken by itself: ${webgpu.reason}.`,
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

export function showDevice(report, isolation) {
  const { summary, abilities } = describe(report, isolation);
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
