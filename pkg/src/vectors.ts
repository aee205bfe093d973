// What is made of the vectors and logits of texts, and of their chunks.

import type { WireVectors } from "./protocol.js";

/** The vector with length 1; zeros stay what they are. */
export function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length > 0 ? vector.map((component) => component / length) : vector;
}

/** The cosine of the angle between two vectors of length 1. */
export function dot(one: Float32Array, other: Float32Array): number {
  return one.reduce((sum, value, i) => sum + value * other[i]!, 0);
}

/** Of each input, the vectors of its chunks. */
export function byInput({ vectors, tokens }: WireVectors): Float32Array[][] {
  let at = 0;
  return tokens.map(({ length }) => vectors.slice(at, (at += length)));
}

/** Of each input, the mean of its chunks' vectors, weighted by their tokens. `finish` is applied to what was more than one. */
export function means(all: WireVectors, finish = (vector: Float32Array): Float32Array => vector): Float32Array[] {
  return byInput(all).map((chunks, input) => {
    if (chunks.length === 1) return chunks[0]!;
    const weights = all.tokens[input]!;
    const sum = weights.reduce((sum, weight) => sum + weight, 0);
    return finish(chunks[0]!.map((_, i) => chunks.reduce((mean, chunk, c) => mean + (chunk[i]! * weights[c]!) / sum, 0)));
  });
}
