// Multinomial logistic regression: scores W·x + b, of which the softmax is the probabilities. The fit minimizes
//   Σᵢ −log p(yᵢ | xᵢ) + (penalty / 2) · ‖W‖²
// (the biases are free), which is scikit-learn's `LogisticRegression(C = 1 / penalty)`.

import { minimize } from "./lbfgs.js";
import type { Pace } from "../worker/pace.js";

/** Vectors, one row after the other, and the class of each. */
export interface Sample {
  readonly width: number;
  /** `width` numbers a row. */
  readonly rows: Float64Array;
  readonly classes: Int32Array;
}

/** For each class `width` weights, then the bias. */
export type Weights = Float64Array;

export interface FitSettings {
  readonly classCount: number;
  readonly penalty: number;
  /** What no component of the gradient may be above, in shares of what a row of probability 1 adds to it. */
  readonly tolerance: number;
  /** Where to begin: the weights of a neighbouring penalty are near. */
  readonly from?: Weights;
}

/** Steps until a fit is left as it is. They are some 10 to 60. */
const STEPS = 500;

/** Fits weights to those rows of a sample that `chosen` lists. */
export async function fit(sample: Sample, chosen: Int32Array, settings: FitSettings, pace: Pace): Promise<Weights> {
  const { width } = sample;
  const { classCount, penalty, tolerance, from } = settings;
  const at = from?.slice() ?? new Float64Array(classCount * (width + 1));
  const shares = new Float64Array(BLOCK * classCount);
  const objective = async (weights: Float64Array, gradient: Float64Array): Promise<number> => {
    let loss = ridge(weights, gradient, penalty, width);
    for (let first = 0; first < chosen.length; first += BLOCK) {
      if (pace.isDue) await pace.rest();
      loss += add(sample, chosen, first, weights, gradient, shares);
    }
    return loss;
  };
  await minimize(objective, at, { tolerance: tolerance * chosen.length * size(sample.rows), steps: STEPS });
  return at;
}

/** The scores of the row that begins at `begin`, one for each class. */
export function score(weights: Weights, rows: ArrayLike<number>, begin: number, width: number, scores: Float64Array): void {
  for (let c = 0; c < scores.length; c++) {
    const first = c * (width + 1);
    let sum = weights[first + width]!;
    for (let i = 0; i < width; i++) sum += weights[first + i]! * rows[begin + i]!;
    scores[c] = sum;
  }
}

/** Makes scores probabilities; gives the logarithm of the sum of their exponentials. */
export function softmax(scores: Float64Array): number {
  let most = -Infinity;
  for (let c = 0; c < scores.length; c++) most = Math.max(most, scores[c]!);
  let sum = 0;
  for (let c = 0; c < scores.length; c++) sum += scores[c] = Math.exp(scores[c]! - most);
  for (let c = 0; c < scores.length; c++) scores[c]! /= sum;
  return most + Math.log(sum);
}

/** The usual size of a component: the root of the mean square. */
function size(rows: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < rows.length; i++) sum += rows[i]! * rows[i]!;
  return Math.sqrt(sum / rows.length);
}

/** The penalty; its gradient is where the rest is added. */
function ridge(weights: Weights, gradient: Float64Array, penalty: number, width: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = i % (width + 1) === width ? 0 : weights[i]!;
    sum += weight * weight;
    gradient[i] = penalty * weight;
  }
  return (penalty / 2) * sum;
}

/** Rows at a time: each weight is read once for all of them. */
const BLOCK = 4;

/** Adds the gradient of up to four rows; gives their loss. */
function add({ width, rows, classes }: Sample, chosen: Int32Array, first: number, weights: Weights, gradient: Float64Array, shares: Float64Array): number {
  const classCount = shares.length / BLOCK;
  const count = Math.min(BLOCK, chosen.length - first);
  const row = (k: number): number => chosen[first + Math.min(k, count - 1)]!;
  const [p, q, r, s] = [row(0) * width, row(1) * width, row(2) * width, row(3) * width] as const;
  for (let c = 0; c < classCount; c++) {
    const begin = c * (width + 1);
    const bias = weights[begin + width]!;
    let [a, b, d, e] = [bias, bias, bias, bias];
    for (let i = 0; i < width; i++) {
      const weight = weights[begin + i]!;
      a += weight * rows[p + i]!;
      b += weight * rows[q + i]!;
      d += weight * rows[r + i]!;
      e += weight * rows[s + i]!;
    }
    shares[c] = a;
    shares[classCount + c] = b;
    shares[2 * classCount + c] = d;
    shares[3 * classCount + c] = e;
  }
  let loss = 0;
  for (let k = 0; k < BLOCK; k++) {
    const scores = shares.subarray(k * classCount, (k + 1) * classCount);
    // There is no such row: the last one again, with no share.
    if (k >= count) scores.fill(0);
    else {
      const label = classes[row(k)]!;
      const own = scores[label]!;
      loss += softmax(scores) - own;
      scores[label]! -= 1;
    }
  }
  for (let c = 0; c < classCount; c++) {
    const begin = c * (width + 1);
    const [a, b, d, e] = [shares[c]!, shares[classCount + c]!, shares[2 * classCount + c]!, shares[3 * classCount + c]!] as const;
    for (let i = 0; i < width; i++) gradient[begin + i]! += a * rows[p + i]! + b * rows[q + i]! + d * rows[r + i]! + e * rows[s + i]!;
    gradient[begin + width]! += a + b + d + e;
  }
  return loss;
}
