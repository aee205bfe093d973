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
