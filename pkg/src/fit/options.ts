// What fitting takes.

import { invalidArgument } from "../errors.js";
import type { InputProgress } from "../head.js";
import { callback, checked, long, number, oneOf, positive, signal, text, wrong } from "../checks.js";

/** A text and what it is. */
export interface Example {
  readonly text: string;
  readonly label: string;
}

/** How to fit a classifier. */
export interface FitOptions {
  /** How texts are embedded, when fitting and when classifying. */
  embed?: { pooling?: "mean" | "cls"; dimensions?: number; long?: "error" | "chunk" };
  /**
   * How strong the L2 penalty is: `1 / C` of scikit-learn's. By default the one of 0.3, 0.05, 0.01, 0.002 that cross-validation
   * finds best (by the probabilities of labels).
   */
  penalty?: number;
  /** Parts of the examples that take turns to be judged by what was fitted to the rest. Default 5; never more than the rarest label has examples. */
  folds?: number;
  /** Called as texts are embedded, and as fits are done. */
  onProgress?: (progress: InputProgress & { readonly phase: "embed" | "fit" }) => void;
  /** Ends the work. */
  signal?: AbortSignal;
}

export function fitOptions(options?: FitOptions): FitOptions {
  const set = checked(
    options,
    {
      embed: (value) => void embedding(value as FitOptions["embed"]),
      penalty: (value, option) => {
        number(value, option);
        if (!((value as number) > 0)) throw wrong(option, "above 0", value);
      },
      folds: (value, option) => {
        positive(value, option);
        if ((value as number) < 2 || (value as number) > 100) throw wrong(option, "from 2 to 100", value);
      },
      onProgress: callback,
      signal,
    },
    "fitClassifier",
  );
  return set;
}

/** How texts are embedded, checked. */
export function embedding(embed?: FitOptions["embed"]): NonNullable<FitOptions["embed"]> {
  return checked(embed, { pooling: oneOf("mean", "cls"), dimensions: positive, long }, "embed");
}

/** Examples as texts and numbers of labels. */
export function examplesOf(examples: unknown): { texts: string[]; labels: string[]; classes: Int32Array; fewest: number } {
  if (!Array.isArray(examples)) throw invalidArgument("examples must be an array of { text, label }", "examples");
  const numbers = new Map<string, number>();
  const counts: number[] = [];
  const texts: string[] = [];
  const classes = Int32Array.from(examples, (example: unknown, i) => {
    const { text: words, label } = (example ?? {}) as Partial<Example>;
    texts.push(text(words, `examples[${i}].text`));
    const name = text(label, `examples[${i}].label`);
    const number = numbers.get(name) ?? numbers.size;
    numbers.set(name, number);
    counts[number] = (counts[number] ?? 0) + 1;
    return number;
  });
  const labels = [...numbers.keys()];
  if (labels.length < 2) throw invalidArgument("examples need two labels at least", "examples");
  const fewest = Math.min(...counts);
  if (fewest < 2) {
    throw invalidArgument(`examples need two of each label at least: ${JSON.stringify(labels[counts.indexOf(1)])} has one`, "examples");
  }
  return { texts, labels, classes, fewest };
}
