// What this browser can do, from `probe()`, in words for people.

import { byId, element } from "./dom.js";

/** `{ summary, abilities: { able: boolean, title, text }[] }` of a device report. */
export function describe(report) {
  const abilities = [
    ability(report.wasm?.simd, "Fast arithmetic (SIMD)", {
      yes: "Computes on many numbers at once.",
      no: "Missing, and the engine needs it. Update the browser.",
    }),
    ability(report.wasm?.relaxedSimd, "Faster arithmetic (relaxed SIMD)", {
      yes: "Uses the processor's own dot products.",
      no: "Not here: the portable kind is used instead.",
    }),
    ability(report.crossOriginIsolated, "Isolated page", {
      yes: "May share memory between threads.",
      no: "This server does not isolate the page, so it runs on one thread.",
    }),
    ability(report.webgpu?.available, "Graphics processor (WebGPU)", {
      yes: "Present. This version of wisplm still computes on the processor.",
      no: "Not offered here; the processor does the work.",
    }),
    ability(report.cache?.available, "Keeps models", {
      yes: "A downloaded model stays in this browser for the next visit.",
      no: "No storage here: a model is downloaded again at each visit.",
    }),
  ];
  return { summary: report.wasm?.simd ? "It can run small language models." : "It cannot run the engine.", abilities };
}

function ability(able, title, { yes, no }) {
  return { able: Boolean(able), title, text: able ? yes : no };
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
