// A generation under way, as any number of readers see it.

import { aborted, type WispError } from "./errors.js";
import type { ToolCall } from "./chat.js";
import type { Link } from "./link.js";
import type { WireDelta, WireGenerated, WireRequest } from "./protocol.js";

/** What a generation came to. */
export interface GenerationResult {
  /** All of the text; of an answer in a conversation, without its reasoning. */
  readonly text: string;
  /** All of the generated tokens. */
  readonly tokens: readonly number[];
  /**
   * Why it ended: the model or a stop text ended it, the model with calls of tools, `maxTokens` or the context did, or it
   * was aborted (by its signal, or by the last reader leaving); then `text` and `tokens` are what there was until then.
   */
  readonly finishReason: "stop" | "length" | "tool-calls" | "abort";
  /** The stop text that ended it. */
  readonly stop?: string;
  /** The tools that the model asks for; empty for a raw completion. What it wrote for that is not part of `text`. */
  readonly toolCalls: readonly ToolCall[];
  /** What the model thought before it answered; empty for a raw completion. */
  readonly reasoning: string;
  /** How likely each of the tokens was, where `logprobs` asked for it. */
  readonly logprobs?: readonly TokenLogprob[];
  /** How many tokens there were. */
  readonly usage: GenerationUsage;
  /**
   * Of an answer in a session: what of its conversation the model no longer sees because it has outgrown the context, by the
   * session's `overflow`: so many of the oldest messages after the system's, or so many tokens. Absent while it sees all.
   */
  readonly dropped?: { readonly messages: number; readonly tokens: number };
  /** How long it took. */
  readonly timings: GenerationTimings;
}

/** How likely a token was by the model alone: before temperature, penalties, biases and format had their say. */
export interface TokenLogprob {
  readonly token: number;
  /** What it adds to the text; U+FFFD where it holds part of a character only. Of a control token its name. */
  readonly text: string;
  /** The natural logarithm of its probability. */
  readonly logprob: number;
  /** The likeliest tokens in its place, the likeliest first. */
  readonly top: readonly Omit<TokenLogprob, "top">[];
}

/** How many tokens a generation had. */
export interface GenerationUsage {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Those of them whose keys and values were still there from before. */
  readonly cachedTokens: number;
  /** Generated tokens. */
  readonly completionTokens: number;
}

/** How long a generation took, from the moment that the model turned to it. */
export interface GenerationTimings {
  /** Until the prompt was read. */
  readonly promptMs: number;
  /** Until there was a first token, which comes with the end of the prompt. */
  readonly firstTokenMs: number;
  /** From the first token to the last. */
  readonly decodeMs: number;
  /** Speed of reading the prompt, less its cached tokens. */
  readonly promptTokensPerSecond: number;
  /** Speed of generating, after the first token. */
  readonly tokensPerSecond: number;
}

/** What happens in a generation. */
export type GenerationEvent =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "reasoning"; readonly text: string }
  | { readonly type: "tool-call"; readonly call: ToolCall }
  | { readonly type: "token"; readonly id: number; readonly logprob?: TokenLogprob }
  | ({ readonly type: "finish" } & Pick<GenerationResult, "finishReason" | "stop" | "usage" | "timings">);

/**
 * A generation: an async iterable of text deltas. Each has whole characters and no part of a stop text.
 *
 * It runs whether or not it is read, and each reader (`for await`, `events()`, `toReadableStream()`) sees all of it from the
 * start. When the last reader leaves before the end (breaking out of the loop, cancelling the stream), the model stops
 * and `result` resolves with the finish reason `"abort"`.
 *
 * When its signal fires, readers get a `WispError` with the code `aborted`, and `result` resolves with the finish reason
 * `"abort"` and the text until then. A signal that had fired before the start rejects `result` too.
 */
export interface Generation extends AsyncIterable<string> {
  /** What it came to. */
  readonly result: Promise<GenerationResult>;
  /** Everything that happens, when it does: text, reasoning, calls of tools (each once it is complete), tokens, the end. */
  events(): AsyncIterableIterator<GenerationEvent>;
  /** The text deltas as a stream. */
  toReadableStream(): ReadableStream<string>;
}

export class Run implements Generation {
  readonly result: Promise<GenerationResult>;
  readonly #events: GenerationEvent[] = [];
  readonly #text: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #tokens: number[] = [];
  readonly #logprobs: TokenLogprob[] = [];
  readonly #toolCalls: ToolCall[] = [];
  #ended = false;
  #failure: WispError | undefined;
  #readers = 0;
  #stop: () => void = () => {};
  #wake: () => void = () => {};
  #news: Promise<void> = Promise.resolve();

