// What page and worker say to each other.

import type { WireError } from "./errors.js";

/** A part of a model file, as the worker gets it. */
export type WireSource =
  | { kind: "remote"; url: string; sha256?: string; headers?: Record<string, string> }
  | { kind: "blob"; blob: Blob }
  | { kind: "stream"; stream: ReadableStream<Uint8Array> }
  /** A stream that stays on the page, for browsers that cannot transfer one: the worker pulls chunks by message. */
  | { kind: "pump"; pump: number };

/** A build of the engine. */
export interface WireModule {
  url: string;
  features: string[];
  /** Whether threads can share its memory. */
  shared: boolean;
}

/** How many threads: exactly so many, or at most. */
export interface WireThreads {
  count: number;
  exact: boolean;
}

export interface WireLoad {
  /** The builds that this browser can run, the best first. */
  modules: WireModule[];
  /** Where the module lies that follows answers of a given form. */
  constraint: string;
  device: "auto" | "wasm" | "webgpu";
  /** Of the CPU, where that computes. */
  threads: WireThreads;
  /** The model's files, then those of its adapters, one for each scale in `model.adapters`. */
  sources: WireSource[];
  cache: boolean;
  /** Whether shapes of a GPU's kernels are tried out, and what was found is kept. */
  autotune: boolean;
  /** What `Loader` takes beside the number of files. */
  model: { contextLength?: number; kvType?: string; activations?: string; adapters?: number[] };
}

/** The generation options of the API, less what the page keeps for itself; `format` as JSON. */
export type WireGenerate = Record<string, unknown> & { format?: string };

/** Text, or tokens taken as given. */
export type WireText = string | Uint32Array;

export interface WireEmbed {
  pooling?: string;
  normalize: boolean;
  dimensions?: number;
}

/** What happens to an input that is longer than the context: it is refused, or cut into chunks. */
export type WireLong = "error" | "chunk";

/** A text, or a query and a document. */
export type WireInput = string | [string, string];

export type WireRequest =
  | { kind: "generate"; prompt: WireText; options: WireGenerate }
  /** A conversation is JSON that the engine reads. */
  | { kind: "chat"; conversation: string; options: WireGenerate }
  | WireSend
  | ({ kind: "openSession"; session: number } & WireSession)
  | { kind: "cloneSession"; session: number; clone: number }
  | { kind: "saveSession"; session: number; defaults: unknown }
  | { kind: "restoreSession"; session: number; blob: Blob }
  | { kind: "closeSession"; session: number }
  | { kind: "countPrompt"; conversation: string }
  | { kind: "score"; text: WireText }
  | { kind: "embed"; texts: string[]; options: WireEmbed; long: WireLong }
  /** The head of a classifier or a reranker; an input is a text, or a pair of texts. */
  | { kind: "head"; inputs: WireInput[]; long: WireLong }
  /** Labels by a model that generates text; the task is JSON that the engine reads. Answered as `head` is. */
  | { kind: "classify"; task: string; texts: string[]; long: WireLong }
  /** The scales of the adapters. */
  | { kind: "adapters"; scales: number[] }
  | { kind: "tokenize"; text: string; bos?: boolean; special: boolean }
  | { kind: "detokenize"; tokens: Uint32Array };

/** Messages as JSON has them, and what happens when they outgrow the context. */
export interface WireSession {
  messages: unknown[];
  overflow: string;
}

/** What of a conversation is left out, behind its system message. */
export interface WireGone {
  messages: number;
  tokens: number;
}

/** A message to a session, as a conversation that has only that. */
export interface WireSend {
  kind: "send";
  session: number;
  conversation: string;
  options: WireGenerate;
}

/** What a saved session has for the page. */
export interface WireSaved {
  messages: unknown[];
  defaults: unknown;
}

export type ToWorker =
  | { type: "load"; load: WireLoad }
  /** Give up loading: close files, cancel downloads, and say so. */
  | { type: "abandon" }
  /** Let the helpers go: no answer is wanted any more but that it is done. */
  | { type: "end" }
  | { type: "chunk"; pump: number; bytes: Uint8Array }
  | { type: "drained"; pump: number; error?: string }
  | { type: "request"; id: number; request: WireRequest }
  | { type: "cancel"; id: number };

export interface WireMemory {
  weights: number;
  kv: number;
  peak: number;
}

