// A loaded model: a handle on the engine in its worker.

import { conversation, type Message } from "./chat.js";
import { type Classifier, classifier, type ClassifierTask } from "./classify.js";
import { invalidArgument, WispError } from "./errors.js";
import { type Extracted, extract } from "./extract.js";
import { type Generation, Run } from "./generation.js";
import { type DocumentScore, type LabelScore, ranked, sigmoid } from "./head.js";
import type { Link } from "./link.js";
import { adapterScales, text, texts, textOrTokens, tokenIds } from "./checks.js";
import {
  type ChatOptions,
  chatOptions,
  type ClassifyOptions,
  classifyOptions,
  type EmbedOptions,
  embedOptions,
  type ExtractOptions,
  type GenerateOptions,
  generateOptions,
  type RerankOptions,
  rerankOptions,
  scoreOptions,
  type SessionOptions,
  steps,
  type TokenizeOptions,
  tokenizeOptions,
  wired,
} from "./options.js";
import type { WireInfo, WireLoaded, WirePlace } from "./protocol.js";
import { Numbers, type Session, WorkerSession } from "./session.js";
import { byInput, dot, means, unit } from "./vectors.js";

/** What a model is, and where it runs. */
export interface ModelInfo {
  /** The family, as the file names it: `"llama"`, `"gemma3"`, `"bert"`. */
  readonly architecture: string;
  /** The model's name, as the file gives it. */
  readonly name: string;
  /** How many weights it has. */
  readonly parameters: number;
  /** The format that most of its weights have, such as `"Q4_K"`. */
  readonly quantization: string;
  /** The most tokens that a prompt and its continuation may have together. */
  readonly contextLength: number;
  /** What it was trained for. */
  readonly trainedContextLength: number;
  /** Tokens in its vocabulary. */
  readonly vocabSize: number;
  /** Its adapters, and how much each changes it now. */
  readonly adapters: readonly { readonly name: string; readonly scale: number }[];
  /** What the head of a classifier scores; absent for models without one. */
  readonly labels?: readonly string[];
  /** What computes. It changes if the GPU is lost and cannot be had again. */
  readonly device: {
    readonly kind: "wasm" | "webgpu";
    /** In words; of a GPU, its name as far as the browser tells. */
    readonly description: string;
    /** How many compute; one where the GPU does. With `threads: "auto"` as many as helped when the model was loaded. */
    readonly threads: number;
    /**
     * What is in use that not every browser has: of WebAssembly, such as `"simd128"`, `"relaxed-simd"` and `"threads"`; of
     * a GPU, `"shader-f16"`, `"subgroups"` and `"packed_4x8_integer_dot_product"`.
     */
    readonly features: readonly string[];
  };
  /**
   * Bytes: of the weights; of keys and values, those of a full context or, if that is more, all that there are (of sessions, of
   * conversations that may go on); and the most that has been taken so far, of a GPU too.
   */
  readonly memory: { readonly weights: number; readonly kv: number; readonly peak: number };
  /** What did not go as it might have, such as a download that could not be kept, or why not the GPU, in plain sentences. */
  readonly notices: readonly string[];
}

/** Log-probabilities of a text. */
export interface Score {
  /** The tokens. */
  readonly tokens: number[];
  /** The natural logarithm of each token's probability given those before it; the first is `null`. */
  readonly logprobs: (number | null)[];
}

/**
 * A model, ready for use. Requests are served one after the other, in the order in which they were made. A request that
 * fails leaves the model ready for the next one, unless its error's code is `internal`. Where the GPU is lost, the request
 * goes on where it was on the same GPU, opened anew, or with `device: "auto"` on wasm; else it fails with `device-lost`.
 */
