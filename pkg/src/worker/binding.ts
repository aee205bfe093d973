// The engine's surface, as wasm-bindgen generates it. The build checks the generated types against these.

import type { WireLikelihood, WireGone, WireToolCall } from "../protocol.js";

export interface Sha256 {
  update(bytes: Uint8Array): void;
  hex(): string;
  free(): void;
}

/** An open WebGPU device. */
export interface Gpu {
  /** What its kernels use of what not every adapter has. */
  features(): string[];
  free(): void;
  [Symbol.dispose](): void;
}

/** Takes the bytes of a model's files, in order. */
export interface Loader {
  /** Room for the next bytes, in the engine's memory; gone with the next call of the engine. */
  room(bytes: number): Uint8Array;
  /** Takes so many bytes out of the room. */
  push(bytes: number): void;
  nextFile(): void;
  /** The size of the current file, once its header is read. */
  expectedBytes(): number | undefined;
  /** Finds the fastest shapes of a GPU's kernels, once all bytes are there; answers what to keep if they were not known. */
  tune(): Promise<string | undefined>;
  /** Ends the last file, and consumes the loader. */
  finish(): Engine;
  free(): void;
}

/** Does one run (generate, score, embed, head) at a time, in slices. */
export interface Engine {
  info(): string;
  memory(): string;
  /** One scale for each adapter. */
  setAdapters(scales: Float32Array): void;
  tokenize(text: string, bos: boolean | null | undefined, special: boolean): Uint32Array;
  detokenize(tokens: Uint32Array): string;
  /** Begins an answer, or goes on with one whose first tokens are `answered`. */
  generate(prompt: Uint32Array, answered: Uint32Array, options: string): string;
  /** The same for an answer to a conversation. */
  chat(conversation: string, answered: Uint32Array, options: string): string;
  /** The form of the tool calls in that answer, if they have one; one that is `led` has a form of its own beside it. */
  callForm(conversation: string, led: boolean): string | undefined;
  /** The same in a session, which begins with its first answer; of the conversation, `gone` is left out. */
  send(session: number, conversation: string, answered: Uint32Array, options: string, overflow: string, gone: string): string;
  /** How sessions are stored now. */
  layout(): string;
  cloneSession(session: number, clone: number): void;
  closeSession(session: number): void;
  /** Begins to save a session; when that is finished, its bytes can be taken. */
  saveSession(session: number): void;
  takeSaved(): Uint8Array;
  restoreSession(session: number, bytes: Uint8Array): void;
  /** How many tokens that would be. */
  countPrompt(conversation: string): number;
  /** Goes on by tokens that the form of the answer prescribes: a slice. */
  force(tokens: Uint32Array): string;
  /** Says what the next token may be, a bit for each. */
  allow(tokens: Uint32Array): void;
  /** Ends the answer, whose form is complete. */
  complete(): void;
  /** The bytes of all tokens, one after the other, and how many each has. */
  tokenBytes(): Uint8Array;
  tokenLengths(): Uint32Array;
  /** The tokens that end an answer. */
  endTokens(): Uint32Array;
  /** The tokens of a text that stands within another. */
  tokenizeWithin(text: string): Uint32Array;
  score(tokens: Uint32Array): void;
  tokenizePair(query: string, document: string): Uint32Array;
  /** Of several texts, `lengths` says how many of the tokens each has. */
  embed(tokens: Uint32Array, lengths: Uint32Array, options: string): void;
  head(tokens: Uint32Array, lengths: Uint32Array): void;
  /** Begins telling the labels of texts, by a model that generates text. The caller has `first` more before these. */
  classify(task: string, texts: string[], first: number): void;
  advance(budgetMs: number): string;
  /** What there is to wait for before it makes sense to advance again: work of the GPU. */
  waiting(): Promise<unknown> | undefined;
  /** Makes ready what no run has taken so far: what to wait for before there may be more of it, or nothing. */
  makeReady(): Promise<unknown> | undefined;
  /** How many helpers have come. */
  helpers(): number;
  /** One thread is the caller's, the others are helpers. */
  setThreads(threads: number): void;
  /** Lets the helpers go that are not needed. */
  dismissOthers(): void;
  /** Milliseconds of one small step over so many sequences at once. */
  trial(sequences: number, steps: number): number;
  /** Equally long, one after the other. */
  takeVectors(): Float32Array;
  cancel(): void;
  free(): void;
}

export interface Binding {
  Sha256: new () => Sha256;
  /** Opens the fastest adapter, and sees whether it computes what it should. */
  Gpu: { open(known: string): Promise<Gpu> };
  /** For the CPU, or for a GPU, which it consumes. */
  Loader: new (options: string, gpu?: Gpu) => Loader;
  /** Makes the calling worker a helper; returns when it is dismissed. */
  help(): void;
  /** Says that `help` has trapped. */
  helperLost(): void;
  dismissHelpers(): void;
}

/** What is known of an answer that has begun. */
export interface Begun {
  promptTokens: number;
  cachedTokens: number;
  gone: WireGone;
}

/** What `advance` says. */
export type Slice =
  | { state: "prefill"; done: number; total: number }
  | {
      state: "decode";
      text: string;
      reasoning?: string;
      tokens: number[];
      likelihoods?: WireLikelihood[];
      toolCalls?: WireToolCall[];
      /** The next token has to have the form, and waits for `force` or `allow`. */
      awaitsPermit?: boolean;
      /** Those of the tokens that have it. */
      formed?: number[];
      /** The model may reason first: nothing is forced before it has begun with what it says. */
      mayReason?: boolean;
    }
  | {
      state: "finished";
      text?: string;
      reasoning?: string;
      tokens?: number[];
      likelihoods?: WireLikelihood[];
      finishReason?: "stop" | "length" | "tool-calls";
      toolCalls?: WireToolCall[];
      stop?: string;
      slid?: number;
      usage?: { promptTokens: number; cachedTokens: number; completionTokens: number };
      logprobs?: (number | null)[];
    };
