// AbortSignal at every stage: how long until the caller has its answer, and whether the model goes on.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { realModel } from "../site.mjs";
import { median, report, run } from "../harness.mjs";
import { browser, site } from "../stage.mjs";

const BAR = 150;
/**
 * Until a load's worker and helpers have gone. A call of the engine is not interrupted, and 30 ms lie between a helper's end
 * and its worker's: that takes 60 ms of a download and 160 of a warm-up, on a slower machine 200.
 */
const GONE = 300;
const TIMES = 5;
const SERIES = 3;
const URL_OF_MODEL = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

function judge(t, what, delays, bar = BAR) {
  const shown = delays.map((delay) => delay.toFixed(0)).join(" ");
  report(t, `${what}: ${shown} ms, median ${median(delays).toFixed(0)}`);
  assert.ok(median(delays) <= bar, `${what}: median of ${shown} ms`);
}

/** When the load's worker and its helpers have gone: Playwright misses the end of some that a worker started. */
async function workersGone() {
  while ((await browser.workers()) > 0) await delay(2);
  return Date.now();
}

/**
 * Aborts loads, and returns how many. What else runs on a machine of two cores only adds: a series that misses the bar is
 * measured again.
 */
async function abortLoads(t, what, ...load) {
  let series = await abortSeries(...load);
  let taken = 1;
  for (; taken < SERIES && median(series.gone) > GONE; taken++) {
    report(t, `${what}, worker gone, measured again: ${series.gone.map((delay) => delay.toFixed(0)).join(" ")} ms`);
    series = await abortSeries(...load);
  }
  judge(t, `${what}, answer`, series.delays);
  judge(t, `${what}, worker gone`, series.gone, GONE);
  return taken * TIMES;
}

async function abortSeries(page, url, phase, share) {
  const delays = [];
  const gone = [];
  for (let i = 0; i < TIMES; i++) {
    const { error, delay, at, later } = await run(
      page,
      async ({ load, failure }, { url, phase, share }) => {
        const controller = new AbortController();
        let at = 0;
        let later = 0;
        const loading = failure(
          load(url, {
            cache: false,
            signal: controller.signal,
            onProgress(progress) {
              if (at > 0) later++;
              if (at > 0 || progress.phase !== phase || progress.loaded < share * progress.total) return;
              at = performance.now();
              controller.abort();
            },
          }),
        );
        const error = await loading;
        const delay = performance.now() - at;
        return { error, delay, at: performance.timeOrigin + at, later };
      },
      { url, phase, share },
    );
    assert.ok(error.typed, error.message);
    assert.equal(error.code, "aborted");
    assert.equal(later, 0, "no progress is reported after the abort");
    delays.push(delay);
    gone.push((await workersGone()) - at);
  }
  return { delays, gone };
}

test("a download can be aborted, and its connection closes", { timeout: 60_000 }, async (t) => {
  const page = await browser.open(site);
  const bytes = realModel("SmolLM2-135M-Instruct.Q4_1.gguf");
  // One that flows, and one that stands still.
  const slow = site.put("/slow.gguf", bytes, { rate: 20e6, etag: '"slow"' });
  await abortLoads(t, "download that flows", page, slow, "download", 0.05);
  const stuck = site.put("/stuck.gguf", bytes, { rate: 40e6, hold: 8_000_000, etag: '"stuck"' });
  const loads = await abortLoads(t, "download that stands still", page, stuck, "download", 0.05);
  await Promise.all([...site.of("/slow.gguf"), ...site.of("/stuck.gguf")].map(({ closed }) => closed));
  assert.equal(site.of("/stuck.gguf").length, loads, "an aborted download is not tried again");
  await page.close();
});

test("a load can be aborted at any phase", { timeout: 120_000 }, async (t) => {
  const page = await browser.open(site);
  await abortLoads(t, "compile", page, URL_OF_MODEL, "compile", 0);
  await abortLoads(t, "bytes at full speed", page, URL_OF_MODEL, "download", 0.5);
  await abortLoads(t, "prepare", page, URL_OF_MODEL, "prepare", 0);
  await abortLoads(t, "warmup", page, URL_OF_MODEL, "warmup", 0);
  const tokens = await run(
    page,
    async ({ load }, { url }) => {
      const model = await load(url, { cache: false });
      const { tokens } = await model.generate("The sea is", { maxTokens: 3, temperature: 0 }).result;
      await model.close();
      return tokens;
    },
    { url: URL_OF_MODEL },
  );
  assert.equal(tokens.length, 3, "the next load works");
  await page.close();
});

test("a signal that has fired before is heeded", { timeout: 60_000 }, async () => {
  const page = await browser.open(site);
  const mark = site.requests.length;
  const errors = await run(page, async ({ load, failure }) => {
    const signal = AbortSignal.abort();
    const first = await failure(load("/tiny/llama-0.gguf", { signal }));
    const model = await load("/tiny/llama-0.gguf");
    const generation = model.generate("a", { signal });
    const errors = [
      first,
      await failure(generation.result),
      await failure(generation[Symbol.asyncIterator]().next()),
      await failure(model.score("ab", { signal })),
    ];
    await model.generate("a", { maxTokens: 1 }).result;
    await model.close();
    return errors;
  });
  assert.deepEqual(errors.map(({ code }) => code), ["aborted", "aborted", "aborted", "aborted"]);
  assert.equal(site.of("/tiny/llama-0.gguf", mark).length, 1, "nothing was downloaded for the first load");
  await page.close();
});