  private constructor() {
    this.#renew();
    let settle!: { resolve(result: GenerationResult): void; reject(error: WispError): void };
    this.result = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    // Who only reads the text sees the failure there: a result that nobody awaits must not be an unhandled rejection.
    this.result.catch(() => {});
    this.#settle = settle;
  }

  /** Stops it, with an error for whoever reads it or waits for it. */
  end(error: WispError): void {
    if (this.#ended) return;
    this.#fail(error);
    this.#stop();
  }

  readonly #settle: { resolve(result: GenerationResult): void; reject(error: WispError): void };

  /** A generation that failed before it began. */
  static failed(error: WispError): Run {
    const run = new Run();
    run.#fail(error);
    return run;
  }

  /** `hear` is told of the messages that have become part of a session. */
  static start(
    link: Link,
    request: Extract<WireRequest, { kind: "generate" | "chat" | "send" }>,
    signal?: AbortSignal,
    hear: (said: unknown[]) => void = () => {},
  ): Run {
    if (signal?.aborted) return Run.failed(aborted(signal));
    const run = new Run();
    const abort = (): void => {
      run.#failure = aborted(signal);
      run.#announce();
      run.#stop();
    };
    const release = (): void => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort, { once: true });
    const id = link.send<"generate" | "chat" | "send">(request, {
      delta: (delta) => run.#append(delta),
      done: (generated) => {
        release();
        hear(generated.said ?? []);
        run.#finish(generated);
      },
      fail: (error) => {
        release();
        run.#fail(error);
      },
    });
    run.#stop = () => link.cancel(id);
    return run;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<string> {
    return this.#read((event) => (event.type === "text" ? event.text : undefined));
  }

  events(): AsyncIterableIterator<GenerationEvent> {
    return this.#read((event) => event);
  }

  toReadableStream(): ReadableStream<string> {
    const deltas = this[Symbol.asyncIterator]();
    return new ReadableStream<string>(
      {
        async pull(controller) {
          const { value, done } = await deltas.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        async cancel() {
          await deltas.return?.();
        },
      },
      // Nothing is read, and so nothing counts as a reader, until someone asks.
      { highWaterMark: 0 },
    );
  }

  // An iterator by hand: a generator would put off `return` until a pending `next` is through.
  #read<T>(pick: (event: GenerationEvent) => T | undefined): AsyncIterableIterator<T> {
    let position = 0;
    let state: "new" | "reading" | "left" = "new";
    const leave = (): void => {
      if (state === "reading") this.#readers--;
      state = "left";
    };
    const next = async (): Promise<IteratorResult<T>> => {
      if (state === "new") {
        state = "reading";
        this.#readers++;
      }
      while (state === "reading") {
        const event = this.#events[position];
        if (event !== undefined) {
          position++;
          const value = pick(event);
          if (value !== undefined) return { value, done: false };
        } else if (this.#failure !== undefined) {
          leave();
          throw this.#failure;
        } else if (this.#ended) {
          leave();
        } else {
          await this.#news;
        }
      }
      return { value: undefined, done: true };
    };
    return {
      next,
      return: async () => {
        leave();
        if (this.#readers === 0 && !this.#ended) this.#stop();
        this.#announce();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #append({ text, reasoning, tokens, likelihoods = [], toolCalls = [] }: WireDelta): void {
    for (const [i, id] of tokens.entries()) {
      const logprob = likelihoods[i];
      this.#events.push({ type: "token", id, ...(logprob !== undefined && { logprob }) });
    }
    this.#logprobs.push(...likelihoods);
    this.#tokens.push(...tokens);
    if (reasoning !== "") {
      this.#events.push({ type: "reasoning", text: reasoning });
      this.#reasoning.push(reasoning);
    }
    if (text !== "") {
      this.#events.push({ type: "text", text });
      this.#text.push(text);
    }
    for (const call of toolCalls) this.#events.push({ type: "tool-call", call });
    this.#toolCalls.push(...toolCalls);
    this.#announce();
  }

  #finish({ finishReason, stop, usage, timings, dropped }: WireGenerated): void {
    if (this.#ended) return;
    const end = { finishReason, ...(stop !== undefined && { stop }), usage, timings };
    this.#events.push({ type: "finish", ...end });
    this.#ended = true;
    this.#announce();
    this.#settle.resolve({
      text: this.#text.join(""),
      tokens: this.#tokens,
      ...end,
      ...(dropped !== undefined && { dropped }),
      toolCalls: this.#toolCalls,
      reasoning: this.#reasoning.join(""),
      ...(this.#logprobs.length > 0 && { logprobs: this.#logprobs }),
    });
  }

  #fail(error: WispError): void {
    this.#failure ??= error;
    this.#ended = true;
    this.#announce();
    this.#settle.reject(error);
  }

  #announce(): void {
    this.#wake();
    this.#renew();
  }

  #renew(): void {
    this.#news = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
