// `models`: which there are.

import type { Model } from "../index.js";
import { APIError, refused } from "./error.js";
import type { ModelEntry } from "./types.js";

/** What the client needs of a model. */
export type ServedModel = Pick<Model, "info" | "chat" | "generate" | "embed" | "countTokens" | "detokenize">;

/** A page of a list: the only one. */
export interface Page<Item> {
  readonly object: "list";
  readonly data: Item[];
  [Symbol.asyncIterator](): AsyncGenerator<Item>;
}

/** The models of a client, by name. */
export class Registry {
  readonly names: readonly string[];
  readonly #models: Readonly<Record<string, ServedModel>>;

  constructor(models: Readonly<Record<string, ServedModel>>) {
    this.#models = models;
    this.names = Object.keys(models);
  }

  /** The model of that name; without one, the only model. */
  find(name: string | undefined): { id: string; model: ServedModel } {
    const known = this.names.map((id) => JSON.stringify(id)).join(", ");
    if (name === undefined && this.names.length > 1) throw refused("model", `model must name one of ${known}`);
    const id = name ?? this.names[0]!;
    if (!this.names.includes(id)) {
      const message = `there is no model ${JSON.stringify(id)}; there is ${known}. createOpenAI({ name: model }) gives other names`;
      throw new APIError("not-found", message, { param: "model" });
    }
    return { id, model: this.#models[id]! };
  }
}

/** `client.models`. */
export class Models {
  readonly #registry: Registry;
  readonly #created = Math.floor(Date.now() / 1000);

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Can be awaited, for `data`, or looped over. */
  list(): Promise<Page<ModelEntry>> & AsyncIterable<ModelEntry> {
    const data = this.#registry.names.map((id) => this.#entry(id));
    const each = async function* (): AsyncGenerator<ModelEntry> {
      yield* data;
    };
    const page: Page<ModelEntry> = { object: "list", data, [Symbol.asyncIterator]: each };
    return Object.assign(Promise.resolve(page), { [Symbol.asyncIterator]: each });
  }

  async retrieve(model: string): Promise<ModelEntry> {
    return this.#entry(this.#registry.find(model).id);
  }

  #entry(id: string): ModelEntry {
    return { id, object: "model", created: this.#created, owned_by: "wisplm" };
  }
}
