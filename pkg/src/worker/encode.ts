// Texts through a model, many at a time: their vectors, or the logits of their labels.

import { invalidArgument, WispError } from "../errors.js";
import type { WireEmbed, WireInfo, WireInput, WireLong, WireVectors } from "../protocol.js";
import { unit } from "../vectors.js";
import type { Engine } from "./binding.js";
import { chunks } from "./chunks.js";
import { call } from "./fault.js";
import { Pace } from "./pace.js";
import { complete } from "./run.js";

/** Inputs that the engine gets at a time: enough for several of its steps, few enough to tell how it goes on. */
const INPUTS = 64;

export type Told = (done: number, total: number) => void;

/** The vectors of texts. */
export async function embed(
  engine: Engine,
  info: WireInfo,
  texts: string[],
  options: WireEmbed,
  long: WireLong,
  signal: AbortSignal,
  told?: Told,
): Promise<WireVectors> {
  const { dimensions, ...others } = options;
  if (dimensions !== undefined && dimensions > info.embeddingLength) {
    throw invalidArgument(`dimensions is ${dimensions}, and the model's vectors have ${info.embeddingLength}`, "dimensions");
  }
  const begin = (tokens: Uint32Array, lengths: Uint32Array): void =>
    call(() => engine.embed(tokens, lengths, JSON.stringify(others)));
  const { vectors, tokens } = await encode(engine, info, texts, long, begin, signal, told);
  if (dimensions === undefined) return { vectors, tokens };
  return { vectors: vectors.map((vector) => leading(vector, dimensions, options.normalize)), tokens };
}

/** The logits that a head gives its labels. */
export function head(
  engine: Engine,
  info: WireInfo,
  inputs: WireInput[],
  long: WireLong,
  signal: AbortSignal,
  told?: Told,
): Promise<WireVectors> {
  return encode(engine, info, inputs, long, (tokens, lengths) => call(() => engine.head(tokens, lengths)), signal, told);
}

/** The logits of labels, by a model that generates text. */
export async function classify(
  engine: Engine,
  task: string,
  texts: string[],
  long: WireLong,
  signal: AbortSignal,
  told?: Told,
): Promise<WireVectors> {
  const begin = (part: string[], first: number): void => call(() => engine.classify(task, part, first));
  const parts = await promptable(engine, texts, begin, long, new Pace(signal));
  return inParts(engine, parts, begin, signal, told);
}

/** What the engine gets of an input: all of it, or its chunks, with their tokens. */
type Part<T> = { item: T; tokens: number };

async function encode(
  engine: Engine,
  info: WireInfo,
  inputs: WireInput[],
  long: WireLong,
  begin: (tokens: Uint32Array, lengths: Uint32Array) => void,
  signal: AbortSignal,
  told?: Told,
): Promise<WireVectors> {
  const pace = new Pace(signal);
  const parts: Part<Uint32Array>[][] = [];
  for (const [index, input] of inputs.entries()) {
    if (pace.isDue) await pace.rest();
    const tokens = tokensOf(engine, input);
    const whole = tokens.length <= info.contextLength ? [tokens] : await cut(engine, info, input, long, pace);
    if (whole === undefined) throw tooLong(input, index, inputs.length, tokens.length, info.contextLength, long);
    parts.push(whole.map((item) => ({ item, tokens: item.length })));
  }
  const beginPart = (items: Uint32Array[]): void => begin(joined(items), Uint32Array.from(items, ({ length }) => length));
  return inParts(engine, parts, beginPart, signal, told);
}

/** The tokens of an input's chunks, if it may be cut, and can be. */
function cut(engine: Engine, info: WireInfo, input: WireInput, long: WireLong, pace: Pace): Promise<Uint32Array[] | undefined> {
  if (long !== "chunk") return Promise.resolve(undefined);
  const [query, text] = typeof input === "string" ? [undefined, input] : input;
  const fit = (chunk: string): Uint32Array | undefined => {
    const tokens = tokensOf(engine, query === undefined ? chunk : [query, chunk]);
    return tokens.length <= info.contextLength ? tokens : undefined;
  };
  return chunks(text, fit, pace);
}

