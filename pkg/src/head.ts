// What the scores of a head mean: probabilities of labels, and how relevant documents are.

import { invalidArgument } from "./errors.js";
import type { Link } from "./link.js";
import type { WireLong } from "./protocol.js";
import { means } from "./vectors.js";

/** A label, and how probable it is. */
export interface LabelScore {
  readonly label: string;
  readonly score: number;
}

/** A document, by its place among those given, and how relevant it is. */
export interface DocumentScore {
  readonly index: number;
  readonly score: number;
}

/** How many inputs of a request are done. */
export interface InputProgress {
  readonly done: number;
  readonly total: number;
}

/**
 * The labels of a head by probability: of one among `wanted` (all, if none are named), or, with `multiLabel`, of each by
 * itself.
 */
export function labelScores(
  labels: readonly string[],
  logits: Float32Array,
  wanted: readonly string[] = labels,
  multiLabel = false,
): LabelScore[] {
  const chosen = wanted.map((label) => logits[indexOf(labels, label)]!);
  // A head of one label says yes or no.
  const scores = multiLabel || labels.length === 1 ? chosen.map(sigmoid) : softmax(chosen);
  return wanted.map((label, i) => ({ label, score: scores[i]! })).sort((a, b) => b.score - a.score);
}

/** The labels of each text, by the head of a model that scores `labels`. */
export async function classifyByHead(
  link: Link,
  labels: readonly string[],
  texts: string[],
  { wanted, multiLabel, long, signal, step }: {
    wanted?: readonly string[] | undefined;
    multiLabel?: boolean | undefined;
    long: WireLong;
    signal?: AbortSignal | undefined;
    step?: ((done: number, total: number) => void) | undefined;
  },
): Promise<LabelScore[][]> {
  // A label that the model does not have is known at once.
  wanted?.forEach((label) => indexOf(labels, label));
  const logits = await link.ask<"head">({ kind: "head", inputs: texts, long }, signal, step);
  return means(logits).map((scores) => labelScores(labels, scores, wanted, multiLabel));
}

function indexOf(labels: readonly string[], label: string): number {
  const index = labels.indexOf(label);
  if (index < 0) throw invalidArgument(`the model has no label ${JSON.stringify(label)}; it has: ${labels.join(", ")}`, "labels");
  return index;
}

/** Documents by score, the best first; of equal ones the earlier. */
export function ranked(scores: readonly number[]): DocumentScore[] {
  return scores.map((score, index) => ({ index, score })).sort((a, b) => b.score - a.score);
}

export function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}

function softmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - most));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}
