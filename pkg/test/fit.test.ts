import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { type Example, fitClassifier, type FittedClassifier, restoreClassifier, type SavedClassifier } from "../src/index.js";
import type { Embedder } from "../src/fit/classifier.js";
import { fit, type Sample, score, softmax } from "../src/fit/logistic.js";
import { Pace } from "../src/worker/pace.js";
import { folds, validate } from "../src/fit/validation.js";

interface Fixture {
  cases: {
    name: string;
    rows: number[][];
    classes: number[];
    folds: number[];
    fits: { penalty: number; weights: number[][]; biases: number[]; probabilities: number[][]; accuracy: number; logLoss: number }[];
  }[];
}
// What a page has to do while it waits; nothing else keeps Node from ending.
const page = setInterval(() => {}, 1000);
after(() => clearInterval(page));

// npm runs the tests in the package's folder.
const { cases } = JSON.parse(readFileSync("../tests/fixtures/classify/logistic.json", "utf8")) as Fixture;

function close(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  assert.equal(found.length, expected.length, what);
  const worst = Math.max(...Array.from(found, (value, i) => Math.abs(value - expected[i]!)));
  assert.ok(worst <= tolerance, `${what}: ${worst} apart`);
}

for (const { name, rows, classes, folds: fold, fits } of cases) {
  const width = rows[0]!.length;
  const sample: Sample = { width, rows: Float64Array.from(rows.flat()), classes: Int32Array.from(classes) };
  const classCount = Math.max(...classes) + 1;
  const all = Int32Array.from(classes, (_, i) => i);

  test(`${name}: weights and probabilities are scikit-learn's`, async () => {
    for (const { penalty, weights, biases, probabilities } of fits) {
      const found = await fit(sample, all, { classCount, penalty, tolerance: 1e-10 }, new Pace());
      const bias = Array.from({ length: classCount }, (_, c) => found[c * (width + 1) + width]!);
      const mean = bias.reduce((sum, value) => sum + value, 0) / classCount;
      // Both minimize the same convex function as far as float64 lets them: 1e-5 is what is left of a flat bottom.
      for (const [c, row] of weights.entries()) close(found.subarray(c * (width + 1), c * (width + 1) + width), row, 1e-5, `weights at ${penalty}`);
      close(bias.map((value) => value - mean), biases, 1e-5, `biases at ${penalty}`);
      const scores = new Float64Array(classCount);
      for (const [row, expected] of probabilities.entries()) {
        score(found, sample.rows, row * width, width, scores);
        softmax(scores);
        close(scores, expected, 1e-6, `probabilities at ${penalty}`);
      }
    }
  });

  test(`${name}: cross-validation finds what scikit-learn's does`, async () => {
    const given = { fold: Int32Array.from(fold), count: Math.max(...fold) + 1 };
    const penalties = fits.map(({ penalty }) => penalty);
    let count = 0;
    const found = await validate(sample, classCount, penalties, given, new Pace(), () => count++);
    assert.equal(count, given.count * fits.length);
    for (const [i, { accuracy, logLoss }] of fits.entries()) {
      // Its fits end when they are good enough to compare: a row on the border may fall to the other side.
      assert.ok(Math.abs(found[i]!.accuracy - accuracy) * rows.length < 1.5, `${found[i]!.accuracy} for ${accuracy}`);
      assert.ok(Math.abs(found[i]!.logLoss - logLoss) < 5e-3, `${found[i]!.logLoss} for ${logLoss}`);
    }
  });
}

test("folds have as many of each class as can be, and are the same every time", () => {
  const classes = Int32Array.from({ length: 103 }, (_, i) => (i < 60 ? 0 : i < 93 ? 1 : 2));
  const fold = folds(classes, 5);
  assert.deepEqual(folds(classes, 5), fold);
  for (let label = 0; label < 3; label++) {
    const counts = [0, 1, 2, 3, 4].map((number) => fold.filter((f, i) => f === number && classes[i] === label).length);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, counts.join());
  }
});

