// The options of every call, and how each is checked: it takes effect or is refused.

import type { ChatDocument, Message, Tool } from "./chat.js";
import { biases, callback, type Check, checked, choice, count, flag, long, number, objects, oneOf, positive, signal, string, strings, text, unsigned, wrong } from "./checks.js";
import { invalidArgument } from "./errors.js";
import { type Format, formatJson } from "./format.js";
import type { WireGenerate } from "./protocol.js";
import type { InputProgress } from "./head.js";
import type { ModelFile } from "./source.js";

/** Where a load stands. */
export interface LoadProgress {
  /**
   * `compile`: the engine's WebAssembly. `download`: the model's bytes, from the network, the cache or a file, which are
   * repacked as they arrive. `prepare`: what is left to do once all bytes are there. `warmup`: a first step of the model.
   */
  readonly phase: "download" | "prepare" | "compile" | "warmup";
  /** How much is done: bytes for `download`, steps otherwise. Never falls within a phase. */
  readonly loaded: number;
  /** How much there is to do, as far as it is known; equal to `loaded` in the last event of a phase. */
  readonly total: number;
}

/** Changes of low rank (LoRA) to a model, in a file of their own. */
export interface AdapterSource {
  /** The adapter's GGUF file: what `load` takes for a model in one file. */
  source: ModelFile;
  /** How much it changes the model; `0` is not at all. Default 1. */
  scale?: number;
}

/** How to load a model. */
export interface LoadOptions {
  /**
   * What to compute on. `"auto"`, the default, takes the GPU where it is one (and no program), passes a test, has room for
   * the model and is not slow; else it takes `"wasm"`, and `model.info.notices` says why. A number of `threads` makes it
   * `"wasm"`. `"webgpu"` takes any adapter, and is refused where there is none or the model does not fit.
   */
  device?: "auto" | "wasm" | "webgpu";
  /**
   * How many threads compute on wasm. `"auto"`, the default, adds threads as long as they help on this machine at this
   * moment, one per core at most. A number is taken as it is; more than one need a cross-origin isolated page, and are refused
   * elsewhere.
   */
  threads?: "auto" | number;
  /** The most tokens that a prompt and its continuation may have together; by default what the model was trained for, within reason. */
  contextLength?: number;
  /**
   * How the attention's keys and values are stored: in 16 bits each (`"f16"`, the default) or in 8 (`"q8_0"`), which takes
   * little more than half the memory, and less time where the context is long, for slightly different probabilities.
   */
  kvType?: "f16" | "q8_0";
  /**
   * How exactly activations are multiplied with the weights. `"auto"`, the default, is what is fastest on the device: 8 bits
   * on wasm, as in llama.cpp, and floats on WebGPU, so that the two answer differently where tokens are about equally likely.
   * `"full"` gives the answers of floats on both, at the cost of time on wasm.
   */
  activations?: "auto" | "full";
  /** Adapters of the model, to be used together; `model.setAdapters` changes their scales. */
  adapters?: readonly AdapterSource[];
  /** Whether downloads are kept in the browser's private file system, and resumed and reused from there. Default `true`. */
  cache?: boolean;
  /**
   * Whether, on a GPU, shapes of kernels are tried out on the model's own weights when a format of weights is met for the
   * first time, and the fastest kept in the browser's private file system, under the adapter's name. It takes some tenths of
   * a second, once. It may turn to products in bytes for prompts, as the processor's are, where those are much faster: set it
   * `false` to have the same kernels always. Nothing is tried without `cache`. Default `true`.
   */
  autotune?: boolean;
  /** Called as the load goes on. */
  onProgress?: (progress: LoadProgress) => void;
  /** Ends the load, and releases everything it holds. */
  signal?: AbortSignal;
  /** Where `worker.js` and the `.wasm` files lie, if not beside this module. */
  assets?: { baseUrl?: string | URL };
}

/** What every generation takes. */
export interface GenerateOptions {
  /** The most tokens to generate; by default as many as the context has room for. */
  maxTokens?: number;
  /** Randomness: `0` always takes the likeliest token. Default 0.8. */
  temperature?: number;
  /** Sample among this many of the likeliest tokens only; `0` is no limit. Default 40. */
  topK?: number;
  /** Sample among the likeliest tokens that together have this probability. Default 0.95. */
  topP?: number;
  /** Sample among tokens at least this likely in relation to the likeliest. Default 0.05. */
  minP?: number;
  /** Makes tokens that have occurred, in the prompt too, less likely; `1`, the default, does not. */
  repeatPenalty?: number;
  /** Taken from a token's logit for each time it has been generated. Default 0. */
  frequencyPenalty?: number;
  /** Taken from a token's logit once it has been generated. Default 0. */
  presencePenalty?: number;
  /** Makes sampling repeatable; an integer below 2³². Random by default. */
  seed?: number;
  /** Texts that end the generation, and are not part of it. */
  stop?: string[];
  /** Added to the logits of tokens, by token id. */
  logitBias?: Record<number, number>;
  /** Go on where the model would end. */
  ignoreEos?: boolean;
  /** Tell how likely each token was, and which this many tokens were the likeliest: `result.logprobs`. At most 20. */
  logprobs?: number;
  /**
   * The form that the answer has to have. It comes after the reasoning, if the model reasons. An answer that `maxTokens`
   * or a `stop` text ends is not complete.
   */
  format?: Format;
  /** Stops the generation. */
  signal?: AbortSignal;
}

