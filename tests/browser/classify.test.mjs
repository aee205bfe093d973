// Labels and values out of texts by a model that generates text, as a page that uses the API sees them.
// `LINES=240 node --test classify.test.mjs` classifies so many lines.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, report, run } from "./harness.mjs";
import { openSite } from "./site.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const LINES = Number(process.env.LINES ?? 48);

let site, browser, page;

before(async () => {
  site = await openSite({ mounts: { "/zod/": fileURLToPath(new URL("node_modules/zod", import.meta.url)) } });
  browser = await openBrowser();
  page = await browser.open(site);
  await run(page, async ({ load }, { url }) => void (globalThis.model = await load(url, { device: "wasm" })), { url: SMOLLM2 });
});

after(async () => {
  await browser?.close();
  await site?.close();
});

/** Support messages: `count` of them, as many of each class. */
function messages(split, count) {
  const [, ...lines] = readFileSync(new URL("../fixtures/classify/messages.tsv", import.meta.url), "utf8").trimEnd().split("\n");
  const all = lines.map((line) => line.split("\t")).filter(([own]) => own === split);
  const labels = [...new Set(all.map(([, label]) => label))].sort();
  const taken = labels.flatMap((label) => all.filter(([, own]) => own === label).slice(0, count / labels.length));
  return { labels, texts: taken.map(([, label, text]) => ({ label, text })) };
}

test("lines are told apart without examples, and better with some", { timeout: 240_000 }, async (t) => {
  const { labels, texts } = messages("test", LINES);
  const examples = messages("tune", 12).texts;
  const told = await run(
    page,
    async (_, { labels, texts, examples }) => {
      const told = [];
      for (const task of [{ labels }, { labels, examples }]) {
        const classifier = model.classifier(task);
        await classifier.classify("N/A");
        const start = performance.now();
        const scores = await classifier.classify(texts.map(({ text }) => text));
        told.push({ scores, seconds: (performance.now() - start) / 1000 });
      }
      return told;
    },
    { labels, texts, examples },
  );
  const majority = 1 / labels.length;
  const [zero, few] = told.map(({ scores, seconds }) => {
    for (const answer of scores) {
      assert.deepEqual(answer.map(({ label }) => label).sort(), labels);
      assert.ok(Math.abs(answer.reduce((sum, { score }) => sum + score, 0) - 1) < 1e-5);
      assert.ok(answer.every(({ score }, k) => k === 0 || score <= answer[k - 1].score));
    }
    const right = scores.filter(([best], index) => best.label === texts[index].label).length;
    return { accuracy: right / texts.length, rate: texts.length / seconds };
  });
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  report(t, `${texts.length} lines, ${labels.length} classes: ${percent(zero.accuracy)} right without examples, ${percent(few.accuracy)} with 12; ${percent(majority)} would be by always saying the same`);
  report(t, `${zero.rate.toFixed(1)} and ${few.rate.toFixed(1)} lines a second`);
  assert.ok(few.accuracy > 2 * majority && zero.accuracy > majority);
});

test("what several classifiers have in common with their last texts is kept, of each", { timeout: 60_000 }, async () => {
  const held = await run(page, async ({ load }) => {
    const model = await load("/tiny/llama-0.gguf", { device: "wasm" });
    const classifiers = ["ab", "cd"].map((instruction) => model.classifier({ labels: ["x", "y"], instruction: instruction.repeat(300) }));
    const held = [];
    for (const index of [0, 1, 0, 1]) {
      await classifiers[index].classify("z");
      held.push(model.info.memory.kv);
    }
    await model.close();
    return held;
  });
  assert.ok(held[1] > held[0], `${held}`);
  assert.deepEqual(held.slice(2), [held[1], held[1]]);
});

test("a label's score is what score() says of its tokens", { timeout: 120_000 }, async () => {
  const { plain, ours } = await run(page, async () => {
    const labels = ["praise", "technical problem", "no"];
    const ours = await model.classify("It crashes.", labels, { calibrate: false });
    const asked = "Which label fits the text best? Answer with the label only.\nLabels: praise, technical problem, no\n\nText: It crashes.";
    // The template of the model, written out.
    const system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
    const prompt = `<|im_start|>system\n${system}<|im_end|>\n<|im_start|>user\n${asked}<|im_end|>\n<|im_start|>assistant\n`;
    const begun = await model.tokenize(prompt, { special: true, bos: false });
    const sums = [];
    for (const label of labels) {
      const { logprobs } = await model.score([...begun, ...(await model.tokenize(label, { bos: false }))]);
      sums.push(logprobs.slice(begun.length).reduce((sum, logprob) => sum + logprob, 0));
    }
    const total = sums.reduce((sum, logprob) => sum + Math.exp(logprob), 0);
    return { plain: labels.map((label, k) => ({ label, score: Math.exp(sums[k]) / total })), ours };
  });
  for (const { label, score } of ours) {
    const want = plain.find((other) => other.label === label).score;
    assert.ok(Math.abs(Math.log(score / want)) < 1e-3, `${label}: ${score}, not ${want}`);
  }
});

