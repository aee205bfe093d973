// A classifier that is fitted where it is used: a logistic head on a model's embeddings.

import type { Classifier } from "../classify.js";
import { WispError, invalidArgument } from "../errors.js";
import type { LabelScore } from "../head.js";
import type { Model } from "../model.js";
import { type ClassifyRunOptions, classifyRunOptions, type EmbedOptions } from "../options.js";
import { type Example, examplesOf, type FitOptions, fitOptions } from "./options.js";
import { fit, type Sample, score, softmax, type Weights } from "./logistic.js";
import { Pace } from "../worker/pace.js";
import { PROBE, read, type SavedClassifier, VERSION } from "./saved.js";
import { best, folds, validate } from "./validation.js";

/** How well a classifier may be expected to do. */
export interface FitReport {
  /**
   * Share of the examples that were classified rightly by weights that had not seen them (cross-validation). Where a
   * penalty was chosen, it was chosen by the same folds: expect a little less.
   */
  readonly accuracy: number;
  /** What always answering the commonest label would have. */
  readonly baseline: number;
  /** Mean of −ln p of the examples' labels, in the same way. */
  readonly logLoss: number;
  /** The strength of the L2 penalty that was taken: `1 / C` of scikit-learn's. */
  readonly penalty: number;
  /** How many examples there were, and how many parts of them took turns. */
  readonly examples: number;
  readonly folds: number;
}

/** A logistic head on a model's embeddings. Labels are in the order in which the examples have them. */
export interface FittedClassifier extends Classifier {
  readonly report: FitReport;
  /** All of it but the model, for `JSON.stringify` and `restoreClassifier`. */
  toJSON(): SavedClassifier;
}

/** What a classifier needs of a model. */
export type Embedder = Pick<Model, "embed" | "info">;

/** Vectors have length 1: from one that hardly tells anything apart to one that knows every example by heart. */
const PENALTIES = [0.3, 0.05, 0.01, 0.002];
/** So near the minimum that probabilities have their third digit. */
const TOLERANCE = 1e-4;
/** Vectors of one text by two quantizations of a model are nearer than this; by two models they are not. */
const LEAST_COSINE = 0.9;

/**
 * Fits a classifier to examples: embeds their texts, chooses the penalty by cross-validation, and fits multinomial logistic
 * regression with it. The same examples give the same classifier. Each label needs two examples; a text that the model
 * cannot read whole fails with `context-overflow`, unless `embed.long` has it read in chunks.
 */
export async function fitClassifier(model: Embedder, examples: readonly Example[], options?: FitOptions): Promise<FittedClassifier> {
  const { penalty, folds: wanted = 5, embed = {}, signal, onProgress } = fitOptions(options);
  const { texts, labels, classes, fewest } = examplesOf(examples);
  const count = Math.min(wanted, fewest);
  const { rows, width } = await embedAll(model, texts, {
    ...embed,
    ...(signal && { signal }),
    ...(onProgress && { onProgress: (progress) => onProgress({ phase: "embed", ...progress }) }),
  });
  const mean = center(rows, width);
  const sample: Sample = { width, rows, classes };
  const penalties = penalty === undefined ? PENALTIES : [penalty];
  const pace = new Pace(signal);
  const total = count * penalties.length + 1;
  let done = 0;
  const step = (): void => onProgress?.({ phase: "fit", done: ++done, total });
  const validations = await validate(sample, labels.length, penalties, { fold: folds(classes, count), count }, pace, step);
  const { penalty: chosen, accuracy, logLoss } = best(validations);
  const all = Int32Array.from(classes, (_, i) => i);
  const weights = await fit(sample, all, { classCount: labels.length, penalty: chosen, tolerance: TOLERANCE }, pace);
  onProgress?.({ phase: "fit", done: total, total });
  uncenter(weights, mean);
  const commonest = Math.max(...labels.map((_, c) => classes.filter((label) => label === c).length));
  const report = { accuracy, baseline: commonest / texts.length, logLoss, penalty: chosen, examples: texts.length, folds: count };
  const probe = await model.embed(PROBE, embed);
  return new Head(model, { labels, report, weights, width, embed, probe, trainedOn: model.info.name });
}

