// Classifiers, rerankers, many texts at once, and adapters: what a page gets, on both builds and on WebGPU.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fixtureJson } from "./site.mjs";
import { report, run, VARIANTS } from "./harness.mjs";
import { browser, site } from "./stage.mjs";

/** Of a probability: the logits' of float models are within 0.002. */
const ERROR = 0.001;
const TINY_ERROR = 0.002;
/** Where each test computes: a build of wasm, or the GPU. */
const PLACES = [...Object.keys(VARIANTS).map((variant) => ({ variant, device: "wasm" })), { device: "webgpu" }];

async function everywhere(action, data) {
  const answers = [];
  for (const { variant, device } of PLACES) {
    const page = await browser.open(site, { variant });
    answers.push(await run(page, action, { device, ...data }));
    await page.close();
  }
  const [relaxed, simd] = answers;
  assert.deepEqual(simd, relaxed, "both builds give the same bits");
  return answers;
}

// The vocabulary of these models: after five control tokens, words of two letters.
const word = (token) => String.fromCharCode(97 + ((token - 5) % 26), 97 + Math.floor((token - 5) / 26));
const words = (tokens) => tokens.map(word).join(" ");

test("a classifier's labels", { timeout: 60_000 }, async () => {
  const { texts } = fixtureJson("tiny/bert-labels.json");
  const labels = ["joy", "anger", "fear", "none", "awe"];
  const inputs = texts.map(({ tokens }) => words(tokens.slice(1, -1)));
  const answers = await everywhere(
    async ({ load }, { device, inputs }) => {
      const model = await load("/tiny/bert-labels.gguf", { device });
      const told = [];
      const scores = await model.classify(inputs, undefined, { onProgress: ({ done, total }) => told.push([done, total]) });
      const some = await model.classify(inputs[0], ["fear", "joy"]);
      const embeds = await model.embed("a").catch(({ code }) => code);
      const { labels } = model.info;
      await model.close();
      return { scores, some, embeds, labels, last: told.at(-1) };
    },
    { inputs },
  );
  for (const answer of answers) {
    assert.deepEqual(answer.labels, labels);
    assert.equal(answer.embeds, "unsupported-model");
    assert.deepEqual(answer.last, [4, 4]);
    for (const [i, { logits }] of texts.entries()) {
      const sum = logits.reduce((all, logit) => all + Math.exp(logit), 0);
      const want = new Map(labels.map((label, k) => [label, Math.exp(logits[k]) / sum]));
      const scores = answer.scores[i];
      assert.ok(scores.every(({ label, score }) => Math.abs(score - want.get(label)) <= ERROR));
      assert.ok(scores.every(({ score }, k) => k === 0 || score <= scores[k - 1].score), "sorted");
    }
    assert.ok(Math.abs(answer.some[0].score + answer.some[1].score - 1) < 1e-6);
  }
});

test("a reranker's order", { timeout: 60_000 }, async () => {
  const { texts } = fixtureJson("tiny/bert-rank.json");
  const pairs = texts.map(({ tokens }) => {
    const cut = tokens.indexOf(3);
    return [words(tokens.slice(1, cut)), words(tokens.slice(cut + 1, -1))];
  });
  const answers = await everywhere(
    async ({ load }, { device, pairs }) => {
      const model = await load("/tiny/bert-rank.gguf", { device });
      const rankings = [];
      for (const [query, document] of pairs) rankings.push(await model.rerank(query, ["aa", document]));
      await model.close();
      return rankings;
    },
    { pairs },
  );
  const all = answers.flatMap((rankings) => rankings.map((ranking, i) => ({ ranking, logit: texts[i].logits[0] })));
  for (const { ranking, logit } of all) {
    assert.deepEqual(ranking.map(({ index }) => index).sort(), [0, 1]);
    assert.ok(ranking[0].score >= ranking[1].score);
    const { score } = ranking.find(({ index }) => index === 1);
    assert.ok(Math.abs(score - 1 / (1 + Math.exp(-logit))) <= ERROR, `${score}`);
  }
});