/** What the engine says of itself. */
export interface WireInfo {
  architecture: string;
  name: string;
  parameters: number;
  quantization: string;
  contextLength: number;
  trainedContextLength: number;
  vocabSize: number;
  embeddingLength: number;
  generates: boolean;
  /** Whether it has a chat template. */
  chats: boolean;
  /** Whether it can be told not to reason. */
  thinks: boolean;
  /** What a head scores, of a model that has one. */
  labels: string[] | null;
  adapters: { name: string; scale: number }[];
  device: "wasm" | "webgpu";
  /** Why the GPU was not taken that the engine was given, where it has turned to the CPU. */
  refusal: string | null;
  /** By which the model is known that saved sessions belong to. */
  identity: string;
  /** What the weights take, and the keys and values of a full context. */
  memory: { weights: number; kv: number };
}

export interface WireTimings {
  promptMs: number;
  firstTokenMs: number;
  decodeMs: number;
  promptTokensPerSecond: number;
  tokensPerSecond: number;
}

/** More of a generation. */
export interface WireDelta {
  text: string;
  reasoning: string;
  tokens: number[];
  /** Of each of the tokens, if that is wanted. */
  likelihoods?: WireLikelihood[];
  /** Calls of tools that are complete now, each with a name of its own. */
  toolCalls?: Required<WireToolCall>[];
}

/** How likely a token was. */
export interface WireLikelihood {
  token: number;
  text: string;
  logprob: number;
  top: { token: number; text: string; logprob: number }[];
}

export interface WireToolCall {
  id?: string;
  name: string;
  arguments: Record<string, unknown>;
}

/** The end of a generation; its text, tokens and calls have been sent as deltas. */
export interface WireGenerated {
  finishReason: "stop" | "length" | "tool-calls" | "abort";
  stop?: string;
  usage: { promptTokens: number; cachedTokens: number; completionTokens: number };
  timings: WireTimings;
  /** Tokens that have slid out of the context meanwhile. */
  slid?: number;
  /** Of a session: the messages that have become part of it, and what of it the model no longer sees. */
  said?: unknown[];
  dropped?: WireGone;
}

export interface WireScore {
  tokens: Uint32Array;
  logprobs: (number | null)[];
}

/** The vectors of all chunks of all inputs, in order, and for each input how many tokens each of its chunks has. */
export interface WireVectors {
  vectors: Float32Array[];
  tokens: number[][];
}

/** What each kind of request is answered with. */
export interface Answers {
  generate: WireGenerated;
  chat: WireGenerated;
  send: WireGenerated;
  openSession: null;
  cloneSession: WireSession;
  saveSession: Blob;
  restoreSession: WireSaved;
  closeSession: null;
  countPrompt: number;
  score: WireScore;
  embed: WireVectors;
  adapters: null;
  /** The logits of the labels. */
  head: WireVectors;
  classify: WireVectors;
  tokenize: Uint32Array;
  detokenize: string;
}

/** Where a model runs. */
export interface WirePlace {
  device: "wasm" | "webgpu";
  memory: WireMemory;
  /** Of WebAssembly, or of the GPU where that computes. */
  features: string[];
  threads: number;
  /** The GPU's name, where that computes. */
  adapter?: string;
  /** All until now. */
  notices: string[];
}

/** A model is ready. */
export interface WireLoaded {
  type: "loaded";
  info: WireInfo;
  place: WirePlace;
}

export type FromWorker =
  | { type: "progress"; phase: "download" | "prepare" | "compile" | "warmup"; loaded: number; total: number }
  | WireLoaded
  | { type: "failed"; error: WireError }
  /** Answers `abandon`: nothing is held any more. */
  | { type: "released" }
  /** Answers `end`. */
  | { type: "ended" }
  | { type: "pull"; pump: number }
  | { type: "discard"; pump: number }
  | { type: "delta"; id: number; delta: WireDelta }
  /** So many of a request's inputs are done. */
  | { type: "step"; id: number; done: number; total: number }
  /** The GPU was lost: the model runs elsewhere, or on the same GPU, opened anew. */
  | { type: "moved"; place: WirePlace }
  | { type: "done"; id: number; answer: Answers[keyof Answers]; memory: WireMemory }
  | { type: "error"; id: number; error: WireError }
  /** The engine is beyond use: this request and every later one fails. */
  | { type: "dead"; error: WireError };
