// The conversation as it is seen: questions, answers, and what each answer took.

import { element } from "./dom.js";
import { FrameBuffer } from "./frames.js";
import { Markdown } from "./markdown.js";
import { noticeFor } from "./notice.js";
import { answerLine } from "./stats.js";

export class Transcript {
  #list;
  #last = null;

  constructor(list) {
    this.#list = list;
  }

  /** A new question with an empty answer; `onRetry(turn)` is called from its button. */
  add(mode, text, onRetry) {
    // Only the newest answer can be asked for again: later ones rest on it.
    this.#last?.settle();
    this.#last = new Turn(mode, text, onRetry);
    this.#list.append(this.#last.node);
    return this.#last;
  }

  get isEmpty() {
    return this.#last === null;
  }

  clear() {
    this.#list.replaceChildren();
    this.#last = null;
  }
}

class Turn {
  node = element("li", { class: "turn" });
  mode;
  text;
  #answer = element("div", { class: "answer" });
  #foot = element("div", { class: "turn-foot" });
  #retry;
  #copy;
  #note = null;
  #thoughts = null;
  #calls = [];
  #buffer = null;
  #markdown = null;
  #said = "";

  constructor(mode, text, onRetry) {
    this.mode = mode;
    this.text = text;
    this.#retry = element("button", { class: "link", type: "button" }, "Try again");
    this.#retry.addEventListener("click", () => onRetry(this));
    this.#copy = element("button", { class: "link", type: "button" }, "Copy");
    this.#copy.addEventListener("click", () => this.#copyText());
    if (mode === "chat") {
      this.node.append(element("div", { class: "question" }, element("span", { class: "visually-hidden" }, "You: "), element("span", {}, text)));
    }
    this.node.append(this.#answer, this.#foot);
  }

  /** Empties the answer, for a first or another attempt. */
  begin() {
    this.#said = "";
    this.#foot.replaceChildren();
    this.#note?.remove();
    this.#thoughts?.remove();
    this.#thoughts = null;
    for (const node of this.#calls.splice(0)) node.remove();
    this.#answer.classList.add("writing");
    if (this.mode === "chat") {
      this.#answer.replaceChildren(element("span", { class: "visually-hidden" }, "Answer: "));
      this.#markdown = new Markdown(this.#answer);
      this.#buffer = new FrameBuffer((text) => this.#markdown.push(text));
    } else {
      // A completion carries on the text itself, so both stand in one paragraph.
      const tail = document.createTextNode("");
      this.#answer.replaceChildren(
        element("p", { class: "manuscript" }, element("span", { class: "given" }, this.text), element("span", { class: "written" }, tail)),
      );
      this.#buffer = new FrameBuffer((text) => tail.appendData(text));
    }
  }

  push(text) {
    this.#said += text;
    this.#buffer.push(text);
  }

  /** What the model thinks before it answers, folded away. */
  think(text) {
    if (this.#thoughts === null) {
      this.#thoughts = element("details", { class: "turn-note" }, element("summary", {}, "Reasoning"), element("p", {}, ""));
      this.#answer.before(this.#thoughts);
    }
    this.#thoughts.lastElementChild.append(text);
  }

  /** A tool that was called, and what it gave. */
  call({ name, arguments: given }, output) {
    const call = element("code", {}, `${name}(${Object.keys(given).length > 0 ? JSON.stringify(given) : ""})`);
    const node = element("p", { class: "turn-note turn-call" }, "Called ", call, " → ", element("strong", {}, output));
    this.#calls.push(node);
    this.#answer.before(node);
  }

  /** Says beforehand that something was left out or cut. */
  note(text) {
    this.#note = element("p", { class: "turn-note" }, text);
    this.#answer.before(this.#note);
  }

  /** `ending` says why it stopped, where that was not the model's own choice. */
  finish(result, ending) {
    this.#end();
    const line = element("p", { class: "readout" });
    for (const part of result ? answerLine(result) : []) line.append(element("span", {}, part));
    if (ending) line.append(element("span", {}, ending));
    this.#foot.replaceChildren(line, element("div", { class: "turn-actions" }, ...(this.#said ? [this.#copy] : []), this.#retry));
  }

  fail(error) {
    this.#end();
    this.#foot.replaceChildren(element("div", { class: "notice", role: "alert" }, ...noticeFor(error, this.#retry)));
  }

  /** A newer turn follows. */
  settle() {
    this.#retry.remove();
  }

  #end() {
    this.#buffer.flush();
    this.#markdown?.finish();
    this.#answer.classList.remove("writing");
  }

  async #copyText() {
    const text = this.mode === "chat" ? this.#said : this.text + this.#said;
    try {
      await navigator.clipboard.writeText(text);
      this.#copy.textContent = "Copied";
    } catch {
      this.#copy.textContent = "The browser did not allow copying";
    }
    setTimeout(() => (this.#copy.textContent = "Copy"), 2000);
  }
}

/** Buttons that put a ready-made prompt into the box. */
export function fillChips(holder, prompts, onPick) {
  holder.replaceChildren(
    ...prompts.map((prompt) => {
      const chip = element("button", { class: "chip", type: "button" }, prompt);
      chip.addEventListener("click", () => onPick(prompt));
      return chip;
    }),
  );
}

