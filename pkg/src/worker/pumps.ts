// The worker's end of streams that stay on the page.

import { aborted } from "../errors.js";
import type { FromWorker, ToWorker } from "../protocol.js";
import type { PumpLine } from "./source.js";

interface Wait {
  resolve(chunk: Uint8Array | undefined): void;
  reject(error: unknown): void;
}

export class PumpDesk implements PumpLine {
  readonly #post: (message: FromWorker) => void;
  readonly #signal: AbortSignal;
  readonly #waiting = new Map<number, Wait>();

  constructor(post: (message: FromWorker) => void, signal: AbortSignal) {
    this.#post = post;
    this.#signal = signal;
    signal.addEventListener("abort", () => {
      for (const wait of this.#waiting.values()) wait.reject(aborted(signal));
      this.#waiting.clear();
    });
  }

  pull(pump: number): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#signal.aborted) return reject(aborted(this.#signal));
      this.#waiting.set(pump, { resolve, reject });
      this.#post({ type: "pull", pump });
    });
  }

  discard(pump: number): void {
    this.#post({ type: "discard", pump });
  }

  receive(message: Extract<ToWorker, { type: "chunk" | "drained" }>): void {
    const wait = this.#waiting.get(message.pump);
    this.#waiting.delete(message.pump);
    if (message.type === "chunk") wait?.resolve(message.bytes);
    else if (message.error !== undefined) wait?.reject(new Error(message.error));
    else wait?.resolve(undefined);
  }
}
