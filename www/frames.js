// Text that arrives token by token, handed on once per frame: many tokens cost one layout.

export class FrameBuffer {
  #pending = "";
  #frame = 0;
  #sink;

  constructor(sink) {
    this.#sink = sink;
  }

  push(text) {
    this.#pending += text;
    this.#frame ||= requestAnimationFrame(() => this.flush());
  }

  /** Hands on what is waiting, now. */
  flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#pending) return;
    const text = this.#pending;
    this.#pending = "";
    this.#sink(text);
  }
}
