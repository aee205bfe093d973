// wisplm/openai: models behind an object of the OpenAI client's shape. It uses what every page can use of a model.

import { WispError } from "../index.js";
import { ChatCompletions } from "./chat.js";
import { Completions } from "./completions.js";
import { Embeddings } from "./embeddings.js";
import { Models, Registry, type ServedModel } from "./models.js";

export { APIError } from "./error.js";
export { Stream } from "./stream.js";
export type { Page, ServedModel } from "./models.js";
export type * from "./types.js";

/** What `createOpenAI` gives: used as OpenAI's client is. Requests fail with an `APIError`. */
export interface OpenAIClient {
  readonly chat: { readonly completions: Pick<ChatCompletions, "create"> };
  readonly completions: Pick<Completions, "create">;
  readonly embeddings: Pick<Embeddings, "create">;
  readonly models: Pick<Models, "list" | "retrieve">;
}

/**
 * A client for a loaded model, which goes by its own name (`model.info.name`), or for several, by the names given. Parameters
 * that cannot be honoured are refused, with `status` 400; none is ignored. What a request leaves out has the model's
 * defaults, which are not OpenAI's: `temperature` 0.8, `top_k` 40, `top_p` 0.95, `min_p` 0.05.
 */
export function createOpenAI(models: ServedModel | Readonly<Record<string, ServedModel>>): OpenAIClient {
  const named = isModel(models) ? { [models.info.name || models.info.architecture]: models } : { ...models };
  const given = Object.values(named);
  if (given.length === 0 || !given.every(isModel)) {
    throw new WispError("invalid-argument", "createOpenAI takes a loaded model, or an object of them by name", { details: { option: "models" } });
  }
  const registry = new Registry(named);
  return {
    chat: { completions: new ChatCompletions(registry) },
    completions: new Completions(registry),
    embeddings: new Embeddings(registry),
    models: new Models(registry),
  };
}

function isModel(value: unknown): value is ServedModel {
  const { info, chat } = (value ?? {}) as Partial<ServedModel>;
  return typeof info === "object" && typeof chat === "function";
}