/** Texts are "x y …": their numbers, scaled to length 1. */
function embedder(width = 2, turn = 0): Embedder & { calls: number[] } {
  const calls: number[] = [];
  const one = (text: string): Float32Array => {
    const values = text.split(" ").map(Number);
    const vector = Array.from({ length: width }, (_, i) => (Number.isFinite(values[0]) ? (values[(i + turn) % width] ?? 0) : 1 + ((i + turn) % width)));
    const length = Math.hypot(...vector);
    return Float32Array.from(vector, (value) => value / length);
  };
  const embed = async (input: string | readonly string[], options: { onProgress?: (progress: object) => void } = {}): Promise<unknown> => {
    calls.push(typeof input === "string" ? 1 : input.length);
    options.onProgress?.({ done: input.length, total: input.length });
    return typeof input === "string" ? one(input) : input.map(one);
  };
  return { embed, info: { name: "numbers" }, calls } as unknown as Embedder & { calls: number[] };
}

const LABELS = ["east", "north", "west"];
const examples: Example[] = Array.from({ length: 120 }, (_, i) => {
  const angle = (i % 3) * (Math.PI / 2) + Math.sin(i * 12.9898) * 0.9;
  return { text: `${Math.cos(angle)} ${Math.sin(angle)}`, label: LABELS[i % 3]! };
});

test("a classifier is fitted, judged, used, saved and restored", async () => {
  const model = embedder();
  const seen: { phase: string; done: number; total: number }[] = [];
  const classifier = await fitClassifier(model, examples, { onProgress: (progress) => seen.push(progress) });
  assert.deepEqual(classifier.labels, LABELS);
  const { accuracy, baseline, logLoss, penalty, folds } = classifier.report;
  assert.ok(accuracy > 0.7 && accuracy < 1, String(accuracy));
  assert.ok(Math.abs(baseline - 1 / 3) < 1e-9);
  assert.ok(logLoss > 0 && logLoss < 0.8, String(logLoss));
  assert.ok(penalty <= 1 && folds === 5);
  assert.deepEqual(model.calls, [120, 1]);
  assert.deepEqual(seen.filter(({ phase }) => phase === "embed").map(({ done }) => done), [120]);
  assert.deepEqual(seen.at(-1), { phase: "fit", done: 21, total: 21 });

  const one = await classifier.classify("0.1 1");
  assert.equal(one[0]!.label, "north");
  assert.ok(one[0]!.score > 0.7);
  assert.ok(Math.abs(one.reduce((sum, { score }) => sum + score, 0) - 1) < 1e-12);
  assert.ok(one.every(({ score }, i) => i === 0 || score <= one[i - 1]!.score));
  const done: number[] = [];
  const many = await classifier.classify(Array.from({ length: 40 }, () => "1 0"), { onProgress: (progress) => done.push(progress.done) });
  assert.ok(many.length === 40 && many.every(([best]) => best!.label === "east"));
  assert.deepEqual(done, [40]);
  assert.deepEqual(await classifier.classify([]), []);

  const saved = JSON.stringify(classifier);
  for (const json of [saved, JSON.parse(saved) as unknown]) {
    const restored: FittedClassifier = await restoreClassifier(model, json);
    assert.deepEqual(await restored.classify("0.1 1"), one);
    assert.deepEqual(restored.report, classifier.report);
    assert.equal(JSON.stringify(restored), saved);
  }
  assert.equal(JSON.stringify(await fitClassifier(embedder(), examples)), saved);
});

test("the penalty and the folds can be given", async () => {
  const { report } = await fitClassifier(embedder(), examples, { penalty: 2, folds: 3 });
  assert.deepEqual([report.penalty, report.folds], [2, 3]);
  const few = examples.slice(0, 6);
  assert.equal((await fitClassifier(embedder(), few)).report.folds, 2);
});

test("what cannot be fitted is refused", async () => {
  const model = embedder();
  const refused = (examples: unknown, options: unknown, option: string): Promise<void> =>
    assert.rejects(fitClassifier(model, examples as Example[], options as object), { name: "WispError", code: "invalid-argument", details: { option } });
  await refused("x", {}, "examples");
  await refused([], {}, "examples");
  await refused([{ text: "1 1", label: "a" }, { text: "1 1", label: "a" }], {}, "examples");
  await refused([...examples, { text: "1 1", label: "alone" }], {}, "examples");
  await refused([null], {}, "examples[0].text");
  await refused([{ text: "1 1" }], {}, "examples[0].label");
  for (const [option, value] of [["penalty", 0], ["penalty", NaN], ["folds", 1], ["folds", 2.5], ["onProgress", 1], ["signal", {}], ["strength", 1]] as const) {
    await refused(examples, { [option]: value }, option);
  }
  await refused(examples, { embed: { normalize: false } }, "normalize");
  const classifier = await fitClassifier(model, examples);
  await assert.rejects(classifier.classify(5 as never), { code: "invalid-argument" });
  await assert.rejects(classifier.classify("1 1", { top: 1 } as never), { code: "invalid-argument" });
});