test("values come out of a text as the schema has them, and what cannot be is refused", { timeout: 120_000 }, async (t) => {
  const outcomes = await run(page, async () => {
    const code = (promise) => promise.then(() => "fine", (error) => error.code);
    const text = { type: "string", maxLength: 30 };
    const schema = {
      type: "object",
      properties: { name: text, city: text, age: { type: "integer", minimum: 0, maximum: 130 } },
      required: ["name", "city", "age"],
      additionalProperties: false,
    };
    const value = await model.extract("Anna is 34 years old and lives in Paris.", schema);
    const { z } = await import("/zod/index.js");
    const person = z.object({ name: z.string().max(30), age: z.int().min(0).max(130).transform((age) => `${age} years`) });
    const typed = await model.extract("Anna is 34 years old and lives in Paris.", person);
    const dated = await code(model.extract("x", z.object({ on: z.date() })));
    const refused = [{ type: "integer", minimum: 3, maximum: 2 }, { type: "string", pattern: "(?=a)b" }, { $ref: "https://example.org/" }, { type: "sum" }];
    const codes = [];
    for (const schema of refused) codes.push(await code(model.extract("x", schema)));
    const cut = await code(model.extract("x", { type: "array", items: { type: "integer" }, minItems: 400 }, { maxTokens: 8 }));
    const several = await model.classify("I was charged twice, and the app crashes.", ["billing", "technical problem", "praise"], { multiLabel: true });
    const long = await code(model.classify(["short", "word ".repeat(9000)], ["a", "b"]));
    const { logprobs, tokens } = await model.generate("The sky is", { maxTokens: 5, temperature: 0, logprobs: 3 }).result;
    return { value, typed, dated, codes, cut, several, long, logprobs, tokens, after: await code(model.generate("x", { maxTokens: 1 }).result) };
  });
  report(t, JSON.stringify(outcomes.value));
  assert.equal(outcomes.value.age, 34);
  assert.equal(outcomes.typed.age, "34 years", "the value is the library's");
  assert.equal(outcomes.dated, "invalid-argument");
  assert.deepEqual(Object.keys(outcomes.value), ["name", "city", "age"]);
  assert.deepEqual(outcomes.codes, ["constraint-unsatisfiable", "invalid-argument", "invalid-argument", "invalid-argument"]);
  assert.equal(outcomes.cut, "context-overflow");
  assert.equal(outcomes.long, "context-overflow");
  assert.equal(outcomes.after, "fine");
  assert.ok(outcomes.several.length === 3 && outcomes.several.every(({ score }) => score > 0 && score < 1));
  report(t, JSON.stringify(outcomes.several));
  assert.equal(outcomes.logprobs.length, 5);
  for (const [k, { token, logprob, top, text }] of outcomes.logprobs.entries()) {
    assert.equal(token, outcomes.tokens[k]);
    // Greedy: it is the first.
    assert.deepEqual(top[0], { token, text, logprob });
    assert.ok(top.length === 3 && top[0].logprob >= top[1].logprob && logprob <= 0);
  }
});

test("long texts are read in chunks if they may be", { timeout: 60_000 }, async () => {
  const { scores, code } = await run(page, async ({ load }) => {
    const tiny = await load("/tiny/llama-0.gguf", { device: "wasm", contextLength: 200 });
    const classifier = tiny.classifier({ labels: ["a", "b"], instruction: "Which?", long: "chunk" });
    const scores = await classifier.classify(["a b ".repeat(150), "a b"]);
    const code = await tiny.classify("a b ".repeat(150), ["a", "b"], { instruction: "Which?" }).catch(({ code }) => code);
    await tiny.close();
    return { scores, code };
  });
  assert.equal(code, "context-overflow");
  for (const [best, other] of scores) assert.ok(best.score >= other.score && Math.abs(best.score + other.score - 1) < 1e-6);
});
