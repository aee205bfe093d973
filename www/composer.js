// The prompt box: what is typed, how it is sent, and whether it is a message or the start of a text.

import { byId } from "./dom.js";
import { fillChips } from "./transcript.js";
import { recall, remember } from "./storage.js";

const suggestions = {
  chat: ["Give me three tips for sleeping well.", "Write a short poem about a lighthouse.", "Why is the sky blue?"],
  completion: ["Once upon a time, in a quiet harbour town,", "The best thing about learning to cook is", "def fibonacci(n):"],
};

const labels = {
  chat: { label: "Message", placeholder: "Ask something" },
  completion: { label: "Beginning of a text", placeholder: "Begin a text; the model carries on" },
};

export class Composer {
  #onSend;
  #onStop;
  #answering = false;
  #mode = "chat";
  #fresh = true;

  constructor({ onSend, onStop }) {
    this.#onSend = onSend;
    this.#onStop = onStop;
    const box = byId("prompt");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    box.addEventListener("keydown", (event) => {
      // While an input method is composing, Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#answering) this.#submit();
    });
    box.addEventListener("input", () => this.#grow());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#answering && !document.querySelector("dialog:modal")) this.#onStop();
    });
    byId("modes").addEventListener("change", (event) => {
      remember("mode", event.target.value);
      this.#setMode(event.target.value);
    });
  }

  /** A model is there; `chats` says whether it can hold a conversation. */
  open({ chats }) {
    const [chat, completion] = document.querySelectorAll('[name="mode"]');
    chat.disabled = !chats;
    byId("modes").title = chats ? "" : "This model's file has no chat template; it continues texts.";
    const mode = chats && recall("mode") !== "completion" ? "chat" : "completion";
    (mode === "chat" ? chat : completion).checked = true;
    this.#setMode(mode);
    this.setAnswering(false);
    this.setFresh(true);
  }

  /** To the prompt, except where that would put an on-screen keyboard over the page unasked. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) byId("prompt").focus();
  }

  /** Suggestions are for a conversation that has not begun. */
  setFresh(fresh) {
    this.#fresh = fresh;
    this.#suggest();
  }

  setAnswering(answering) {
    this.#answering = answering;
    const button = byId("send");
    button.classList.toggle("stopping", answering);
    button.setAttribute("aria-label", answering ? "Stop" : "Send");
  }

  #setMode(mode) {
    this.#mode = mode;
    byId("prompt-label").textContent = labels[mode].label;
    byId("prompt").placeholder = labels[mode].placeholder;
    this.#suggest();
  }

  #suggest() {
    const holder = byId("chips");
    holder.hidden = !this.#fresh;
    if (!this.#fresh) return;
    fillChips(holder, suggestions[this.#mode], (text) => {
      byId("prompt").value = text;
      this.#submit();
    });
  }

  #submit() {
    if (this.#answering) return this.#onStop();
    const box = byId("prompt");
    if (!box.value.trim()) return box.focus();
    const text = box.value;
    box.value = "";
    this.#grow();
    this.focus();
    this.#onSend(text, this.#mode);
  }

  #grow() {
    const box = byId("prompt");
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, innerHeight * 0.4)}px`;
  }
}