test("it can be aborted, while it embeds and while it fits", async () => {
  for (const phase of ["embed", "fit"]) {
    const controller = new AbortController();
    const onProgress = (progress: { phase: string }): void => void (progress.phase === phase && controller.abort("enough"));
    const rows = Array.from({ length: 4000 }, (_, i) => examples[i % examples.length]!);
    const options = { onProgress, signal: controller.signal, penalty: 1e-9 };
    await assert.rejects(fitClassifier(embedder(), rows, options), { code: "aborted" }, phase);
  }
});

test("what is no saved classifier of this model is refused", async () => {
  const model = embedder();
  const saved = (await fitClassifier(model, examples)).toJSON();
  const with_ = (changes: object): unknown => ({ ...saved, ...changes });
  const bad: [unknown, string][] = [
    ["{", "json"],
    [null, "json"],
    [[], "json"],
    [{}, "json"],
    [with_({ kind: "x" }), "json"],
    [with_({ version: 2 }), "json.version"],
    [with_({ labels: ["a", "a", "b"] }), "json.labels"],
    [with_({ labels: ["a", 1, "b"] }), "json.labels[1]"],
    [with_({ labels: { length: 1e9 } }), "json.labels"],
    [with_({ weights: saved.weights.slice(1) }), "json.weights"],
    [with_({ weights: [...saved.weights.slice(1), [1]] }), "json.weights[2]"],
    [with_({ weights: [...saved.weights.slice(1), [1, null]] }), "json.weights[2][1]"],
    [with_({ biases: ["1", 2, 3] }), "json.biases[0]"],
    [with_({ probe: [] }), "json.probe"],
    [with_({ report: undefined }), "json.report"],
    [with_({ report: { ...saved.report, accuracy: "1" } }), "json.report.accuracy[0]"],
    [with_({ embed: { pooling: "max" } }), "pooling"],
    [with_({ embed: null }), "json.embed"],
  ];
  for (const [json, option] of bad) {
    await assert.rejects(restoreClassifier(model, json), { name: "WispError", code: "invalid-argument", details: { option } }, option);
  }
  for (const foreign of [embedder(3), embedder(2, 1)]) {
    await assert.rejects(restoreClassifier(foreign, saved), { code: "invalid-argument", details: { option: "model" }, message: /another model \(numbers\)/ });
  }
  const copy: SavedClassifier = JSON.parse(JSON.stringify(saved));
  assert.deepEqual(copy, saved);
});

test("500 examples of 384 numbers", { timeout: 60_000 }, async (t) => {
  let state = 1;
  const random = (): number => ((state = (state * 48271) % 2147483647) / 2147483647 - 0.5) * 3.4;
  const centers = Array.from({ length: 6 }, () => Float64Array.from({ length: 384 }, random));
  const vectors = new Map<string, Float32Array>();
  const many = Array.from({ length: 500 }, (_, i) => {
    const vector = centers[i % 6]!.map((value) => 0.2 * value + random());
    const length = Math.hypot(...vector);
    vectors.set(String(i), Float32Array.from(vector, (value) => value / length));
    return { text: String(i), label: `label ${i % 6}` };
  });
  const embed = async (input: string | string[]): Promise<unknown> =>
    typeof input === "string" ? new Float32Array(384).fill(0.05) : input.map((text) => vectors.get(text)!);
  const began = performance.now();
  const { report } = await fitClassifier({ embed, info: { name: "random" } } as unknown as Embedder, many);
  t.diagnostic(`${Math.round(performance.now() - began)} ms; ${JSON.stringify(report)}`);
  assert.ok(report.accuracy > 0.8, JSON.stringify(report));
});
