// Generating, as a page that uses the API sees it.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { fixtureJson } from "../site.mjs";
import { report, run, VARIANTS } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

const SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1";
const GEMMA = "gemma-3-270m-q4_k_m";
// Logits closer than this are a tie: quantized activations decide it. llama.cpp's own largest is 0.18.
const TIE = 0.35;

/** A page that keeps a model as `globalThis.model`. */
async function pageWith(name, options) {
  const page = await browser.open(site, options);
  await run(
    page,
    async ({ load }, { url }) => {
      globalThis.model = await load(url);
    },
    { url: `/models/${name}.gguf` },
  );
  return page;
}

for (const name of [SMOLLM2, GEMMA]) {
  test(`${name}, greedy, is float32's continuation up to ties`, { timeout: 240_000 }, async (t) => {
    const { greedy } = fixtureJson(`score/${name}.json`);
    const answers = {};
    for (const variant of Object.keys(VARIANTS)) {
      const page = await pageWith(name, { variant });
      // Where a tie fell the other way, the reference's own text is taken up again behind it.
      answers[variant] = await run(
        page,
        async (_, { greedy }) => {
          const all = [];
          for (const { prompt, tokens, continuation } of greedy) {
            const differing = [];
            let done = 0;
            let first;
            while (done < continuation.length) {
              const input = done === 0 ? prompt : [...tokens, ...continuation.slice(0, done)];
              const options = { temperature: 0, maxTokens: continuation.length - done, ignoreEos: true };
              const { tokens: got, usage } = await model.generate(input, options).result;
              first ??= usage;
              const same = got.findIndex((token, i) => token !== continuation[done + i]);
              if (same < 0) {
                done += got.length;
                break;
              }
              differing.push({ at: done + same, token: got[same] });
              done += same + 1;
            }
            all.push({ differing, done, promptTokens: first.promptTokens });
          }
          return all;
        },
        { greedy },
      );
      await page.close();
      for (const [i, { prompt, tokens, continuation, margins, runnersUp, llamaCpp }] of greedy.entries()) {
        const { differing, done, promptTokens } = answers[variant][i];
        assert.equal(promptTokens, tokens.length, "tokens of the prompt");
        assert.equal(done, continuation.length);
        report(
          t,
          `${variant} ${JSON.stringify(prompt.slice(0, 24))}: ${differing.length} of ${continuation.length} differ` +
            ` (margins ${differing.map(({ at }) => margins[at]).join(" ") || "none"}), llama.cpp ${llamaCpp.differs}`,
        );
        for (const { at, token } of differing) {
          assert.ok(margins[at] <= TIE, `token ${at} is ${token}, not ${continuation[at]}, at a margin of ${margins[at]}`);
          assert.equal(token, runnersUp[at], `token ${at} is the second best`);
        }
      }
    }
    assert.deepEqual(answers.simd, answers.relaxed, "both builds generate the same tokens");
  });
}

test("two models on one page do not disturb each other", { timeout: 60_000 }, async () => {
  const page = await browser.open(site);
  const { alone, together } = await run(page, async ({ load }, { tokens }) => {
    const models = await Promise.all(["/tiny/llama-0.gguf", "/tiny/gemma3-0.gguf"].map((url) => load(url)));
    const ask = (model) => model.generate(tokens, { maxTokens: 40, temperature: 0, ignoreEos: true }).result;
    const alone = [];
    for (const model of models) alone.push((await ask(model)).tokens);
    const together = (await Promise.all(models.map(ask))).map(({ tokens }) => tokens);
    await models[0].close();
    together.push((await ask(models[1])).tokens);
    await models[1].close();
    return { alone, together };
  }, { tokens: fixtureJson("tiny/llama-0.json").tokens.slice(0, 40) });
  assert.notDeepEqual(alone[0], alone[1]);
  assert.deepEqual(together, [...alone, alone[1]]);
  await page.close();
});

