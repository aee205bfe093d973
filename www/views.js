// The pages of the demo: which one is shown, and what it needs of a model.

import { byId } from "./dom.js";

const views = {
  chat: {
    needs: "writes",
    title: ["A language model,", "living in this tab."],
    lead: "It is downloaded once and then runs on your own machine: no server behind it, no account, and not a word you type leaves this device.",
  },
  classify: {
    needs: "any",
    title: ["Sort texts into classes,", "right in this tab."],
    lead: "Paste lines or open a CSV file, name your classes, and watch the table fill. The texts stay on this device.",
  },
  extract: {
    needs: "writes",
    title: ["Text in, JSON out,", "right in this tab."],
    lead: "Say in a JSON Schema what you want to know; the answer has that form, whatever the model would rather write.",
  },
  search: {
    needs: "embeds",
    title: ["Search by meaning,", "right in this tab."],
    lead: "An embedding model turns texts into vectors, and finds what says the same in other words. Nothing is sent anywhere.",
  },
};

/** BERT models make vectors of texts, or judge them. */
export const writes = (info) => info.architecture !== "bert";

export class Views {
  #onChange;

  /** `onChange()` is called when another view is chosen. */
  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener("hashchange", () => this.#show());
    this.#mark();
  }

  get name() {
    const name = location.hash.slice(1);
    return Object.hasOwn(views, name) ? name : "chat";
  }

  /** What kind of model the demo offers here: `"writes"` or `"embeds"`. */
  get offer() {
    const { needs } = views[this.name];
    return needs === "any" ? "writes" : needs;
  }

  /** Whether a model can do what is done here. */
  fits(info) {
    const { needs } = views[this.name];
    return needs === "any" || (needs === "writes") === writes(info);
  }

  #show() {
    this.#mark();
    scrollTo({ top: 0, behavior: "instant" });
    this.#onChange();
  }

  #mark() {
    for (const link of byId("views").querySelectorAll("a")) {
      if (link.hash === `#${this.name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const { title, lead } = views[this.name];
    byId("start-title").replaceChildren(title[0], document.createElement("br"), title[1]);
    byId("start-lead").textContent = lead;
  }
}