/** What an answer in a conversation takes. */
export interface ChatOptions extends GenerateOptions {
  /**
   * Functions that the model may ask for. Refused where its template has no place for them, or its way of writing calls is
   * not known. Calls have the form that the schemas prescribe.
   */
  tools?: readonly Tool[];
  /**
   * Whether it has to: `"auto"`, the default, leaves it to the model; with `"none"` it is not told of them; `"required"` and
   * a name have it call one, or that one.
   */
  toolChoice?: "auto" | "none" | "required" | { name: string };
  /** Texts to answer from. Refused where the model's template has no place for them. */
  documents?: readonly ChatDocument[];
  /**
   * Whether the model reasons before it answers; by default as its template says. Refused where the model cannot do
   * otherwise.
   */
  reasoning?: boolean;
  /** Go on with the last message, which is then the assistant's, instead of answering it. Default `false`. */
  continueAssistant?: boolean;
}

/** What an answer in a session takes. */
export type SendOptions = Omit<ChatOptions, "continueAssistant">;

/** A session: what is said before it begins, and the options of its answers. */
export interface SessionOptions extends Omit<SendOptions, "signal"> {
  /** What the system says first. */
  system?: string;
  /** What was said before. */
  messages?: readonly Message[];
  /**
   * What happens when the conversation, with room for an answer, outgrows the context. `"error"`, the default, refuses the
   * message with `context-overflow`; an answer ends with the context, with the finish reason `"length"`. `"drop-oldest"` leaves
   * out the oldest turns, each a message of the user with what was answered to it, but never the system's message or the last
   * turn; room for an answer is `maxTokens`, or a quarter of the context. `"slide"` leaves out the oldest tokens after the
   * system's message, in the middle of an answer too, which only `maxTokens` or the model then ends.
   *
   * Either leaves a quarter of the context free once it has to act, and what remains is computed anew: its place in the
   * context has changed. `result.dropped` says what the model no longer sees; `session.messages` has it all the same.
   */
  overflow?: "error" | "drop-oldest" | "slide";
}

/** How to embed. */
export interface EmbedOptions {
  /** How the tokens' vectors become one; by default what the model's file says. */
  pooling?: "mean" | "cls";
  /** Whether vectors have length 1. Default `true`. */
  normalize?: boolean;
  /** Keep only so many leading components (for models trained for it), scaled to length 1 again if `normalize`. */
  dimensions?: number;
  /**
   * What happens to a text longer than the context. `"error"`, the default, refuses all with `context-overflow`. `"chunk"` reads
   * it in parts that fit, cut where there is white space: its vector is the mean of theirs, weighted by their tokens, and has
   * length 1 again if `normalize`.
   */
  long?: "error" | "chunk";
  /** Called as texts are embedded. */
  onProgress?: (progress: InputProgress) => void;
  /** Ends the work. */
  signal?: AbortSignal;
}

/** A text whose label (with `multiLabel`, whose labels) is known. */
export interface ClassifyExample {
  text: string;
  label: string | readonly string[];
}

/** What every classification takes. */
export interface ClassifyRunOptions {
  /** Called as texts are classified. */
  onProgress?: (progress: InputProgress) => void;
  /** Ends the work. */
  signal?: AbortSignal;
}

/** How to classify. */
export interface ClassifyOptions extends ClassifyRunOptions {
  /** Whether a text may have several labels, each with a probability of its own. Default `false`. */
  multiLabel?: boolean;
  /**
   * What happens to a text longer than the context (with the examples, where a prompt has them). `"error"`, the default, refuses
   * all with `context-overflow`. `"chunk"` reads it in parts that fit, cut where there is white space: a label's logit is the
   * mean of theirs, weighted by their tokens.
   */
  long?: "error" | "chunk";
  /** What a model that generates text is asked; by default, which label fits. */
  instruction?: string;
  /** Texts whose labels are known, for such a model to go by. */
  examples?: readonly ClassifyExample[];
  /**
   * Whether such a model's liking for a label whatever it is asked is taken off: what it says of a text that says nothing.
   * Default `true`.
   */
  calibrate?: boolean;
}

/** How to extract. */
export interface ExtractOptions {
  /** What the model is asked, before the text; by default to extract the data as JSON. */
  instruction?: string;
  /** The most tokens of the value. Default 1024. */
  maxTokens?: number;
  /** Ends the work. */
  signal?: AbortSignal;
}

/** How to rank documents. */
export interface RerankOptions {
  /**
   * What happens to a document that is longer than the context (with the query, where a reranker reads both). `"error"`, the
   * default, refuses all with `context-overflow`. `"chunk"` reads it in parts that fit, cut where there is white space, and
   * takes the score of the best.
   */
  long?: "error" | "chunk";
  /** Called as documents are scored. */
  onProgress?: (progress: InputProgress) => void;
  /** Ends the work. */
  signal?: AbortSignal;
}