test("an embedding model ranks by meaning, and embeds many texts as it does one", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  const answer = await run(page, async ({ load }) => {
    const model = await load("/models/all-MiniLM-L6-v2.Q8_0.gguf", { threads: 1 });
    const documents = ["The stock market fell sharply today.", "A kitten sleeps on the sofa.", "Rust compiles to WebAssembly."];
    const ranking = await model.rerank("Where is the cat?", documents);
    const texts = Array.from({ length: 200 }, (_, i) => `Number ${i} of the texts that are embedded here, all in one go, or not at all.`);
    const told = [];
    const start = performance.now();
    const vectors = await model.embed(texts, { onProgress: ({ done }) => told.push(done) });
    const seconds = (performance.now() - start) / 1000;
    const alone = await model.embed(texts[77]);
    const controller = new AbortController();
    const aborted = model.embed(texts, { signal: controller.signal, onProgress: () => controller.abort() }).catch(({ code }) => code);
    const code = await aborted;
    const again = await model.embed(texts[3]);
    // Two halves of 300 words each, of which only one fits the context of 512 tokens.
    const halves = ["red ".repeat(300).trim(), "sea ".repeat(300).trim()];
    const long = await model.embed(halves.join(" "), { long: "chunk" });
    const [a, b] = await model.embed(halves);
    const mean = a.map((x, i) => x + b[i]);
    const chunked = long.reduce((sum, x, i) => sum + x * mean[i], 0) / Math.hypot(...mean);
    const whole = await model.embed([...texts, halves.join(" ")], { onProgress: () => told.push("computed") }).catch(({ code }) => code);
    await model.close();
    const same = [alone.every((x, i) => x === vectors[77][i]), again.every((x, i) => x === vectors[3][i])];
    return { ranking, same, told, rate: texts.length / seconds, code, chunked, length: Math.hypot(...long), whole };
  });
  await page.close();
  assert.ok(Math.abs(answer.chunked - 1) < 1e-5 && Math.abs(answer.length - 1) < 1e-5, "the mean of the halves, with length 1");
  assert.equal(answer.whole, "context-overflow");
  assert.ok(!answer.told.includes("computed"), "nothing is computed where a text is too long");
  assert.equal(answer.ranking[0].index, 1);
  assert.ok(answer.ranking[0].score > answer.ranking[1].score);
  assert.deepEqual(answer.same, [true, true], "the same bits alone and beside others");
  assert.ok(answer.told.length > 3 && answer.told.at(-1) === 200);
  assert.equal(answer.code, "aborted");
  report(t, `${answer.rate.toFixed(0)} texts a second on one thread`);
});

test("adapters change what a model says, and can be switched", { timeout: 120_000 }, async (t) => {
  const { tokens, answers } = fixtureJson("tiny/llama-0-lora.json");
  const scales = answers.map(({ scales }) => scales);
  const seen = await everywhere(
    async ({ load }, { device, tokens, scales }) => {
      const adapters = [0, 1].map((k) => ({ source: `/tiny/llama-0-lora-${k}.gguf`, scale: scales[0][k] }));
      const model = await load("/tiny/llama-0.gguf", { device, adapters });
      const scores = [];
      for (const [k, scale] of scales.entries()) {
        if (k > 0) await model.setAdapters(scale);
        scores.push((await model.score(tokens)).logprobs);
      }
      const { adapters: named } = model.info;
      await model.close();
      const other = await load("/tiny/qwen3-0.gguf", { device, adapters: adapters.slice(0, 1) }).catch(({ code, details }) => ({ code, details }));
      return { scores, named, other };
    },
    { tokens, scales },
  );
  for (const { scores, named, other } of seen) {
    for (const [k, { logprobs }] of answers.entries()) {
      const errors = logprobs.slice(1).map((value, i) => Math.abs(value - scores[k][i + 1]));
      const error = errors.reduce((sum, error) => sum + error, 0) / errors.length;
      report(t, `scales ${scales[k]}: mean |Δ| ${error.toFixed(6)}`);
      assert.ok(error <= TINY_ERROR, `${scales[k]}: ${error}`);
    }
    assert.deepEqual(named.map(({ name }) => name), ["llama-0-lora-0", "llama-0-lora-1"]);
    assert.equal(other.code, "invalid-model");
    assert.equal(other.details.key, "general.architecture");
  }
});