export interface Model extends AsyncDisposable {
  /** What it is, and where it runs. */
  readonly info: ModelInfo;
  /**
   * Continues a text, or tokens taken as given. A text gets the model's begin token, by the model's rule, and control
   * tokens written out in it stay text. Errors, of the arguments too, come through the generation.
   */
  generate(prompt: string | readonly number[], options?: GenerateOptions): Generation;
  /**
   * Answers a conversation, by the model's own chat template. What messages say stays text, whatever control tokens it
   * spells. A model without a template refuses with `unsupported-model`, a conversation that the template refuses (for
   * a role that the model does not know, say) fails with `invalid-argument`.
   */
  chat(messages: readonly Message[], options?: ChatOptions): Generation;
  /** Begins a conversation that owns its keys and values. Errors that the worker finds come with its first answer. */
  session(options?: SessionOptions): Session;
  /**
   * A session as it was saved. A blob that is none, or belongs to another model, is refused with `invalid-argument`, one that is
   * damaged with `integrity`.
   */
  restore(blob: Blob): Promise<Session>;
  /** How likely each token is after those before it. Token ids are taken as given; a text gets the model's begin token. */
  score(text: string | readonly number[], options?: { signal?: AbortSignal }): Promise<Score>;
  /**
   * The vector of a text. A text longer than the context is refused with `context-overflow`, before any is computed, or read in
   * chunks, as `long` says; never cut.
   */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  /** The vectors of several texts. */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  /**
   * The labels of a text, the most probable first: of a classifier by its head, all of them or those named; of a model
   * that generates text those given, by how likely it would answer each. Their probabilities sum to 1, unless `multiLabel`
   * has each stand by itself.
   */
  classify(text: string, labels?: readonly string[], options?: ClassifyOptions): Promise<LabelScore[]>;
  /** The labels of several texts. */
  classify(texts: readonly string[], labels?: readonly string[], options?: ClassifyOptions): Promise<LabelScore[][]>;
  /** The same for many calls: what is asked of the model is prepared once, and kept from one call to the next. */
  classifier(task: ClassifierTask): Classifier;
  /**
   * A value that a schema accepts, out of a text: a JSON Schema, which also gives its type, or a schema of a library that
   * has the Standard JSON Schema interface. A text longer than the context is refused with `context-overflow`: chunks would
   * each have a value of their own, and how these are one is for the caller to say.
   */
  extract<const S extends object | boolean>(text: string, schema: S, options?: ExtractOptions): Promise<Extracted<S>>;
  /**
   * How relevant documents are to a query, the most relevant first. A reranker's scores are probabilities; with an embedding
   * model they are cosines. A document that is with the query longer than the context is refused with `context-overflow`, or
   * counts by its best chunk, as `long` says.
   */
  rerank(query: string, documents: readonly string[], options?: RerankOptions): Promise<DocumentScore[]>;
  /**
   * Uses the adapters that the model was loaded with at these scales, one for each; `0` is without. It holds for requests
   * made from now on.
   */
  setAdapters(scales: readonly number[]): Promise<void>;
  /** Splits a text into tokens. */
  tokenize(text: string, options?: TokenizeOptions): Promise<number[]>;
  /** The text of tokens. */
  detokenize(tokens: readonly number[]): Promise<string>;
  /** How many tokens `tokenize` makes of a text, or the prompt has that `chat` makes of messages. */
  countTokens(input: string | readonly Message[]): Promise<number>;
  /** Frees everything. Whatever is under way, and every later request, fails with `closed`. */
  close(): Promise<void>;
  /** The same as `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

function placed({ device, adapter, features, threads, memory, notices }: WirePlace): Pick<ModelInfo, "device" | "memory" | "notices"> {
  const simd = features.includes("relaxed-simd") ? "relaxed SIMD" : "SIMD";
  const many = threads === 1 ? "one thread" : `${threads} threads`;
  const description = device === "wasm" ? `WebAssembly, ${simd}, ${many}` : ["WebGPU", adapter].filter(Boolean).join(", ");
  return { device: { kind: device, description, threads, features }, memory, notices };
}

export class WorkerModel implements Model {
  readonly #link: Link;
  readonly #sessions = new Numbers();
  readonly #embeds: boolean;
  #info: ModelInfo;
  readonly #asking: Pick<WireInfo, "chats" | "thinks">;

  constructor(link: Link, { info, place }: WireLoaded) {
    this.#link = link;
    const { architecture, name, parameters, quantization, contextLength, trainedContextLength, vocabSize } = info;
    this.#info = {
      ...{ architecture, name, parameters, quantization, contextLength, trainedContextLength, vocabSize },
      adapters: info.adapters,
      ...(info.labels !== null && { labels: info.labels }),
      ...placed(place),
    };
    this.#asking = info;
    this.#embeds = !info.generates && info.labels === null;
    link.onMemory = (memory) => {
      this.#info = { ...this.#info, memory };
    };
    link.onMoved = (place) => {
      this.#info = { ...this.#info, ...placed(place) };
    };
  }

  get info(): ModelInfo {
    return this.#info;
  }

  generate(prompt: string | readonly number[], options?: GenerateOptions): Generation {
    try {
      const { signal, ...others } = generateOptions(options);
      return Run.start(this.#link, { kind: "generate", prompt: textOrTokens(prompt, "prompt"), options: wired(others) }, signal);
    } catch (error) {
      return Run.failed(error as WispError);
    }
  }

  chat(messages: readonly Message[], options?: ChatOptions): Generation {
    try {
      const { signal, tools, toolChoice, documents, reasoning, continueAssistant, ...others } = chatOptions(options);
      const asked = conversation(messages, { tools, toolChoice, documents, reasoning, continueAssistant });
      return Run.start(this.#link, { kind: "chat", conversation: asked, options: wired(others) }, signal);
    } catch (error) {
      return Run.failed(error as WispError);
    }
  }

  session(options?: SessionOptions): Session {
    return WorkerSession.begin(this.#link, this.#sessions, options);
  }

  restore(blob: Blob): Promise<Session> {
    return WorkerSession.restore(this.#link, this.#sessions, blob);
  }

  async score(input: string | readonly number[], options?: { signal?: AbortSignal }): Promise<Score> {
    const { signal } = scoreOptions(options);
    const { tokens, logprobs } = await this.#link.ask<"score">({ kind: "score", text: textOrTokens(input, "text") }, signal);
    return { tokens: Array.from(tokens), logprobs };
  }

  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(input: string | readonly string[], options?: EmbedOptions): Promise<Float32Array | Float32Array[]> {
    const { signal, onProgress, normalize = true, long = "error", ...others } = embedOptions(options);
    const single = typeof input === "string";
    if (!single && !Array.isArray(input)) throw invalidArgument("text must be a string or an array of strings", "text");
    const request = { kind: "embed" as const, texts: single ? [input] : texts(input, "text"), options: { normalize, ...others }, long };
    const vectors = means(await this.#link.ask<"embed">(request, signal, steps(onProgress)), normalize ? unit : undefined);
    return single ? vectors[0]! : vectors;
  }

  classify(text: string, labels?: readonly string[], options?: ClassifyOptions): Promise<LabelScore[]>;
  classify(texts: readonly string[], labels?: readonly string[], options?: ClassifyOptions): Promise<LabelScore[][]>;
  async classify(
    input: string | readonly string[],
    labels?: readonly string[],
    options?: ClassifyOptions,
  ): Promise<LabelScore[] | LabelScore[][]> {
    const { signal, onProgress, ...task } = classifyOptions(options);
    const told = this.classifier({ ...task, ...(labels && { labels }) });
    const run = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
    return typeof input === "string" ? told.classify(input, run) : told.classify(input, run);
  }

  classifier(task: ClassifierTask): Classifier {
    return classifier(this.#link, this.#info.labels, task);
  }

  async extract<const S extends object | boolean>(input: string, schema: S, options?: ExtractOptions): Promise<Extracted<S>> {
    const ask = (prompt: readonly Message[] | string, options: ChatOptions): Generation =>
      typeof prompt === "string" ? this.generate(prompt, options) : this.chat(prompt, options);
    return (await extract(ask, this.#asking, input, schema, options)) as Extracted<S>;
  }

  async rerank(query: string, documents: readonly string[], options?: RerankOptions): Promise<DocumentScore[]> {
    const { signal, onProgress, long = "error" } = rerankOptions(options);
    const [question, ...answers] = [text(query, "query"), ...texts(documents, "documents")] as const;
    if (this.#embeds) {
      const embedding = { kind: "embed" as const, options: { normalize: true }, long };
      const [asked] = means(await this.#link.ask<"embed">({ ...embedding, texts: [question] }, signal), unit);
      const found = byInput(await this.#link.ask<"embed">({ ...embedding, texts: answers }, signal, steps(onProgress)));
      return ranked(found.map((chunks) => Math.max(...chunks.map((chunk) => dot(asked!, chunk)))));
    }
    const { labels } = this.#info;
    if (labels?.length !== 1) {
      const is = labels === undefined ? "generates text" : `is a classifier of ${labels.length} labels`;
      throw new WispError("unsupported-model", `this model ${is}: rerank needs a reranker or an embedding model`);
    }
    const inputs = answers.map((answer): [string, string] => [question, answer]);
    const found = byInput(await this.#link.ask<"head">({ kind: "head", inputs, long }, signal, steps(onProgress)));
    return ranked(found.map((chunks) => sigmoid(Math.max(...chunks.map(([logit]) => logit!)))));
  }

  async setAdapters(scales: readonly number[]): Promise<void> {
    const wanted = adapterScales(scales);
    const { adapters } = this.#info;
    if (wanted.length !== adapters.length) {
      throw invalidArgument(`there are ${wanted.length} scales for ${adapters.length} adapters`, "scales");
    }
    await this.#link.ask<"adapters">({ kind: "adapters", scales: wanted });
    this.#info = { ...this.#info, adapters: adapters.map(({ name }, i) => ({ name, scale: wanted[i]! })) };
  }

  async tokenize(input: string, options?: TokenizeOptions): Promise<number[]> {
    return Array.from(await this.#tokens(input, options));
  }

  async detokenize(tokens: readonly number[]): Promise<string> {
    return this.#link.ask<"detokenize">({ kind: "detokenize", tokens: tokenIds(tokens, "tokens") });
  }

  async countTokens(input: string | readonly Message[]): Promise<number> {
    if (typeof input === "string") return (await this.#tokens(input)).length;
    return this.#link.ask<"countPrompt">({ kind: "countPrompt", conversation: conversation(input) });
  }

  async close(): Promise<void> {
    this.#link.end(new WispError("closed", "the model is closed: load it again"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #tokens(input: string, options?: TokenizeOptions): Promise<Uint32Array> {
    const { bos, special = false } = tokenizeOptions(options);
    const request = { kind: "tokenize" as const, text: text(input, "text"), special };
    return this.#link.ask<"tokenize">(bos === undefined ? request : { ...request, bos });
  }
}
