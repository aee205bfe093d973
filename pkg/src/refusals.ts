// Why the engine has refused a GPU that the browser offers, kept from visit to visit: it is found out when a model is loaded,
// which tries anew each time, and told by `probe()`.

import { version } from "../package.json";
import { type Storage, Texts } from "./storage.js";

/** Whose refusal it was: another version of the engine, or of the browser with its driver's name, may not have it. */
interface Refusal {
  by: string;
  reason: string;
}

export class Refusals {
  readonly #texts: Texts;
  readonly #by = `${version} ${globalThis.navigator?.userAgent ?? ""}`;

  constructor(storage: Storage) {
    this.#texts = new Texts(storage);
  }

  /** Of an adapter, by what the browser says of it. */
  async of(adapter: string): Promise<string | undefined> {
    const text = await this.#texts.get(name(adapter));
    if (text === undefined) return undefined;
    try {
      const { by, reason } = JSON.parse(text) as Refusal;
      return by === this.#by ? reason : undefined;
    } catch {
      // A crash has torn it.
      return undefined;
    }
  }

  async keep(adapter: string, reason: string): Promise<void> {
    const refusal: Refusal = { by: this.#by, reason };
    await this.#texts.keep(name(adapter), JSON.stringify(refusal));
  }

  async forget(adapter: string): Promise<void> {
    await this.#texts.remove(name(adapter));
  }
}

function name(adapter: string): string {
  return `gpu refusal ${adapter}`;
}