/**
 * A classifier from what its `toJSON()` gave, as an object or as text. What is not that fails with `invalid-argument`, as
 * does a model whose embeddings are not those that it was fitted to (another quantization of the same model is fine).
 */
export async function restoreClassifier(model: Embedder, json: unknown): Promise<FittedClassifier> {
  const head = read(json);
  const found = await model.embed(PROBE, head.embed);
  const cosine = found.length === head.probe.length ? found.reduce((sum, value, i) => sum + value * head.probe[i]!, 0) : 0;
  if (cosine < LEAST_COSINE) {
    const message = `the classifier belongs to another model (${head.trainedOn}): the embeddings of ${model.info.name} are not those that it was fitted to`;
    throw invalidArgument(message, "model");
  }
  return new Head(model, head);
}

/** What a classifier consists of. */
export interface HeadParts {
  readonly labels: readonly string[];
  readonly report: FitReport;
  readonly weights: Weights;
  readonly width: number;
  /** How the texts were embedded. */
  readonly embed: NonNullable<FitOptions["embed"]>;
  /** The embedding of `PROBE`. */
  readonly probe: Float32Array;
  readonly trainedOn: string;
}

class Head implements FittedClassifier {
  readonly labels: readonly string[];
  readonly report: FitReport;
  readonly #model: Embedder;
  readonly #parts: HeadParts;

  constructor(model: Embedder, parts: HeadParts) {
    this.labels = parts.labels;
    this.report = parts.report;
    this.#model = model;
    this.#parts = parts;
  }

  classify(text: string, options?: ClassifyRunOptions): Promise<LabelScore[]>;
  classify(texts: readonly string[], options?: ClassifyRunOptions): Promise<LabelScore[][]>;
  async classify(input: string | readonly string[], options?: ClassifyRunOptions): Promise<LabelScore[] | LabelScore[][]> {
    const asked = classifyRunOptions(options);
    const single = typeof input === "string";
    const texts = single ? [input] : input;
    if (!Array.isArray(texts)) throw invalidArgument("text must be a string or an array of strings", "text");
    const { weights, width, embed } = this.#parts;
    const { rows } = await embedAll(this.#model, texts as string[], { ...embed, ...asked });
    const scores = new Float64Array(this.labels.length);
    const answers = texts.map((_, row) => {
      score(weights, rows, row * width, width, scores);
      softmax(scores);
      return this.labels.map((label, c) => ({ label, score: scores[c]! })).sort((a, b) => b.score - a.score);
    });
    return single ? answers[0]! : answers;
  }

  toJSON(): SavedClassifier {
    const { labels, report, weights, width, embed, probe, trainedOn } = this.#parts;
    const row = (c: number): number[] => Array.from(weights.subarray(c * (width + 1), (c + 1) * (width + 1)));
    return {
      ...{ kind: "wisplm-classifier", version: VERSION, model: trainedOn, labels, embed, report },
      weights: labels.map((_, c) => row(c).slice(0, -1)),
      biases: labels.map((_, c) => row(c).at(-1)!),
      probe: Array.from(probe),
    };
  }
}

/** The vectors of all texts, one after the other. */
async function embedAll(
  model: Embedder,
  texts: readonly string[],
  options: EmbedOptions,
): Promise<{ rows: Float64Array; width: number }> {
  const vectors = await model.embed(texts, options);
  const width = vectors[0]?.length ?? 0;
  const rows = new Float64Array(texts.length * width);
  for (const [i, vector] of vectors.entries()) rows.set(vector, i * width);
  if (!rows.every(Number.isFinite)) throw new WispError("invalid-model", "the model gives embeddings that are not numbers");
  return { rows, width };
}

/** Takes the mean from all rows: biases then have little to do with weights, and a fit is done sooner. */
function center(rows: Float64Array, width: number): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) mean[i % width]! += rows[i]!;
  for (let i = 0; i < width; i++) mean[i]! *= width / rows.length;
  for (let i = 0; i < rows.length; i++) rows[i]! -= mean[i % width]!;
  return mean;
}

/** Weights for rows as they were. */
function uncenter(weights: Weights, mean: Float64Array): void {
  const width = mean.length;
  for (let first = 0; first < weights.length; first += width + 1) {
    for (let i = 0; i < width; i++) weights[first + width]! -= weights[first + i]! * mean[i]!;
  }
}
