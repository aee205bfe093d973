// Texts through an encoder, many at a time: their vectors, or what a head says of them.

import { invalidArgument, WispError } from "../errors.js";
import type { WireEmbed, WireInfo, WireInput } from "../protocol.js";
import type { Engine } from "./binding.js";
import { call } from "./fault.js";
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
  signal: AbortSignal,
  told?: Told,
): Promise<Float32Array[]> {
  const { dimensions, ...others } = options;
  if (dimensions !== undefined && dimensions > info.embeddingLength) {
    throw invalidArgument(`dimensions is ${dimensions}, and the model's vectors have ${info.embeddingLength}`, "dimensions");
  }
  const begin = (tokens: Uint32Array, lengths: Uint32Array): void =>
    call(() => engine.embed(tokens, lengths, JSON.stringify(others)));
  const vectors = await encode(engine, info, texts, begin, signal, told);
  return dimensions === undefined ? vectors : vectors.map((vector) => leading(vector, dimensions, options.normalize));
}

/** The logits that a head gives its labels. */
export function head(
  engine: Engine,
  info: WireInfo,
  inputs: WireInput[],
  signal: AbortSignal,
  told?: Told,
): Promise<Float32Array[]> {
  return encode(engine, info, inputs, (tokens, lengths) => call(() => engine.head(tokens, lengths)), signal, told);
}

/** The logits of labels, by a model that generates text. */
export function classify(engine: Engine, task: string, texts: string[], signal: AbortSignal, told?: Told): Promise<Float32Array[]> {
  return inParts(engine, texts, (part, first) => call(() => engine.classify(task, part, first)), signal, told);
}

function encode(
  engine: Engine,
  info: WireInfo,
  inputs: WireInput[],
  begin: (tokens: Uint32Array, lengths: Uint32Array) => void,
  signal: AbortSignal,
  told?: Told,
): Promise<Float32Array[]> {
  const beginPart = (part: WireInput[], first: number): void => {
    const tokens = part.map((input, k) => tokensOf(engine, info, input, first + k, inputs.length));
    begin(joined(tokens), Uint32Array.from(tokens, ({ length }) => length));
  };
  return inParts(engine, inputs, beginPart, signal, told);
}

async function inParts<T>(
  engine: Engine,
  inputs: T[],
  begin: (part: T[], first: number) => void,
  signal: AbortSignal,
  told: Told = () => {},
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  for (let first = 0; first < inputs.length; first += INPUTS) {
    const part = inputs.slice(first, first + INPUTS);
    begin(part, first);
    await complete(engine, signal, (slice) => {
      if (slice.state === "prefill" && slice.done > 0) told(first + slice.done, inputs.length);
    });
    const all = call(() => engine.takeVectors());
    const width = all.length / part.length;
    for (let k = 0; k < part.length; k++) vectors.push(all.slice(k * width, (k + 1) * width));
    told(vectors.length, inputs.length);
  }
  return vectors;
}

function tokensOf(engine: Engine, info: WireInfo, input: WireInput, index: number, count: number): Uint32Array {
  const tokens = call(() =>
    typeof input === "string" ? engine.tokenize(input, undefined, false) : engine.tokenizePair(...input),
  );
  if (tokens.length > info.contextLength) {
    const what = typeof input === "string" ? "text" : "document";
    const which = count === 1 ? `the ${what}` : `${what} ${index}`;
    const has = typeof input === "string" ? "has" : "has with the query";
    throw new WispError("context-overflow", `${which} ${has} ${tokens.length} tokens, the context ${info.contextLength}: split it`);
  }
  return tokens;
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
  const length = Math.hypot(...part);
  return normalize && length > 0 ? part.map((component) => component / length) : part;
}
