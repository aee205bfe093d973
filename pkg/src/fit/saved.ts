// A classifier as JSON, which may come from anywhere.

import { invalidArgument } from "../errors.js";
import type { FitReport, HeadParts } from "./classifier.js";
import { embedding, type FitOptions } from "./options.js";

/** Of this layout; others are refused. */
export const VERSION = 1;

/** Its embedding is kept, and tells whether a model is the one that a classifier was fitted to. */
export const PROBE = "The quick brown fox jumps over the lazy dog.";

/** A fitted classifier, as it is saved. */
export interface SavedClassifier {
  readonly kind: "wisplm-classifier";
  readonly version: number;
  /** The name of the model, for people. */
  readonly model: string;
  readonly labels: readonly string[];
  readonly embed: NonNullable<FitOptions["embed"]>;
  readonly report: FitReport;
  /** For each label: a weight for each component of an embedding. */
  readonly weights: readonly (readonly number[])[];
  readonly biases: readonly number[];
  /** The embedding of a certain sentence. */
  readonly probe: readonly number[];
}

/** The parts of a saved classifier, given as text or as an object. */
export function read(json: unknown): HeadParts {
  const saved = object(typeof json === "string" ? parsed(json) : json, "json");
  if (saved.kind !== "wisplm-classifier") throw bad("json", "it is no saved classifier");
  if (saved.version !== VERSION) throw bad("json.version", `${String(saved.version)} is not the version ${VERSION}, which can be read here: fit it again`);
  const labels = array(saved.labels, "json.labels").map((label, i) => {
    if (typeof label !== "string") throw bad(`json.labels[${i}]`, "it must be a string");
    return label;
  });
  if (labels.length < 2 || new Set(labels).size < labels.length) throw bad("json.labels", "two labels at least must be there, and none twice");
  const probe = Float32Array.from(numbers(saved.probe, "json.probe"));
  const width = probe.length;
  if (width === 0) throw bad("json.probe", "it is empty");
  const rows = array(saved.weights, "json.weights");
  const biases = numbers(saved.biases, "json.biases", labels.length);
  if (rows.length !== labels.length) throw bad("json.weights", `${rows.length} rows are not one for each of ${labels.length} labels`);
  const weights = new Float64Array(labels.length * (width + 1));
  for (const [c, row] of rows.entries()) weights.set([...numbers(row, `json.weights[${c}]`, width), biases[c]!], c * (width + 1));
  const trainedOn = typeof saved.model === "string" ? saved.model : "without a name";
  return { labels, report: report(saved.report), weights, width, embed: embedding(object(saved.embed, "json.embed")), probe, trainedOn };
}

function report(value: unknown): FitReport {
  const found = object(value, "json.report");
  const field = (name: keyof FitReport): number => numbers([found[name]], `json.report.${name}`)[0]!;
  return {
    accuracy: field("accuracy"),
    baseline: field("baseline"),
    logLoss: field("logLoss"),
    penalty: field("penalty"),
    examples: field("examples"),
    folds: field("folds"),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw bad("json", (error as Error).message);
  }
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad(name, "it must be an object");
  return value as Record<string, unknown>;
}

function array(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw bad(name, "it must be an array");
  return value;
}

function numbers(value: unknown, name: string, length?: number): number[] {
  const found = array(value, name);
  if (length !== undefined && found.length !== length) throw bad(name, `${found.length} numbers are not ${length}`);
  const odd = found.findIndex((item) => typeof item !== "number" || !Number.isFinite(item));
  if (odd >= 0) throw bad(`${name}[${odd}]`, "it must be a finite number");
  return found as number[];
}

function bad(name: string, why: string) {
  return invalidArgument(`${name} cannot be restored: ${why}`, name);
}
