// What the pages beside the chat share: fields, a button that starts and stops, how far it is, what went wrong.

import { element } from "./dom.js";
import { isAbort } from "./errors.js";
import { noticeFor } from "./notice.js";

let fields = 0;

/** A labelled text box with a hint; `{ node, box }`. */
export function field(label, { hint, value = "", rows = 4, code = false, placeholder }) {
  const id = `field-${++fields}`;
  const box = element("textarea", { id, rows, placeholder, spellcheck: code ? "false" : undefined, class: code ? "mono" : undefined, "aria-describedby": hint && `${id}-hint` });
  box.value = value;
  const node = element("div", { class: "field" }, element("label", { for: id }, label), box);
  if (hint) node.append(element("p", { class: "hint", id: `${id}-hint` }, hint));
  return { node, box };
}

/** The heading of a page. */
export function heading(title, text) {
  return element("header", { class: "bench-head" }, element("h1", {}, title), element("p", {}, text));
}

/** A button that starts something, stops it while it runs, and says how it goes. */
export class Job {
  node;
  #button;
  #label;
  #bar = element("progress", { max: 1, hidden: true, "aria-label": "Progress" });
  #line = element("p", { class: "hint", role: "status" });
  #notice = element("div", { class: "notice", role: "alert", hidden: true });
  #running = null;
  #work;

  /** `work(signal, say)` does it; `say(text, share)` tells how far it is, and what it returns is said at the end. */
  constructor(label, work, ...others) {
    this.#label = label;
    this.#work = work;
    this.#button = element("button", { class: "primary small", type: "button" }, label);
    this.#button.addEventListener("click", () => (this.#running ? this.stop() : this.run()));
    const row = element("div", { class: "job-row" }, this.#button, ...others, this.#line);
    this.node = element("div", { class: "job" }, row, this.#bar, this.#notice);
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
  }

  stop() {
    this.#running?.abort();
  }

  async run() {
    this.stop();
    const mine = (this.#running = new AbortController());
    const say = (text, share) => {
      if (mine !== this.#running) return;
      this.#line.textContent = text;
      this.#bar.hidden = share === undefined;
      if (share !== undefined) this.#bar.value = share;
    };
    this.#notice.hidden = true;
    this.#button.textContent = "Stop";
    try {
      say((await this.#work(mine.signal, say)) ?? "");
    } catch (error) {
      if (isAbort(error)) say("Stopped.");
      else {
        say("");
        this.#fail(error);
      }
    } finally {
      if (mine === this.#running) {
        this.#running = null;
        this.#button.textContent = this.#label;
      }
    }
  }

  #fail(error) {
    // What the visitor has to put right, in the words of the page.
    const own = error.title ? [element("p", { class: "notice-title" }, error.title), element("p", {}, error.message)] : noticeFor(error);
    this.#notice.replaceChildren(...own);
    this.#notice.hidden = false;
  }
}

/** Something that the visitor has to put right first. */
export function amiss(title, message) {
  return Object.assign(new Error(message), { title });
}

/** Lines with something on them. */
export function lines(text) {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}
