// Texts longer than the context: refused before anything is computed, or read in chunks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeEngine } from "./fakes.js";
import type { WireInfo } from "../src/protocol.js";
import { chunks } from "../src/worker/chunks.js";
import { embed } from "../src/worker/encode.js";
import { Pace } from "../src/worker/pace.js";
import { blob, load, using } from "./together.js";

function encoder(labels: string[] | null): FakeEngine {
  const engine = new FakeEngine();
  engine.generates = false;
  engine.labels = labels;
  return engine;
}

const near = (one: Iterable<number>, other: number[]): void => {
  for (const [i, value] of [...one].entries()) assert.ok(Math.abs(value - other[i]!) < 1e-3, `${[...one]} is not ${other}`);
};

test("a text is cut where there is white space, and between characters where there is none", async () => {
  const cut = (text: string, most: number): Promise<string[] | undefined> =>
    chunks(text, (chunk) => (chunk.length <= most ? chunk : undefined), new Pace());
  assert.deepEqual(await cut("one two three four", 9), ["one two", "three", "four"]);
  assert.deepEqual(await cut("abcdefgh", 3), ["ab", "cd", "ef", "gh"]);
  assert.deepEqual(await cut("a😀😀b", 3), ["a😀", "😀b"], "no half of a character");
  assert.equal(await cut("😀", 1), undefined);
  assert.deepEqual(await cut("a" + " ".repeat(100) + "b", 8), ["a", "b"], "blank chunks are none");
  assert.deepEqual(await cut(" ".repeat(100), 8), [""]);
  const words = Array.from({ length: 1000 }, (_, i) => `w${i}`).join(" ");
  const found = (await cut(words, 100))!;
  assert.equal(found.join(" "), words);
  assert.ok(found.length < 120, `${found.length} chunks`);
});

test("one text that is too long has none computed", async () => {
  const texts = [...Array.from({ length: 200 }, () => "a"), "x".repeat(5000)];
  const engine = encoder(["bad", "good"]);
  await using(load(blob(), { engine }), async (model) => {
    engine.calls = [];
    await assert.rejects(model.classify(texts), { code: "context-overflow", message: /^text 200 .*long to "chunk"/ });
    assert.deepEqual(engine.calls, []);
  });
  const writer = new FakeEngine();
  await using(load(blob(), { engine: writer }), async (model) => {
    writer.calls = [];
    await assert.rejects(model.embed(texts), { code: "context-overflow", message: /^text 200 / });
    const told: number[] = [];
    const refused = model.classify(texts, ["bad", "good"], { onProgress: ({ done }) => told.push(done) });
    await assert.rejects(refused, { code: "context-overflow", message: /^text 200/ });
    assert.deepEqual(told, []);
    assert.equal((await model.classify(["good"], ["bad", "good"]))[0]![0]!.label, "good");
  });
});

test("the vector of a long text is the mean of its chunks'", async () => {
  await using(load(blob()), async (model) => {
    // Vectors of the fake engine are 3, 4, their length in tokens, 0: the chunks of this have 4001, 2501 and 2501.
    const text = `${"a".repeat(4000)} ${"b".repeat(2500)} ${"c".repeat(2500)}`;
    const third = (4001 * 4001 + 2 * 2501 * 2501) / (4001 + 2 * 2501);
    const told: number[] = [];
    const raw = await model.embed([text, "b"], { long: "chunk", normalize: false, onProgress: ({ done }) => told.push(done) });
    near(raw[0]!, [3, 4, third, 0]);
    near(raw[1]!, [3, 4, 2, 0]);
    assert.deepEqual(told, [0, 2], "a text is done when its chunks are");
    near(await model.embed(text, { long: "chunk", dimensions: 2 }), [0.6, 0.8]);
    await assert.rejects(model.embed("a", { long: "cut" as never }), { code: "invalid-argument", details: { option: "long" } });
  });
});

test("labels of a long text are its chunks', by a head and by a model that writes", async () => {
  await using(load(blob(), { engine: encoder(["bad", "good"]) }), async (model) => {
    // The second logit is the length; the mean of two equal ones is that of either.
    const half = "a".repeat(4000);
    const [whole, part] = await model.classify([`${half} ${half}`, half], undefined, { long: "chunk" });
    assert.deepEqual(whole, part);
  });
  await using(load(blob()), async (model) => {
    // The words stand in one of two halves.
    const text = `good bad ${"x".repeat(3700)} ${"y".repeat(3700)} good`;
    const [best, other] = await model.classify(text, ["bad", "good"], { long: "chunk" });
    assert.equal(best!.label, "good");
    assert.ok(other!.score > 1 / (1 + Math.exp(5)), "some of it is bad");
    const classifier = model.classifier({ labels: ["bad", "good"], instruction: "i".repeat(5000), long: "chunk" });
    await assert.rejects(classifier.classify("good"), { code: "context-overflow" });
  });
});

test("a long document counts by its best chunk", async () => {
  const long = `${"x".repeat(3000)} ${"y".repeat(3000)}`;
  for (const labels of [["LABEL_0"], null]) {
    await using(load(blob(), { engine: encoder(labels) }), async (model) => {
      const ranking = await model.rerank("aa", ["a", long], { long: "chunk" });
      assert.equal(ranking.length, 2);
      await assert.rejects(model.rerank("aa", ["a", long]), { code: "context-overflow", message: labels ? /document 1/ : /text 1/ });
    });
  }
  await using(load(blob(), { engine: encoder(["LABEL_0"]) }), async (model) => {
    const refused = model.rerank("q".repeat(5000), ["a"], { long: "chunk" });
    await assert.rejects(refused, { code: "context-overflow", message: /no chunk of it fits/ });
  });
});

test("lengths are checked with room for an abort", async () => {
  const engine = encoder(null);
  const controller = new AbortController();
  const { tokenize } = engine;
  let count = 0;
  engine.tokenize = (text, bos) => {
    if (++count === 3) controller.abort();
    for (const end = performance.now() + 2; performance.now() < end; );
    return tokenize.call(engine, text, bos);
  };
  const info = JSON.parse(engine.info()) as WireInfo;
  const texts = Array.from({ length: 1000 }, () => "a");
  await assert.rejects(embed(engine, info, texts, { normalize: true }, "error", controller.signal), { code: "aborted" });
  assert.ok(count < 30, `${count} texts were split`);
});
