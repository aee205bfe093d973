// Characters of several tokens, and stop texts across them, by a model that says one sentence for ever.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parse, write } from "./gguf.mjs";
import { fixture, openSite } from "./site.mjs";
import { openBrowser, report, run } from "./harness.mjs";

// In UTF-8 no byte occurs twice, so that each has one successor.
const SENTENCE = "🦜éあอz";

let site, browser, page, bytes;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
  page = await browser.open(site);
  // The tiny models' vocabulary has a token for each byte.
  bytes = await run(page, async ({ load }, { sentence }) => {
    const model = await load("/tiny/llama-0.gguf");
    const tokens = await model.tokenize(sentence);
    await model.close();
    return tokens;
  }, { sentence: SENTENCE });
  assert.equal(bytes.length, Buffer.byteLength(SENTENCE));
  assert.equal(new Set(bytes).size, bytes.length);
  site.put("/parrot.gguf", parrot(bytes));
}, { timeout: 30_000 });

after(async () => {
  await browser?.close();
  await site?.close();
});

/** A model in which each of the tokens follows the one before it, whatever came earlier. */
function parrot(tokens) {
  const { keys, tensors } = parse(fixture("tiny/llama-0.gguf"));
  const [width, vocabulary] = tensors.find(({ name }) => name === "token_embd.weight").dims;
  // Vectors of ±1 that have little in common.
  let state = 1;
  const sign = () => ((state = (state * 48271) % 0x7fffffff) & 64 ? 1 : -1);
  const embeddings = Float32Array.from({ length: width * vocabulary }, sign);
  const output = new Float32Array(width * vocabulary);
  tokens.forEach((token, i) => {
    const next = tokens[(i + 1) % tokens.length];
    output.set(embeddings.subarray(token * width, (token + 1) * width), next * width);
  });
  const changed = tensors.map((tensor) => {
    const { name, data } = tensor;
    if (name === "token_embd.weight") return { ...tensor, data: Buffer.from(embeddings.buffer) };
    if (name === "output_norm.weight") return { ...tensor, data: Buffer.from(new Float32Array(width).fill(1).buffer) };
    // What these add to a token's vector is nothing.
    if (/attn_output|ffn_down/.test(name)) return { ...tensor, data: Buffer.alloc(data.length) };
    return tensor;
  });
  const matrix = { name: "output.weight", dims: [width, vocabulary], type: 0, data: Buffer.from(output.buffer) };
  return write({ keys, tensors: [...changed.filter(({ name }) => name !== matrix.name), matrix] });
}

/** What the model says after its own sentence. */
function said(options) {
  return run(
    page,
    async ({ load, deltas }, { bytes, options }) => {
      const model = await load("/parrot.gguf");
      const generation = model.generate(bytes, { temperature: 0, ...options });
      const texts = await deltas(generation);
      const result = await generation.result;
      await model.close();
      return { texts, ...result };
    },
    { bytes, options },
  );
}

test("deltas are whole characters, however many tokens each takes", { timeout: 30_000 }, async (t) => {
  const { texts, text, tokens } = await said({ maxTokens: 4 * bytes.length });
  report(t, JSON.stringify(texts));
  assert.equal(tokens.length, 4 * bytes.length);
  assert.equal(text, SENTENCE.repeat(4));
  assert.equal(texts.join(""), text);
  const characters = new Set(SENTENCE);
  for (const delta of texts) {
    assert.ok(delta.length > 0);
    for (const character of delta) assert.ok(characters.has(character), JSON.stringify(delta));
  }
});

test("a generation cut inside of a character ends before it, or marks it", { timeout: 60_000 }, async () => {
  for (let cut = 1; cut <= bytes.length; cut++) {
    const { texts, text, tokens, finishReason } = await said({ maxTokens: cut });
    assert.deepEqual([tokens.length, finishReason], [cut, "length"]);
    assert.equal(texts.join(""), text);
    const whole = Buffer.from(SENTENCE).subarray(0, cut).toString("utf8").replace(/\ufffd+$/, "");
    assert.ok(text === whole || text.replace(/\ufffd+$/, "") === whole, `${cut} tokens: ${JSON.stringify(text)}`);
  }
});

test("a stop text ends at any token, and no part of it is shown", { timeout: 60_000 }, async () => {
  for (const stop of ["🦜", "é", "z🦜", "éあอ", "あ", `อz${SENTENCE}`]) {
    const { texts, text, finishReason, stop: by } = await said({ maxTokens: 60, stop: ["never", stop] });
    assert.deepEqual([finishReason, by], ["stop", stop]);
    const all = SENTENCE.repeat(5);
    assert.equal(text, all.slice(0, all.indexOf(stop)), stop);
    assert.equal(texts.join(""), text);
  }
  // One that begins like what comes, and is not it, holds nothing back for good.
  const { text, finishReason } = await said({ maxTokens: bytes.length, stop: [`${SENTENCE}?`, "é?"] });
  assert.deepEqual([text, finishReason], [SENTENCE, "length"]);
});
