// The generations of one request: they succeed together, and stop together.

import type { Generation, GenerationEvent, GenerationResult } from "../index.js";
import { APIError } from "./error.js";
import type { CompletionUsage } from "./types.js";

/** What happens in one of several generations. */
export interface BatchEvent {
  index: number;
  event: GenerationEvent;
}

export class Batch {
  readonly controller = new AbortController();
  readonly #runs: Generation[];
  readonly #release: () => void;

  /** Starts one generation for each of `starts`. */
  constructor(starts: ((signal: AbortSignal) => Generation)[], signal?: AbortSignal) {
    const abort = (): void => this.controller.abort(signal?.reason);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
    this.#release = () => signal?.removeEventListener("abort", abort);
    this.#runs = starts.map((start) => start(this.controller.signal));
  }

  async results(): Promise<GenerationResult[]> {
    try {
      const results = await Promise.all(this.#runs.map((run) => run.result));
      if (results.some(({ finishReason }) => finishReason === "abort")) throw new APIError("aborted", "the request was aborted");
      return results;
    } catch (error) {
      this.controller.abort();
      throw error;
    } finally {
      this.#release();
    }
  }

  /** All events, one generation after the other, as the model serves them. */
  async *events(): AsyncGenerator<BatchEvent> {
    try {
      for (const [index, run] of this.#runs.entries()) {
        for await (const event of run.events()) yield { index, event };
      }
    } finally {
      // Those that have ended do not mind.
      this.controller.abort();
      this.#release();
    }
  }
}

/** What generations took together. Of each prompt there are `n`, and it is counted once. */
export function usageOf(generations: Pick<GenerationResult, "usage">[], n: number): CompletionUsage {
  const usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, prompt_tokens_details: { cached_tokens: 0 } };
  for (const [i, { usage: { promptTokens, cachedTokens, completionTokens } }] of generations.entries()) {
    usage.completion_tokens += completionTokens;
    if (i % n !== 0) continue;
    usage.prompt_tokens += promptTokens;
    usage.prompt_tokens_details.cached_tokens += cachedTokens;
  }
  usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
  return usage;
}

/** What every answer to a request begins with. */
export function head<O extends string>(prefix: string, object: O, model: string): { id: string; object: O; created: number; model: string } {
  return { id: `${prefix}-${crypto.randomUUID().replaceAll("-", "")}`, object, created: Math.floor(Date.now() / 1000), model };
}