/**
 * The parts of texts that stand in prompts. How long those are the engine knows, which says so when it begins. That is done
 * for all texts before any is computed.
 */
async function promptable(
  engine: Engine,
  texts: string[],
  begin: (part: string[], first: number) => void,
  long: WireLong,
  pace: Pace,
): Promise<Part<string>[][]> {
  const overflow = (part: string[], first: number): WispError | undefined => {
    try {
      begin(part, first);
      call(() => engine.cancel());
      return undefined;
    } catch (error) {
      if (error instanceof WispError && error.code === "context-overflow") return error;
      throw error;
    }
  };
  const parts: Part<string>[][] = [];
  for (let first = 0; first < texts.length; first += INPUTS) {
    if (pace.isDue) await pace.rest();
    const some = texts.slice(first, first + INPUTS);
    // What is all that there is begins by itself.
    const error = texts.length <= INPUTS && long === "error" ? undefined : overflow(some, first);
    if (error !== undefined && long === "error") throw error;
    for (const [k, text] of some.entries()) {
      const fit = (chunk: string): string | undefined => (overflow([chunk], first + k) === undefined ? chunk : undefined);
      const items = error === undefined ? [text] : await chunks(text, fit, pace);
      // The task itself leaves no room.
      if (items === undefined) throw error;
      parts.push(items.map((item) => ({ item, tokens: items.length === 1 ? 1 : tokensOf(engine, item).length })));
    }
  }
  return parts;
}

async function inParts<T>(
  engine: Engine,
  parts: Part<T>[][],
  begin: (items: T[], first: number) => void,
  signal: AbortSignal,
  told: Told = () => {},
): Promise<WireVectors> {
  const vectors: Float32Array[] = [];
  const all = parts.flat();
  let [inputs, chunks] = [0, 0];
  // An input is done when all of its chunks are.
  const tell = (done: number): void => {
    for (let next = parts[inputs]; next !== undefined && chunks + next.length <= done; next = parts[inputs]) {
      chunks += next.length;
      inputs++;
    }
    told(inputs, parts.length);
  };
  for (let first = 0; first < all.length; first += INPUTS) {
    const items = all.slice(first, first + INPUTS).map(({ item }) => item);
    begin(items, first);
    await complete(engine, signal, (slice) => {
      if (slice.state === "prefill" && slice.done > 0) tell(first + slice.done);
    });
    const found = call(() => engine.takeVectors());
    const width = found.length / items.length;
    for (let k = 0; k < items.length; k++) vectors.push(found.slice(k * width, (k + 1) * width));
    tell(vectors.length);
  }
  return { vectors, tokens: parts.map((chunks) => chunks.map(({ tokens }) => tokens)) };
}

function tokensOf(engine: Engine, input: WireInput): Uint32Array {
  return call(() => (typeof input === "string" ? engine.tokenize(input, undefined, false) : engine.tokenizePair(...input)));
}

function tooLong(input: WireInput, index: number, count: number, tokens: number, context: number, long: WireLong): WispError {
  const [what, has] = typeof input === "string" ? ["text", "has"] : ["document", "has with the query"];
  const which = count === 1 ? `the ${what}` : `${what} ${index}`;
  const advice = long === "chunk" ? "no chunk of it fits" : 'split it, or set long to "chunk"';
  return new WispError("context-overflow", `${which} ${has} ${tokens} tokens, the context ${context}: ${advice}`);
}

function joined(parts: Uint32Array[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function leading(vector: Float32Array, dimensions: number, normalize: boolean): Float32Array {
  const part = vector.slice(0, dimensions);
  return normalize ? unit(part) : part;
}
