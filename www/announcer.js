// What a screen reader hears of an answer. The visible text grows word by word, which would be read as stutter, so
// it is not a live region; finished sentences are repeated here instead, a few seconds apart.

const pauseMs = 3000;
const keep = 3;

export class Announcer {
  #region;
  #pending = "";
  #timer = 0;

  constructor(region) {
    this.#region = region;
  }

  /** One whole thing to say, now. */
  say(text) {
    const line = document.createElement("p");
    // Markdown's marks are for the eye.
    line.textContent = text.replace(/[*`#]{1,3}/g, "");
    this.#region.append(line);
    while (this.#region.childElementCount > keep) this.#region.firstElementChild.remove();
  }

  /** More of a streamed answer. */
  push(text) {
    this.#pending += text;
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#flushSentences();
    }, pauseMs);
  }

  /** The answer is complete: say what is left, then `closing`. */
  finish(closing) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const rest = this.#pending.trim();
    this.#pending = "";
    if (rest) this.say(rest);
    if (closing) this.say(closing);
  }

  #flushSentences() {
    const match = /^[\s\S]*[.!?:。！？](?=\s)|^[\s\S]*\n/.exec(this.#pending);
    if (!match) return;
    this.#pending = this.#pending.slice(match[0].length);
    if (match[0].trim()) this.say(match[0].trim());
  }
}
