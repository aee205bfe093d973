// Telling the labels of texts: by a classifier's head, or by what a model that generates text would answer.

import { invalidArgument } from "./errors.js";
import { classifyByHead, type LabelScore, labelScores } from "./head.js";
import type { Link } from "./link.js";
import { texts } from "./checks.js";
import { type ClassifyOptions, type ClassifyRunOptions, classifyOptions, classifyRunOptions, steps } from "./options.js";
import { means } from "./vectors.js";

/** Tells the labels of texts, again and again: what is asked of the model is prepared once. */
export interface Classifier {
  readonly labels: readonly string[];
  /** The labels of a text, the most probable first. */
  classify(text: string, options?: ClassifyRunOptions): Promise<LabelScore[]>;
  /** The labels of several texts. */
  classify(texts: readonly string[], options?: ClassifyRunOptions): Promise<LabelScore[][]>;
}

/** What is to be told, of a classifier that is used again. */
export interface ClassifierTask extends Omit<ClassifyOptions, "signal" | "onProgress"> {
  /** The labels; those of the model's head, if it has one and none are named. */
  labels?: readonly string[];
}

/** The labels that a head scores; of a model that generates text there are none. */
type OwnLabels = readonly string[] | undefined;

export function classifier(link: Link, own: OwnLabels, task: ClassifierTask): Classifier {
  const { labels, ...options } = task;
  const { multiLabel, instruction, examples, calibrate, long = "error" } = classifyOptions(options);
  const wanted = labels === undefined ? undefined : texts(labels, "labels");
  const asked = { instruction, examples, calibrate };
  if (own !== undefined) {
    const given = Object.entries(asked).find(([, value]) => value !== undefined);
    if (given) throw invalidArgument(`${given[0]} is for models that generate text; this one has a head for its labels`, given[0]);
  } else if (wanted === undefined) {
    throw invalidArgument("labels must be given: this model has none of its own", "labels");
  }
  const scores = async (inputs: string[], { signal, onProgress }: ClassifyRunOptions): Promise<LabelScore[][]> => {
    const step = steps(onProgress);
    if (own !== undefined) return classifyByHead(link, own, inputs, { wanted, multiLabel, long, signal, step });
    const json = JSON.stringify({ labels: wanted, multiLabel, ...asked });
    const logits = await link.ask<"classify">({ kind: "classify", task: json, texts: inputs, long }, signal, step);
    return means(logits).map((scores) => labelScores(wanted!, scores, wanted, multiLabel));
  };
  async function classify(text: string, options?: ClassifyRunOptions): Promise<LabelScore[]>;
  async function classify(texts: readonly string[], options?: ClassifyRunOptions): Promise<LabelScore[][]>;
  async function classify(input: string | readonly string[], options?: ClassifyRunOptions): Promise<LabelScore[] | LabelScore[][]> {
    const set = classifyRunOptions(options);
    if (typeof input !== "string") return scores(texts(input, "text"), set);
    return (await scores([input], set))[0]!;
  }
  return { labels: wanted ?? own ?? [], classify };
}