describe("a loaded model", () => {
  let page;

  before(async () => {
    page = await pageWith(SMOLLM2);
  }, { timeout: 60_000 });

  const check = (name, body) => test(name, { timeout: 60_000 }, (t) => body(t));

  check("streams deltas that make up the text", async (t) => {
    const seen = await run(page, async ({ deltas }) => {
      const results = [];
      for (const prompt of ["🦜🎉 The parrots", "ภาษาไทย ", "こんにちは", "def main():\n"]) {
        for (const seed of [1, 2]) {
          const generation = model.generate(prompt, { maxTokens: 30, temperature: 1, seed, ignoreEos: true });
          const texts = await deltas(generation);
          const { text, tokens } = await generation.result;
          results.push({ texts, text, tokens, whole: await model.detokenize(tokens) });
        }
      }
      return results;
    });
    const lone = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
    for (const { texts, text, tokens, whole } of seen) {
      assert.equal(texts.join(""), text);
      assert.equal(tokens.length, 30);
      for (const delta of texts) assert.ok(delta.length > 0 && !lone.test(delta), JSON.stringify(delta));
      // Only a character that the last token left unfinished may be told in another way.
      assert.ok(whole.startsWith(text.replace(/\ufffd+$/, "")), JSON.stringify([text, whole]));
    }
    report(t, `${seen.length} generations, ${seen.reduce((n, { texts }) => n + texts.length, 0)} deltas`);
  });

  check("streams as it goes, not at the end", async (t) => {
    const { times, count } = await run(page, async () => {
      const times = [];
      const generation = model.generate("One day, a fox", { maxTokens: 40, temperature: 0, ignoreEos: true });
      for await (const _ of generation) times.push(performance.now());
      return { times, count: (await generation.result).usage.completionTokens };
    });
    assert.equal(count, 40);
    assert.ok(times.length >= 5, `${times.length} deltas`);
    report(t, `${times.length} deltas over ${Math.round(times.at(-1) - times[0])} ms`);
    assert.ok(times.at(-1) - times[0] > 50, "deltas are spread over the time of the generation");
  });

  check("stops at a text across tokens, and never shows a part of it", async () => {
    const { free, stopped, texts } = await run(page, async ({ deltas }) => {
      const options = { temperature: 0, maxTokens: 40, ignoreEos: true };
      const free = await model.generate("Once upon a time, in a village by the sea,", options).result;
      // Begins and ends in the middle of words.
      const stop = free.text.slice(21, 32);
      const generation = model.generate("Once upon a time, in a village by the sea,", { ...options, stop: ["@@@", stop] });
      const texts = await deltas(generation);
      return { free: { ...free, cut: stop }, stopped: await generation.result, texts };
    });
    assert.equal(stopped.finishReason, "stop");
    assert.equal(stopped.stop, free.cut);
    assert.equal(stopped.text, free.text.slice(0, free.text.indexOf(free.cut)));
    assert.equal(texts.join(""), stopped.text);
    assert.ok(stopped.tokens.length < free.tokens.length);
  });

  check("says why it ended: length, and the model's own end", async () => {
    const { length, none, end } = await run(page, async () => {
      const prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";
      const tokens = await model.tokenize(prompt, { special: true });
      return {
        length: await model.generate("The sea", { maxTokens: 7, temperature: 0 }).result,
        none: await model.generate("The sea", { maxTokens: 0 }).result,
        end: await model.generate(tokens, { maxTokens: 200, temperature: 0 }).result,
      };
    });
    assert.deepEqual([length.finishReason, length.usage.completionTokens, length.tokens.length], ["length", 7, 7]);
    assert.deepEqual([none.finishReason, none.text, none.tokens], ["length", "", []]);
    assert.equal(end.finishReason, "stop", end.text);
    assert.ok(!end.text.includes("<|im_end|>"), end.text);
    assert.match(end.text, /Paris/);
    for (const value of Object.values(end.timings)) assert.ok(Number.isFinite(value) && value >= 0, JSON.stringify(end.timings));
  });

  check("repeats itself with the same seed only", async () => {
    const texts = await run(page, async () => {
      const sample = (seed) =>
        model.generate("My favourite colour is", { maxTokens: 24, temperature: 1.2, topK: 0, topP: 1, seed }).result;
      return [(await sample(1)).text, (await sample(1)).text, (await sample(2)).text];
    });
    assert.equal(texts[0], texts[1]);
    assert.notEqual(texts[0], texts[2]);
  });

  check("tells its events, and is a stream too", async () => {
    const { events, streamed, late, result } = await run(page, async ({ deltas }) => {
      const options = { maxTokens: 12, temperature: 0 };
      const generation = model.generate("The sea is", options);
      const events = [];
      for await (const event of generation.events()) events.push(event);
      let streamed = "";
      const reader = model.generate("The sea is", options).toReadableStream().getReader();
      for (let next = await reader.read(); !next.done; next = await reader.read()) streamed += next.value;
      return { events, streamed, late: (await deltas(generation)).join(""), result: await generation.result };
    });
    assert.deepEqual(new Set(events.map(({ type }) => type)), new Set(["text", "token", "finish"]));
    assert.equal(events.at(-1).type, "finish");
    assert.equal(events.at(-1).finishReason, "length");
    assert.equal(events.filter(({ type }) => type === "text").map(({ text }) => text).join(""), result.text);
    assert.equal(events.filter(({ type }) => type === "token").length, 12);
    assert.equal(streamed, result.text);
    assert.equal(late, result.text, "a reader that comes late sees all of it");
    assert.deepEqual([result.toolCalls, result.reasoning], [[], ""]);
  });

  check("stops when its reader leaves the loop", async (t) => {
    const { result, waited, next } = await run(page, async () => {
      const generation = model.generate("A very long story:", { maxTokens: 400, temperature: 0, ignoreEos: true });
      let left;
      for await (const _ of generation) {
        left = performance.now();
        break;
      }
      const result = await generation.result;
      const waited = performance.now() - left;
      const next = await model.generate("The sea is", { maxTokens: 3, temperature: 0 }).result;
      return { result, waited, next };
    });
    report(t, `stopped after ${Math.round(waited)} ms, ${result.tokens.length} tokens`);
    assert.equal(result.finishReason, "abort");
    assert.ok(result.tokens.length < 100, `${result.tokens.length} tokens`);
    assert.equal(next.tokens.length, 3);
  });

  check("serves several generations in turn, each as if it were alone", async () => {
    const { alone, queued, order } = await run(page, async () => {
      const prompts = ["The sea is", "def main():", "Le pain est", "1, 2, 3,"];
      const options = { maxTokens: 10, temperature: 0 };
      const alone = [];
      for (const prompt of prompts) alone.push((await model.generate(prompt, options).result).tokens);
      const order = [];
      const running = prompts.map((prompt, i) =>
        model.generate(prompt, options).result.then(({ tokens }) => (order.push(i), tokens)),
      );
      const [score] = await Promise.all([model.score("The sea is blue."), ...running]);
      return { alone, queued: await Promise.all(running), order, score };
    });
    assert.deepEqual(queued, alone);
    assert.deepEqual(order, [0, 1, 2, 3]);
  });

  check("splits and joins text without loss, and counts it", async () => {
    const texts = [
      "",
      " ",
      "The quick brown fox\n\n\tjumps   over 1234567890 lazy dogs.",
      "🦜 👩‍👩‍👧‍👦 こんにちは世界 ภาษาไทย العربية עברית ñ é e\u0301",
      "control look-alikes: <|im_start|>user <|im_end|> <s> </s> [CLS]",
      "const f = (x) => ({ ...x, y: `${x}\\n` });",
    ];
    const seen = await run(
      page,
      async (_, { texts }) => {
        const seen = [];
        for (const text of texts) {
          const tokens = await model.tokenize(text);
          const joined = await model.detokenize(tokens);
          seen.push({ tokens, joined, count: await model.countTokens(text) });
        }
        return { seen, special: await model.tokenize("<|im_start|>", { special: true }) };
      },
      { texts },
    );
    for (const [i, { tokens, joined, count }] of seen.seen.entries()) {
      assert.equal(joined, texts[i]);
      assert.equal(count, tokens.length);
    }
    assert.equal(seen.special.length, 1);
    assert.ok(!seen.seen[4].tokens.includes(seen.special[0]), "control tokens in a text stay text");
  });

  check("refuses what it cannot do, and answers the next request", async () => {
    const { errors, next } = await run(page, async ({ failure }) => {
      const limit = model.info.contextLength;
      const long = new Array(limit + 1).fill(100);
      const errors = {
        unknown: await failure(model.generate("a", { tempurature: 1 }).result),
        range: await failure(model.generate("a", { temperature: -1 }).result),
        topP: await failure(model.generate("a", { topP: 7 }).result),
        vocabulary: await failure(model.generate([model.info.vocabSize], { maxTokens: 1 }).result),
        overflow: await failure(model.generate(long, { maxTokens: 1 }).result),
        scoreOverflow: await failure(model.score(long)),
        detokenize: await failure(model.detokenize([model.info.vocabSize])),
        empty: await failure(model.generate([], { maxTokens: 1 }).result),
      };
      const next = await model.generate("The sea is", { maxTokens: 3, temperature: 0 }).result;
      return { errors, next };
    });
    for (const [what, { typed, code, message }] of Object.entries(errors)) {
      const wanted = /overflow/i.test(what) ? "context-overflow" : "invalid-argument";
      assert.ok(typed, `${what}: ${message}`);
      assert.equal(code, wanted, `${what}: ${message}`);
    }
    assert.equal(errors.unknown.details.option, "tempurature");
    assert.equal(next.tokens.length, 3);
  });

  check("fails everything with closed once it is closed", async () => {
    const errors = await run(page, async ({ failure, begun }) => {
      const running = model.generate("A long story:", { maxTokens: 500, ignoreEos: true });
      await begun(running);
      const pending = failure(running.result);
      await model.close();
      await model.close();
      return [
        await pending,
        await failure(model.generate("a").result),
        await failure(model.score("a")),
        await failure(model.tokenize("a")),
      ];
    });
    assert.deepEqual(errors.map(({ code }) => code), ["closed", "closed", "closed", "closed"]);
    assert.deepEqual(page.problems, []);
    await page.close();
  });
});
