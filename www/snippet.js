// Code to copy, that does just what the page does.

import { element } from "./dom.js";

/** A part that unfolds; `code()` is asked for when it does, and again by `refresh()`. */
export class Snippet {
  node;
  #code;
  #text = element("code", {});
  #copy = element("button", { class: "link", type: "button" }, "Copy");

  constructor(code) {
    this.#code = code;
    this.#copy.addEventListener("click", () => this.#toClipboard());
    this.node = element(
      "details",
      { class: "snippet" },
      element("summary", {}, "The code for this"),
      element("div", { class: "snippet-body" }, element("pre", { tabindex: "0" }, this.#text), this.#copy),
    );
    this.node.addEventListener("toggle", () => this.refresh());
  }

  refresh() {
    if (this.node.open) this.#text.textContent = this.#code();
  }

  async #toClipboard() {
    try {
      await navigator.clipboard.writeText(this.#text.textContent);
      this.#copy.textContent = "Copied";
    } catch {
      this.#copy.textContent = "The browser did not allow copying";
    }
    setTimeout(() => (this.#copy.textContent = "Copy"), 2000);
  }
}

/** A value as source: short arrays in a line, long ones cut. */
export function source(value, most = 3) {
  if (!Array.isArray(value)) return JSON.stringify(value);
  const shown = value.slice(0, most).map((item) => (typeof item === "object" ? inline(item) : JSON.stringify(item)));
  return `[${[...shown, ...(value.length > most ? [`/* and ${value.length - most} more */`] : [])].join(", ")}]`;
}

function inline(object) {
  return `{ ${Object.entries(object).map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(", ")} }`;
}
