// `completions`: texts that the model carries on.

import type { Generation, GenerationResult, Model, TokenLogprob } from "../index.js";
import { Batch, head, usageOf } from "./batch.js";
import { APIError, refused } from "./error.js";
import { ofCompletion } from "./logprobs.js";
import type { Registry } from "./models.js";
import { flag, nth, requestSignal, type Rule, SAMPLING, settings, within } from "./parameters.js";
import { opened, type Stream } from "./stream.js";
import type { Completion, CompletionChoice, CompletionCreateParams, RequestOptions } from "./types.js";

const RULES: Record<string, Rule> = {
  ...SAMPLING,
  // Read by itself.
  prompt: () => ({}),
  max_tokens: (value, name) => ({ maxTokens: within(value, name, 0, Infinity) }),
  logprobs: (value, name) => ({ logprobs: within(value, name, 0, 20) }),
  echo: (value, name) => ({ echo: flag(value, name) }),
  best_of: "it would compute what is thrown away; take n, and choose",
  suffix: "the model only carries on what stands before",
};

type Prompt = string | readonly number[];

/** `client.completions`. */
export class Completions {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Carries texts on. With `stream: true` it resolves when the first one begins. */
  create(params: CompletionCreateParams & { stream?: false | null }, options?: RequestOptions): Promise<Completion>;
  create(params: CompletionCreateParams & { stream: true }, options?: RequestOptions): Promise<Stream<Completion>>;
  create(params: CompletionCreateParams, options?: RequestOptions): Promise<Completion | Stream<Completion>>;
  async create(params: CompletionCreateParams, options?: RequestOptions): Promise<Completion | Stream<Completion>> {
    try {
      const { model: name, n = 1, stream, usage, echo = false, ...others } = settings(params, RULES, "completions.create");
      if (echo && others.logprobs !== undefined) throw refused("echo", "echo does not go with logprobs: `Model.score` has those of a text");
      const { id, model } = this.#registry.find(name);
      const sampling = { maxTokens: 16, ...others };
      const given = prompts(params.prompt).flatMap((prompt) => Array.from({ length: n }, (_, i) => ({ prompt, i })));
      const echoes = await Promise.all(given.map(({ prompt }) => (echo ? written(model, prompt) : "")));
      const signal = requestSignal(options);
      const batch = new Batch(
        given.map(({ prompt, i }) => (signal): Generation => model.generate(prompt, { ...nth(sampling, i), signal })),
        signal,
      );
      const request = { model: id, echoes, n, usage: usage ?? false };
      return stream ? await opened(parts(batch, request), batch.controller) : completion(await batch.results(), request);
    } catch (error) {
      throw APIError.of(error);
    }
  }
}

interface Request {
  model: string;
  /** What stands before each text. */
  echoes: string[];
  n: number;
  usage: boolean;
}

function completion(results: GenerationResult[], { model, echoes, n }: Request): Completion {
  return {
    ...head("cmpl", "text_completion", model),
    choices: results.map((result, index) => ({
      index,
      text: echoes[index] + result.text,
      finish_reason: reason(result),
      logprobs: result.logprobs === undefined ? null : ofCompletion(result.logprobs, 0),
    })),
    usage: usageOf(results, n),
  };
}

async function* parts(batch: Batch, { model, echoes, n, usage }: Request): AsyncGenerator<Completion> {
  const same = head("cmpl", "text_completion", model);
  const ended: Pick<GenerationResult, "usage">[] = [];
  const tokens: TokenLogprob[] = [];
  // Of each text: how much of it there has been, as far as its tokens tell.
  const offsets = new Map<number, number>();
  // The API has `null` for a reason until the last part, though its types do not say so.
  const part = (index: number, text: string, finish_reason = null as unknown as CompletionChoice["finish_reason"]): Completion => {
    const known = tokens.splice(0);
    const offset = offsets.get(index) ?? 0;
    offsets.set(index, known.reduce((sum, { text }) => sum + text.length, offset));
    return { ...same, choices: [{ index, text, finish_reason, logprobs: known.length === 0 ? null : ofCompletion(known, offset) }] };
  };
  for await (const { index, event } of batch.events()) {
    if (!offsets.has(index)) {
      offsets.set(index, 0);
      if (echoes[index] !== "") yield part(index, echoes[index]!);
    }
    if (event.type === "token" && event.logprob !== undefined) tokens.push(event.logprob);
    if (event.type === "text") yield part(index, event.text);
    if (event.type === "finish") {
      ended.push(event);
      yield part(index, "", reason(event));
    }
  }
  if (usage) yield { ...same, choices: [], usage: usageOf(ended, n) };
}

function reason({ finishReason }: Pick<GenerationResult, "finishReason">): "stop" | "length" {
  return finishReason === "length" ? "length" : "stop";
}

async function written(model: Pick<Model, "detokenize">, prompt: Prompt): Promise<string> {
  return typeof prompt === "string" ? prompt : model.detokenize(prompt);
}

function prompts(value: unknown): Prompt[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value) && value.length > 0) {
    if (value.every((item) => typeof item === "number")) return [value];
    if (value.every((item) => typeof item === "string" || Array.isArray(item))) return value;
  }
  throw refused("prompt", "prompt must be a text, an array of tokens, or an array of either");
}