test("a long prompt, its score and a generation can be aborted, and the model goes on", { timeout: 240_000 }, async (t) => {
  const page = await browser.open(site);
  const seen = await run(
    page,
    async ({ load, failure }, { url, times }) => {
      const model = await load(url, { cache: false });
      const reference = await model.generate("The sea is", { maxTokens: 8, temperature: 0 }).result;
      const long = [];
      while (long.length < 1000) long.push(...(await model.tokenize("The ferry was late again, so Marta walked on. ")));
      const prompt = long.slice(0, 1000);
      const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const seen = { prefill: [], prefillStopped: [], score: [], decode: [], decodeStopped: [], next: [], answers: [] };

      const next = async () => {
        const begun = performance.now();
        const { tokens } = await model.generate("The sea is", { maxTokens: 8, temperature: 0 }).result;
        seen.next.push(performance.now() - begun);
        seen.answers.push(tokens);
      };
      const started = performance.now();
      await model.generate(prompt, { maxTokens: 1 }).result;
      seen.whole = performance.now() - started;

      for (let i = 0; i < times; i++) {
        // A prompt that differs from the start, lest it be remembered; stopped at different places.
        const mine = [...(await model.tokenize(`Story ${i}: `)), ...prompt].slice(0, 1000);
        const controller = new AbortController();
        const generation = model.generate(mine, { maxTokens: 5, signal: controller.signal });
        const reading = failure(generation[Symbol.asyncIterator]().next());
        await pause((seen.whole * (i + 1)) / (times + 2));
        const at = performance.now();
        controller.abort();
        const error = await reading;
        seen.prefill.push(performance.now() - at);
        const { finishReason, tokens } = await generation.result;
        seen.prefillStopped.push(performance.now() - at);
        if (error.code !== "aborted" || finishReason !== "abort" || tokens.length > 0) {
          throw new Error(`prefill: ${error.code} ${finishReason} ${tokens.length}`);
        }
        await next();
      }

      for (let i = 0; i < times; i++) {
        const controller = new AbortController();
        const scoring = failure(model.score(prompt.slice(i), { signal: controller.signal }));
        await pause((seen.whole * (i + 1)) / (times + 2));
        const at = performance.now();
        controller.abort();
        const { code } = await scoring;
        // The engine is free when the next request is answered, which is measured with it.
        seen.score.push(performance.now() - at);
        if (code !== "aborted") throw new Error(`score: ${code}`);
        await next();
      }

      for (let i = 0; i < times; i++) {
        const controller = new AbortController();
        const generation = model.generate("A long story:", {
          maxTokens: 1000,
          ignoreEos: true,
          seed: i,
          signal: controller.signal,
        });
        let text = "";
        let at = 0;
        let code;
        try {
          for await (const delta of generation) {
            text += delta;
            if (at === 0 && text.length > 40 + 20 * i) {
              at = performance.now();
              controller.abort();
            }
          }
        } catch (error) {
          code = error.code;
        }
        seen.decode.push(performance.now() - at);
        const result = await generation.result;
        seen.decodeStopped.push(performance.now() - at);
        if (code !== "aborted" || result.finishReason !== "abort" || !result.text.startsWith(text)) {
          throw new Error(`decode: ${code} ${result.finishReason} ${JSON.stringify([result.text, text])}`);
        }
        await next();
      }
      await model.close();
      return { ...seen, reference: reference.tokens };
    },
    { url: URL_OF_MODEL, times: TIMES },
  );
  report(t, `1,000 tokens of prompt take ${seen.whole.toFixed(0)} ms`);
  judge(t, "prefill, answer", seen.prefill);
  judge(t, "prefill, engine stopped", seen.prefillStopped);
  judge(t, "score, answer", seen.score);
  judge(t, "decode, answer", seen.decode);
  judge(t, "decode, engine stopped", seen.decodeStopped);
  report(t, `the next request, 8 tokens: ${seen.next.map((ms) => ms.toFixed(0)).join(" ")} ms`);
  for (const tokens of seen.answers) assert.deepEqual(tokens, seen.reference, "the next answer is as ever");
  await page.close();
});

test("embedding can be aborted, and the model goes on", { timeout: 60_000 }, async (t) => {
  const page = await browser.open(site);
  const delays = await run(
    page,
    async ({ load, failure }, { times }) => {
      const model = await load("/models/all-MiniLM-L6-v2.Q8_0.gguf", { cache: false });
      const texts = new Array(60).fill("A cat sleeps on the warm windowsill while rain falls outside. ".repeat(8));
      const before = await model.embed("A cat");
      const delays = [];
      for (let i = 0; i < times; i++) {
        const controller = new AbortController();
        const embedding = failure(model.embed(texts, { signal: controller.signal }));
        await new Promise((resolve) => setTimeout(resolve, 60 * (i + 1)));
        const at = performance.now();
        controller.abort();
        const { code } = await embedding;
        if (code !== "aborted") throw new Error(code);
        const after = await model.embed("A cat");
        // With the next vector, which the engine can begin only once it has stopped.
        delays.push(performance.now() - at);
        if (after.some((value, i) => value !== before[i])) throw new Error("the next vector differs");
      }
      await model.close();
      return delays;
    },
    { times: TIMES },
  );
  judge(t, "embed, next vector there", delays);
  await page.close();
});
