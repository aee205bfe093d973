// What models say of text and texts, against float32 references, on both builds of the engine.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, roundedToQ8, write } from "./gguf.mjs";
import { featuresOf, openBrowser, report, run, VARIANTS } from "./harness.mjs";
import { fixture, fixtureJson, openSite } from "./site.mjs";
import { browser, site } from "./stage.mjs";

// Bars for float models: what keys and values in 16 bits cost.
/** Their third models are for the native tests. */
const DECODERS = ["llama", "mistral3", "qwen2", "qwen3", "smollm3", "phi3", "gemma2", "gemma3", "gemma4", "qwen35"];
const TINY_ERROR = 0.002;
const TINY_COSINE = 0.9999;
const MINILM_COSINE = 0.999;

function scoreIn(page, url, inputs, options = {}) {
  return run(
    page,
    async ({ load }, { url, inputs, options }) => {
      const model = await load(url, options);
      const scores = [];
      for (const input of inputs) scores.push(await model.score(input));
      const { features } = model.info.device;
      await model.close();
      return { features, scores };
    },
    { url, inputs, options },
  );
}

function embedIn(page, url, texts, poolings, normalize) {
  return run(
    page,
    async ({ load }, { url, texts, poolings, normalize }) => {
      const model = await load(url);
      const vectors = {};
      for (const pooling of poolings) {
        const options = { normalize, ...(pooling !== "default" && { pooling }) };
        vectors[pooling] = (await model.embed(texts, options)).map((vector) => Array.from(vector));
      }
      const tokens = [];
      for (const text of texts) tokens.push(await model.tokenize(text));
      await model.close();
      return { vectors, tokens };
    },
    { url, texts, poolings, normalize },
  );
}

/** The same on both builds. */
async function onBoth(action) {
  const answers = {};
  for (const variant of Object.keys(VARIANTS)) {
    const page = await browser.open(site, { variant });
    answers[variant] = await action(page);
    await page.close();
  }
  return answers;
}

function deltas(logprobs, reference) {
  assert.equal(logprobs.length, reference.length);
  assert.equal(logprobs[0], null, "the first token has no probability");
  return logprobs.slice(1).map((value, i) => Math.abs(value - reference[i + 1]));
}

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

function cosine(one, other) {
  assert.equal(one.length, other.length);
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}

for (const name of ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m"]) {
  test(`${name} scores text no further from float32 than native llama.cpp`, { timeout: 300_000 }, async (t) => {
    const { texts, meanAbsDelta } = fixtureJson(`score/${name}.json`);
    const inputs = texts.map(({ text }) => text);
    const answers = await onBoth((page) => scoreIn(page, `/models/${name}.gguf`, inputs));
    for (const [variant, { features, scores }] of Object.entries(answers)) {
      assert.deepEqual(features, featuresOf(variant, true));
      // The last text is the others joined: the mean is theirs, as llama.cpp's is.
      const all = [];
      for (const [i, { name: text, tokens, logprobs, llamaCpp }] of texts.entries()) {
        assert.deepEqual(scores[i].tokens, tokens, `tokens of ${text}`);
        const errors = deltas(scores[i].logprobs, logprobs);
        if (text !== "joined") all.push(...errors);
        const bar = llamaCpp.default.meanAbsDelta;
        report(t, `${variant} ${text}: mean |Δ| ${mean(errors).toFixed(4)}, llama.cpp ${bar.toFixed(4)}, worst ${Math.max(...errors).toFixed(3)}`);
        assert.ok(mean(errors) <= 1.1 * bar, `${text}: mean |Δ| ${mean(errors)}, llama.cpp ${bar}`);
      }
      report(t, `${variant} all: mean |Δ| ${mean(all).toFixed(4)}, llama.cpp ${meanAbsDelta.default.toFixed(4)}`);
      assert.ok(mean(all) <= meanAbsDelta.default, `mean |Δ| ${mean(all)}, llama.cpp ${meanAbsDelta.default}`);
    }
    assert.deepEqual(answers.simd.scores, answers.relaxed.scores, "both builds give the same bits");
  });
}

for (const name of ["SmolLM2-135M-Instruct.Q4_1", "gemma-3-270m-q4_k_m"]) {
  test(`${name} scores text with 8-bit keys and values hardly further from float32`, { timeout: 300_000 }, async (t) => {
    const { texts, meanAbsDelta } = fixtureJson(`score/${name}.json`);
    const parts = texts.filter(({ name: text }) => text !== "joined");
    const answers = await onBoth((page) =>
      scoreIn(page, `/models/${name}.gguf`, parts.map(({ text }) => text), { kvType: "q8_0" }),
    );
    const errors = parts.flatMap(({ logprobs }, i) => deltas(answers.relaxed.scores[i].logprobs, logprobs));
    // The bar is what llama.cpp has with f16 keys and values.
    report(t, `mean |Δ| ${mean(errors).toFixed(4)}, llama.cpp with f16 ${meanAbsDelta.default.toFixed(4)}`);
    assert.ok(mean(errors) <= meanAbsDelta.default, `mean |Δ| ${mean(errors)}`);
    assert.deepEqual(answers.simd.scores, answers.relaxed.scores, "both builds give the same bits");
  });
}

