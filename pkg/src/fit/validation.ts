// How strong the penalty should be, and how good that is: k-fold cross-validation.

import { fit, type Sample, score, softmax, type Weights } from "./logistic.js";
import type { Pace } from "../worker/pace.js";

/** What cross-validation found for one penalty. */
export interface Validation {
  readonly penalty: number;
  /** Share of the rows whose class was right, each judged by weights that have not seen it. */
  readonly accuracy: number;
  /** Mean −log p of the rows' classes, in the same way. */
  readonly logLoss: number;
}

/** Enough for comparing penalties. */
const TOLERANCE = 2e-3;
/** Losses so near to one another are the same. */
const NEAR = 1.02;

/** Deals the rows of each class to `count` folds in turn, after a shuffle that is always the same. */
export function folds(classes: Int32Array, count: number): Int32Array {
  const order = Int32Array.from(classes, (_, i) => i);
  const random = generator(0x5eed);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const dealt = new Map<number, number>();
  const fold = new Int32Array(classes.length);
  for (const row of order) {
    const label = classes[row]!;
    const turn = dealt.get(label) ?? 0;
    // Each class begins with another fold, or the first would get most.
    fold[row] = (turn + label) % count;
    dealt.set(label, turn + 1);
  }
  return fold;
}

/**
 * Cross-validates `penalties`, which fall, with the folds numbered from 0: until they have become too weak. `onFit` is told
 * after each of the fits.
 */
export async function validate(
  sample: Sample,
  classCount: number,
  penalties: readonly number[],
  { fold, count }: { fold: Int32Array; count: number },
  pace: Pace,
  onFit: () => void,
): Promise<Validation[]> {
  const numbers = Int32Array.from(sample.classes, (_, i) => i);
  const parts = Array.from({ length: count }, (_, out) => ({
    seen: numbers.filter((row) => fold[row] !== out),
    unseen: numbers.filter((row) => fold[row] === out),
    weights: undefined as Weights | undefined,
  }));
  const found: Validation[] = [];
  let least = Infinity;
  for (const penalty of penalties) {
    const sum = { right: 0, loss: 0 };
    for (const part of parts) {
      const { seen, unseen, weights: from } = part;
      part.weights = await fit(sample, seen, { classCount, penalty, tolerance: TOLERANCE, ...(from && { from }) }, pace);
      judge(sample, unseen, part.weights, classCount, sum);
      onFit();
    }
    const logLoss = sum.loss / numbers.length;
    found.push({ penalty, accuracy: sum.right / numbers.length, logLoss });
    // Weaker penalties would only lose more.
    if (logLoss > NEAR * least) break;
    least = Math.min(least, logLoss);
  }
  return found;
}

/** The strongest penalty with next to the least loss. */
export function best(validations: readonly Validation[]): Validation {
  const least = Math.min(...validations.map(({ logLoss }) => logLoss));
  return validations.find(({ logLoss }) => logLoss <= NEAR * least)!;
}

/** Adds up what weights say of rows: how many are right, and the loss. */
function judge({ width, rows, classes }: Sample, chosen: Int32Array, weights: Weights, classCount: number, sum: { right: number; loss: number }): void {
  const scores = new Float64Array(classCount);
  for (const row of chosen) {
    score(weights, rows, row * width, width, scores);
    const label = classes[row]!;
    const own = scores[label]!;
    if (scores.every((other, c) => other < own || c === label)) sum.right++;
    sum.loss += softmax(scores) - own;
  }
}

/** Mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
