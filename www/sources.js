// Where a model comes from: the demo's own file, files from this device (chosen or dropped), or an address.

import { byId, element } from "./dom.js";

const own = (name, file) => ({ name, url: new URL(`./models/${file}`, document.baseURI).href });

/** The demo's own models: one that writes, one that embeds. */
export const ownModels = {
  writes: own("SmolLM2 135M", "SmolLM2-135M-Instruct.Q4_1.gguf"),
  embeds: own("all-MiniLM-L6-v2", "all-MiniLM-L6-v2.Q8_0.gguf"),
};

/** Size of a model on this server; null when the file is not there, undefined when it cannot be told. */
export async function sizeOf({ url }) {
  try {
    const answer = await fetch(url, { method: "HEAD" });
    if (answer.status === 404) return null;
    const length = answer.ok ? Number(answer.headers.get("content-length")) : 0;
    return length > 0 ? length : undefined;
  } catch {
    return undefined;
  }
}

/** Wires the panel and drag and drop; `onSource(source, name)` gets what `load` takes, `onTable(file)` a table that was dropped. */
export function wireSources(onSource, onTable) {
  const panel = byId("sources");

  const takeFiles = (list) => {
    // The parts of a split file are numbered in their names.
    const files = [...list].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    if (files.length === 0) return;
    panel.close();
    if (/\.(csv|tsv|txt)$/i.test(files[0].name)) return onTable(files[0]);
    onSource(files.length === 1 ? files[0] : files, files[0].name);
  };

  const picker = byId("file");
  picker.addEventListener("change", () => {
    takeFiles(picker.files);
    picker.value = "";
  });

  byId("url-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const address = byId("url").value.trim();
    const problem = addressProblem(address);
    byId("url-error").textContent = problem ?? "";
    byId("url").toggleAttribute("aria-invalid", Boolean(problem));
    if (problem) return;
    panel.close();
    onSource(address, decodeURIComponent(address.split(/[?#]/)[0].split("/").pop() || address));
  });

  for (const { name, url } of Object.values(ownModels)) {
    const button = element("button", { class: "quiet", type: "button" }, name);
    button.addEventListener("click", () => {
      panel.close();
      onSource(url, name);
    });
    byId("own-models").append(button);
  }

  wireDrop(takeFiles);
}

function addressProblem(address) {
  if (address.startsWith("hf:")) {
    return /^hf:[^/\s]+\/[^/\s]+\/\S+$/.test(address) ? null : "Write it as hf:owner/repository/file.gguf.";
  }
  try {
    const { protocol } = new URL(address);
    return protocol === "https:" || protocol === "http:" ? null : "Only https:// and hf: addresses can be loaded.";
  } catch {
    return "This is not a whole address: begin with https:// or hf:.";
  }
}

function wireDrop(takeFiles) {
  const zone = byId("dropzone");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Every element under the pointer sends its own enter and leave; the zone stays while they do not balance.
  let inside = 0;
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    inside++;
    zone.hidden = false;
  });
  addEventListener("dragleave", () => {
    inside = Math.max(inside - 1, 0);
    if (inside === 0) zone.hidden = true;
  });
  addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    inside = 0;
    zone.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    takeFiles(event.dataTransfer.files);
  });
}