/** How to split text into tokens. */
export interface TokenizeOptions {
  /** Whether the model's begin (and, where it has one, end) token is put around the text; by default the model's rule. */
  bos?: boolean;
  /** Whether control tokens written out in the text become those tokens. Default `false`: they stay text. */
  special?: boolean;
}

/** More threads than any machine has use for. */
const MAX_THREADS = 64;

export function loadOptions(options?: LoadOptions): LoadOptions {
  const set = checked(
    options,
    {
      device: oneOf("auto", "wasm", "webgpu"),
      threads: (value, option) => {
        if (value === "auto") return;
        positive(value, option);
        if ((value as number) > MAX_THREADS) throw wrong(option, `at most ${MAX_THREADS}`, value);
      },
      contextLength: positive,
      kvType: oneOf("f16", "q8_0"),
      activations: oneOf("auto", "full"),
      adapters: (value, option) => {
        objects(value, option);
        (value as AdapterSource[]).forEach((adapter, i) => {
          const name = `${option}[${i}]`;
          checked(adapter, { source: () => {}, scale: (scale) => number(scale, `${name}.scale`) }, name);
        });
      },
      cache: flag,
      autotune: flag,
      onProgress: callback,
      signal,
      assets: (value, option) => {
        if (typeof value !== "object" || value === null) throw wrong(option, "an object", value);
        checked(
          value,
          {
            baseUrl: (url, name) => {
              if (typeof url !== "string" && !(url instanceof URL)) throw wrong(`assets.${name}`, "an address", url);
            },
          },
          "assets",
        );
      },
    },
    "load",
  );
  if (set.device === "webgpu" && typeof set.threads === "number" && set.threads > 1) {
    throw invalidArgument(`${set.threads} threads and device "webgpu" do not go together: the GPU computes`, "threads");
  }
  return set;
}

const generation: Record<string, Check> = {
  maxTokens: count,
  temperature: number,
  topK: count,
  topP: number,
  minP: number,
  repeatPenalty: number,
  frequencyPenalty: number,
  presencePenalty: number,
  seed: unsigned,
  stop: strings,
  logitBias: biases,
  ignoreEos: flag,
  logprobs: count,
  format: (value, option) => void formatJson(value, option),
  signal,
};

const sending: Record<string, Check> = { ...generation, tools: objects, toolChoice: choice, documents: objects, reasoning: flag };

export function generateOptions(options?: GenerateOptions): GenerateOptions {
  return checked(options, generation, "generate");
}

export function chatOptions(options?: ChatOptions): ChatOptions {
  return formed(checked(options, { ...sending, continueAssistant: flag }, "chat"));
}

/** Refuses a form of an answer that is to be a call. */
export function formed<T extends SendOptions>(set: T): T {
  const must = set.toolChoice === "required" || typeof set.toolChoice === "object";
  if (set.format !== undefined && (set.tools ?? []).length > 0 && must) {
    throw invalidArgument('format is of no use where toolChoice has the model call a tool: leave one out, or set it to "auto"', "format");
  }
  return set;
}

export function sendOptions(options?: SendOptions): SendOptions {
  return checked(options, sending, "send");
}

export function sessionOptions(options?: SessionOptions): SessionOptions {
  const { signal: _, ...others } = sending;
  const own: Record<string, Check> = { system: text, messages: objects, overflow: oneOf("error", "drop-oldest", "slide") };
  return checked(options, { ...others, ...own }, "session");
}

export function embedOptions(options?: EmbedOptions): EmbedOptions {
  return checked(
    options,
    { pooling: oneOf("mean", "cls"), normalize: flag, dimensions: positive, long, onProgress: callback, signal },
    "embed",
  );
}

export function classifyOptions(options?: ClassifyOptions): ClassifyOptions {
  const own = { multiLabel: flag, long, instruction: string, examples: objects, calibrate: flag };
  return checked(options, { ...own, onProgress: callback, signal }, "classify");
}

export function classifyRunOptions(options?: ClassifyRunOptions): ClassifyRunOptions {
  return checked(options, { onProgress: callback, signal }, "classify");
}

export function extractOptions(options?: ExtractOptions): ExtractOptions {
  return checked(options, { instruction: string, maxTokens: positive, signal }, "extract");
}

/** The page's progress, from the worker's. */
export function steps(onProgress: ClassifyRunOptions["onProgress"]): ((done: number, total: number) => void) | undefined {
  return onProgress && ((done, total) => onProgress({ done, total }));
}

export function rerankOptions(options?: RerankOptions): RerankOptions {
  return checked(options, { long, onProgress: callback, signal }, "rerank");
}

export function tokenizeOptions(options?: TokenizeOptions): TokenizeOptions {
  return checked(options, { bos: flag, special: flag }, "tokenize");
}

export function scoreOptions(options?: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return checked(options, { signal }, "score");
}

/** Options as the worker takes them. */
export function wired({ format, ...options }: GenerateOptions): WireGenerate {
  return { ...options, ...(format !== undefined && { format: formatJson(format) }) };
}