test("tiny decoders score as their float32 originals, isolated or not", { timeout: 180_000 }, async (t) => {
  const open = await openSite({ isolate: false });
  try {
    for (const name of DECODERS.flatMap((family) => [`${family}-0`, `${family}-1`])) {
      const { tokens, logprobs } = fixtureJson(`tiny/${name}.json`);
      const answers = await onBoth((page) => scoreIn(page, `/tiny/${name}.gguf`, [tokens]));
      const page = await browser.open(open);
      assert.equal(await page.evaluate(() => crossOriginIsolated), false);
      answers.open = await scoreIn(page, `/tiny/${name}.gguf`, [tokens]);
      await page.close();
      const [score] = answers.relaxed.scores;
      assert.deepEqual(score.tokens, tokens, "token ids are taken as given");
      const error = mean(deltas(score.logprobs, logprobs));
      report(t, `${name}: ${tokens.length} tokens, mean |Δ| ${error.toFixed(6)}`);
      assert.ok(error <= TINY_ERROR, `${name}: ${error}`);
      assert.deepEqual(answers.simd.scores, answers.relaxed.scores, `${name}: both builds give the same bits`);
      assert.deepEqual(answers.open.scores, answers.relaxed.scores, `${name}: the same bits without isolation`);
    }
  } finally {
    await open.close();
  }
});

test("8-bit weights give the same bits whatever the processor's dot product takes", { timeout: 60_000 }, async () => {
  const { keys, tensors } = parse(fixture("tiny/llama-0.gguf"));
  const weights = ({ dims }) => dims.length === 2 && dims[0] % 32 === 0;
  site.put("/q8.gguf", write({ keys, tensors: tensors.map((tensor) => (weights(tensor) ? roundedToQ8(tensor) : tensor)) }));
  const { tokens } = fixtureJson("tiny/llama-0.json");
  const answers = await onBoth((page) => scoreIn(page, "/q8.gguf", [tokens]));
  // V8 as on an x86 without AVX-VNNI: its dot product of more than 7 bits overflows there.
  const older = await openBrowser(["--js-flags=--no-enable-avx-vnni"]);
  try {
    answers.older = await scoreIn(await older.open(site), "/q8.gguf", [tokens]);
  } finally {
    await older.close();
  }
  assert.deepEqual(answers.older, answers.relaxed, "with and without AVX-VNNI");
  assert.deepEqual(answers.simd.scores, answers.relaxed.scores, "both builds give the same bits");
});

test("tiny encoders embed as their float32 originals", { timeout: 60_000 }, async (t) => {
  // The vocabulary of these models: after five control tokens, words of two letters.
  const word = (token) => String.fromCharCode(97 + ((token - 5) % 26), 97 + Math.floor((token - 5) / 26));
  for (const name of ["bert-0", "bert-1", "bert-2"]) {
    const { tokens, embedding } = fixtureJson(`tiny/${name}.json`);
    const text = tokens.slice(1, -1).map(word).join(" ");
    const answers = await onBoth((page) => embedIn(page, `/tiny/${name}.gguf`, [text], ["mean", "cls"], false));
    assert.deepEqual(answers.relaxed.tokens, [tokens]);
    for (const pooling of ["mean", "cls"]) {
      const agreement = cosine(answers.relaxed.vectors[pooling][0], embedding[pooling]);
      report(t, `${name} ${pooling}: cosine ${agreement.toFixed(7)}`);
      assert.ok(agreement >= TINY_COSINE, `${name} ${pooling}: ${agreement}`);
    }
    assert.deepEqual(answers.simd, answers.relaxed, `${name}: both builds give the same bits`);
  }
});

test("all-MiniLM-L6-v2 in Q8_0 embeds as its float32 original", { timeout: 120_000 }, async (t) => {
  const { texts } = fixtureJson("embed/all-MiniLM-L6-v2.json");
  const answers = await onBoth((page) =>
    embedIn(page, "/models/all-MiniLM-L6-v2.Q8_0.gguf", texts.map(({ text }) => text), ["default"], true),
  );
  const { vectors, tokens } = answers.relaxed;
  let worst = 1;
  for (const [i, { text, tokens: wanted, embedding }] of texts.entries()) {
    assert.deepEqual(tokens[i], wanted, `tokens of ${text}`);
    const vector = vectors.default[i];
    assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-4, "vectors have length 1");
    const agreement = cosine(vector, embedding);
    worst = Math.min(worst, agreement);
    assert.ok(agreement >= MINILM_COSINE, `${text}: ${agreement}`);
  }
  report(t, `${texts.length} texts, lowest cosine ${worst.toFixed(7)}`);
  assert.deepEqual(answers.simd, answers.relaxed, "both builds give the same bits");
});
