// `embeddings`: vectors of texts.

import { APIError, refused } from "./error.js";
import type { Registry } from "./models.js";
import { requestSignal, settings, type Rule, SAMPLING, text, within } from "./parameters.js";
import type { CreateEmbeddingResponse, EmbeddingCreateParams, RequestOptions } from "./types.js";

const RULES: Record<string, Rule> = {
  model: SAMPLING.model!,
  user: SAMPLING.user!,
  // Read by itself.
  input: () => ({}),
  dimensions: (value, name) => ({ dimensions: within(value, name, 1, Infinity) }),
  encoding_format: (value, name) => {
    if (value !== "float" && value !== "base64") throw refused(name, `encoding_format must be "float" or "base64"`);
    return { encoding: value };
  },
};

/** `client.embeddings`. */
export class Embeddings {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** The vectors of one text or several. A text that the model cannot read whole is refused, never cut. */
  create(params: EmbeddingCreateParams & { encoding_format: "base64" }, options?: RequestOptions): Promise<CreateEmbeddingResponse<string>>;
  create(params: EmbeddingCreateParams, options?: RequestOptions): Promise<CreateEmbeddingResponse>;
  async create(params: EmbeddingCreateParams, options?: RequestOptions): Promise<CreateEmbeddingResponse<number[] | string>> {
    try {
      const { model: name, dimensions, encoding } = settings(params, RULES, "embeddings.create");
      const { id, model } = this.#registry.find(name);
      const texts = inputs(params.input);
      const signal = requestSignal(options);
      const vectors = await model.embed(texts, { ...(dimensions !== undefined && { dimensions }), ...(signal && { signal }) });
      let tokens = 0;
      for (const input of texts) tokens += await model.countTokens(input);
      return {
        object: "list",
        model: id,
        data: vectors.map((vector, index) => ({
          object: "embedding",
          index,
          embedding: encoding === "base64" ? base64(vector) : Array.from(vector),
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    } catch (error) {
      throw APIError.of(error);
    }
  }
}

function inputs(value: unknown): string[] {
  const texts: unknown[] = Array.isArray(value) ? value : [value];
  if (texts.length === 0) throw refused("input", "input has no text");
  if (texts.some((item) => typeof item === "number" || Array.isArray(item))) {
    throw refused("input", "tokens as input cannot be honoured: give the text");
  }
  return texts.map((item, i) => text(item, `input[${i}]`));
}

function base64(vector: Float32Array): string {
  const bytes = new Uint8Array(4 * vector.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of vector.entries()) view.setFloat32(4 * i, value, true);
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
