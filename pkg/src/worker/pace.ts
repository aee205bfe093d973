// Work in JavaScript that takes long stops for breath, so that the page can move, and the worker be told to stop.

import { aborted } from "../errors.js";
import { breathe } from "./breath.js";

/** A frame of a screen has 16. */
const STRIDE_MS = 12;

export class Pace {
  readonly #signal: AbortSignal | undefined;
  #since = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether it is time to `rest`. Asking is cheaper than awaiting. */
  get isDue(): boolean {
    return performance.now() - this.#since > STRIDE_MS;
  }

  /** Lets the page do what waits. Fails with `aborted` if the signal has fired. */
  async rest(): Promise<void> {
    await breathe();
    if (this.#signal?.aborted) throw aborted(this.#signal);
    this.#since = performance.now();
  }
}
