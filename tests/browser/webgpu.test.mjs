// Models on WebGPU, on Chromium's software adapter: what they say, and what of them stays in the engine's memory.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fixtureJson, openSite } from "./site.mjs";
import { DISGUISE, inWorker, MB, MEASURED, openBrowser, report, run } from "./harness.mjs";

const SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1";
const GEMMA = "gemma-3-270m-q4_k_m";
/** Mean |Δ log-probability| against float32, with activations in f32 and keys and values in 16 bits. */
const ERROR = 0.01;
/** By how much the engine's memory may grow while a model is loaded: its tokenizer, its vectors and a chunk. */
const HEAP = 32 * MB;

let site, browser, page;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
  page = await browser.open(site);
});

after(async () => {
  await browser?.close();
  await site?.close();
});

const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

/** The mean |Δ| of the first tokens of a text. */
const errorOf = (logprobs, text) => mean(logprobs.slice(1).map((value, i) => Math.abs(value - text.logprobs[i + 1])));

/** What every adapter has: Gemma's table of tokens, of 178 MB, is larger than what a kernel sees then. */
const USUAL = { maxBufferSize: 256 << 20, maxStorageBufferBindingSize: 128 << 20 };
const LIMITED = Object.entries(USUAL)
  .map(([name, most]) => `Object.defineProperty(GPUSupportedLimits.prototype, "${name}", { get: () => ${most} });`)
  .join("\n");

/** Tells of the buffers that are made. */
const WATCHED = `{
  const { createBuffer } = GPUDevice.prototype;
  const channel = new BroadcastChannel("buffers");
  GPUDevice.prototype.createBuffer = function (of) {
    channel.postMessage(of.size);
    return createBuffer.call(this, of);
  };
}`;

// A software adapter is slow, above all in Gemma's head: a quarter of a million outputs for each token.
for (const [model, count, script] of [[SMOLLM2, 64, ""], [GEMMA, 24, LIMITED]]) {
  test(`${model} scores text as float32 does${script && ", its table split for want of large buffers"}`, { timeout: 300_000 }, async (t) => {
    const { texts } = fixtureJson(`score/${model}.json`);
    const own = await browser.open(site);
    await inWorker(own, `${WATCHED}\n${script}`);
    const { logprobs, device, largest } = await run(
      own,
      async ({ load }, { url, tokens }) => {
        let largest = 0;
        const channel = new BroadcastChannel("buffers");
        channel.onmessage = ({ data }) => (largest = Math.max(largest, data));
        const model = await load(url, { device: "webgpu" });
        const { logprobs } = await model.score(tokens);
        const { device } = model.info;
        await model.close();
        return { logprobs, device, largest };
      },
      { url: `/models/${model}.gguf`, tokens: texts[0].tokens.slice(0, count) },
    );
    await own.close();
    assert.equal(device.kind, "webgpu");
    assert.equal(logprobs.length, count);
    const error = errorOf(logprobs, texts[0]);
    report(t, `${texts[0].name}, ${count} tokens: mean |Δ| ${error.toFixed(5)}; the largest buffer has ${(largest / MB).toFixed(0)} MB`);
    assert.ok(error <= ERROR, `mean |Δ| ${error}`);
    if (script) assert.ok(largest <= USUAL.maxStorageBufferBindingSize, `${largest}`);
  });
}

/**
 * Families that need, between them, every kernel of decoders but formats and the choice of a token. Those of encoders are
 * needed by `encoders.test.mjs`. What scores are off by grows with keys of 8 bits.
 */
const FAMILIES = [
  ["llama-0", "interleaved pairs, SiLU"],
  ["llama-0", "keys and values of 8 bits", { kvType: "q8_0" }, 0.01],
  ["gemma3-0", "windows, norms of heads and before residuals, GELU"],
  ["gemma2-0", "capped scores and logits"],
  ["gemma4-0", "keys that layers share, activations, factors"],
  ["phi3-0", "some rows of a tensor"],
  ["qwen35-0", "convolutions, the delta rule, parts, gates of a sigmoid"],
];

test("tiny models of all families answer as their float32 originals", { timeout: 120_000 }, async (t) => {
  for (const [name, kernels, options = {}, most = 0.002] of FAMILIES) {
    const { tokens, logprobs } = fixtureJson(`tiny/${name}.json`);
    const began = performance.now();
    const { scored, answered } = await run(
      page,
      async ({ load }, { url, tokens, options }) => {
        const model = await load(url, { device: "webgpu", ...options });
        const scored = (await model.score(tokens)).logprobs;
        // Steps of one row have kernels of their own.
        const prompt = tokens.slice(0, 20);
        const said = await model.generate(prompt, { temperature: 0, maxTokens: 6, ignoreEos: true, logprobs: 1 }).result;
        const again = await model.score([...prompt, ...said.tokens]);
        const answered = said.logprobs.map(({ logprob }, i) => Math.abs(logprob - again.logprobs[prompt.length + i]));
        await model.close();
        return { scored, answered };
      },
      { url: `/tiny/${name}.gguf`, tokens, options },
    );
    const [error, apart] = [errorOf(scored, { logprobs }), mean(answered)];
    report(t, `${name} (${kernels}): mean |Δ| ${error.toFixed(5)}, one by one ${apart.toFixed(5)}, ${((performance.now() - began) / 1000).toFixed(1)} s`);
    assert.ok(error <= most, `${name}: ${error}`);
    assert.equal(answered.length, 6);
    assert.ok(apart <= most, `${name}, one by one: ${apart}`);
  }
});

test("SmolLM2 generates, the same as on wasm, and can be stopped", { timeout: 180_000 }, async (t) => {
  const seen = await run(
    page,
    async ({ load, failure }, { url }) => {
      const answers = {};
      for (const device of ["webgpu", "wasm"]) {
        const model = await load(url, { device });
        const run = model.generate("The capital of France is", { temperature: 0, maxTokens: 4 });
        let text = "";
        for await (const delta of run) text += delta;
        const { timings, finishReason } = await run.result;
        const controller = new AbortController();
        const stopped = model.generate("Once upon a time", { temperature: 0, maxTokens: 500, signal: controller.signal });
        const { code: end } = await failure(
          (async () => {
            for await (const _ of stopped) controller.abort();
          })(),
        );
        const again = model.generate("The capital of France is", { temperature: 0, maxTokens: 4 });
        let repeated = "";
        for await (const delta of again) repeated += delta;
        answers[device] = { text, repeated, finishReason, end, timings, info: model.info };
        await model.close();
      }
      return answers;
    },
    { url: `/models/${SMOLLM2}.gguf` },
  );
  const { webgpu, wasm } = seen;
  report(t, `${webgpu.info.device.description}: ${JSON.stringify(webgpu.text)}, ${webgpu.timings.tokensPerSecond.toFixed(1)} tokens/s on a software adapter`);
  assert.equal(webgpu.info.device.kind, "webgpu");
  assert.equal(webgpu.finishReason, "length");
  assert.equal(webgpu.text, wasm.text);
  assert.equal(webgpu.repeated, webgpu.text, "an answer that was stopped leaves nothing behind");
  assert.deepEqual([webgpu.end, wasm.end], ["aborted", "aborted"]);
});

/** Bytes that are neither weights nor what the page is told: what weights pass through on their way, and a self-test. */
const PASSING = 10 * MB;

test("weights lie on the GPU and not in the engine's memory, and all that is taken is told", { timeout: 180_000 }, async (t) => {
  const [text] = fixtureJson(`score/${GEMMA}.json`).texts;
  const measured = await browser.open(site);
  await inWorker(measured, MEASURED);
  const [small, large] = await run(
    measured,
    async ({ load }, { addresses, tokens }) => {
      const channel = new BroadcastChannel("memory");
      const rows = [];
      for (const address of addresses) {
        const model = await load(address, { device: "webgpu" });
        const told = new Promise((resolve) => (channel.onmessage = ({ data }) => resolve(data)));
        channel.postMessage("measure");
        const row = { ...(await told), ...model.info.memory };
        const { logprobs } = await model.score(address === addresses[1] ? tokens : [1, 2]);
        rows.push({ ...row, logprobs });
        await model.close();
      }
      return rows;
    },
    { addresses: ["/tiny/gemma3-0.gguf", `/models/${GEMMA}.gguf`], tokens: text.tokens.slice(0, 5) },
  );
  const { heap, made, weights, kv, peak, logprobs } = large;
  // The table in one piece.
  const error = errorOf(logprobs, text);
  const shown = (bytes) => `${(bytes / MB).toFixed(1)} MB`;
  report(t, `memory grew by ${shown(heap - small.heap)}; weights ${shown(weights)}, kv ${shown(kv)}, at most ${shown(peak)}; made on the GPU ${shown(made)}; mean |Δ| ${error.toFixed(5)}`);
  assert.ok(error <= ERROR, `mean |Δ| ${error}`);
  assert.ok(weights > 200 * MB);
  assert.ok(heap - small.heap <= HEAP, `${heap - small.heap} bytes`);
  assert.ok(Math.abs(peak - heap - (made - PASSING)) <= 0.05 * made, `${peak - heap} of ${made}`);
  await measured.close();
});

test("where there is no adapter, the load fails with the reason", { timeout: 60_000 }, async () => {
  const bare = await browser.open(site);
  await inWorker(bare, "GPU.prototype.requestAdapter = async () => null;");
  const refused = await run(bare, async ({ load, failure }) => failure(load("/tiny/llama-0.gguf", { device: "webgpu" })));
  assert.deepEqual([refused.typed, refused.code], [true, "unsupported-device"], refused.message);
  assert.match(refused.message, /adapter/);
  await bare.close();
});

/**
 * How a tiny model fares on a page whose workers run `script` first, with each of `devices`. A disguised adapter is tested as
 * a card is, whose kernels take SwiftShader ten seconds to compile.
 */
async function tryDevices(script, { from = site, devices = ["auto", "webgpu"], options = {} } = {}) {
  const page = await browser.open(from);
  await inWorker(page, script);
  // The page looks at the adapter as well.
  if (script.startsWith(DISGUISE)) await page.evaluate(DISGUISE);
  const tried = await run(
    page,
    async ({ load, probe }, { devices, options }) => {
      const tried = {};
      for (const device of devices) {
        try {
          const model = await load("/tiny/llama-0.gguf", { device, autotune: false, ...options });
          const { text } = await model.generate("ab", { temperature: 0, maxTokens: 8 }).result;
          tried[device] = { text, ...model.info };
          await model.close();
        } catch ({ name, code, message }) {
          tried[device] = { name, code, message };
        }
      }
      return { ...tried, said: await probe() };
    },
    { devices, options },
  );
  assert.deepEqual(page.problems, []);
  await page.close();
  return tried;
}

test("auto does without a software adapter and says why; it takes a GPU", { timeout: 240_000 }, async (t) => {
  const plain = await tryDevices("");
  report(t, plain.auto.notices.join("; "));
  assert.deepEqual([plain.auto.device.kind, plain.webgpu.device.kind], ["wasm", "webgpu"]);
  assert.deepEqual([plain.auto.notices.length, plain.webgpu.notices], [1, []]);
  assert.match(plain.auto.notices[0], /^WebGPU is not used: .*program.*swiftshader/i);
  for (const isolate of [true, false]) {
    const from = await openSite({ isolate });
    const { auto } = await tryDevices(DISGUISE, { from, devices: ["auto"] });
    await from.close();
    assert.deepEqual([auto.device.kind, auto.notices, auto.device.threads], ["webgpu", [], 1]);
    assert.equal(auto.device.description, "WebGPU, acme anvil");
    assert.equal(auto.text, plain.webgpu.text);
  }
  assert.ok(plain.webgpu.device.features.includes("subgroups"), "of the GPU");
  assert.ok(plain.auto.device.features.includes("simd128"), "of WebAssembly");
  const { auto } = await tryDevices(DISGUISE, { devices: ["auto"], options: { threads: 1 } });
  assert.deepEqual([auto.device.kind, auto.notices], ["wasm", []], "who asks for threads asks for the processor");
});

test("a GPU that computes wrongly, is slow or too small is refused, and auto does without it", { timeout: 240_000 }, async (t) => {
  const cases = {
    wrong: {
      script: `const { createShaderModule } = GPUDevice.prototype;
        GPUDevice.prototype.createShaderModule = function (of) {
          return createShaderModule.call(this, { ...of, code: of.code.replaceAll("exp(", "cos(") });
        };`,
      words: /computes wrongly/,
      code: "unsupported-device",
    },
    // Products alone are wrong: a program is not tested for that, a card is.
    products: {
      card: true,
      script: `const { createShaderModule } = GPUDevice.prototype;
        GPUDevice.prototype.createShaderModule = function (of) {
          return createShaderModule.call(this, { ...of, code: of.code.replaceAll("dot(w.c, x.c)", "dot(w.c, x.d)") });
        };`,
      words: /computes wrongly/,
      code: "unsupported-device",
    },
    slow: {
      script: `const { mapAsync } = GPUBuffer.prototype;
        GPUBuffer.prototype.mapAsync = async function (...range) {
          await new Promise((resolve) => setTimeout(resolve, 1000));
          return mapAsync.call(this, ...range);
        };`,
      words: /takes \d+ ms/,
    },
    small: {
      script: `for (const limit of ["maxBufferSize", "maxStorageBufferBindingSize"]) {
          Object.defineProperty(GPUSupportedLimits.prototype, limit, { get: () => 40_000 });
        }`,
      words: /takes \d+ bytes on the GPU .*40000: choose a smaller contextLength/,
      code: "out-of-memory",
    },
  };
  for (const [name, { card, script, words, code }] of Object.entries(cases)) {
    // Who asks for WebGPU may have a program.
    const { webgpu } = await tryDevices(card ? `${DISGUISE}\n${script}` : script, { devices: ["webgpu"] });
    if (code === undefined) assert.equal(webgpu.device.kind, "webgpu", name);
    else assert.deepEqual([webgpu.name, webgpu.code], ["WispError", code], name);
    if (code !== undefined) assert.match(webgpu.message, words, name);
    const { auto, said } = await tryDevices(`${DISGUISE}\n${script}`, { devices: ["auto"] });
    // The test of the adapter is of every model: that it failed is known, until it does not.
    const failed = /wrong/.test(words.source);
    assert.deepEqual([said.device, said.webgpu.available], [failed ? "wasm" : "webgpu", true], name);
    assert.match(said.webgpu.reason ?? "none", failed ? words : /^none$/, name);
    report(t, `${name}: ${auto.notices?.join("; ") ?? auto.message}`);
    assert.equal(auto.device?.kind, "wasm", name);
    assert.equal(auto.notices.length, 1, name);
    assert.match(auto.notices[0], words, name);
  }
});

test("shapes are tried on a card's first visit, and kept for the next", { timeout: 240_000 }, async (t) => {
  const page = await browser.open(site);
  await inWorker(page, DISGUISE);
  const kept = () =>
    run(page, async () => {
      const texts = [];
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("wisplm", { create: true });
      for await (const [name, handle] of folder.entries()) {
        if (name.endsWith(".text")) texts.push(await (await handle.getFile()).text());
      }
      return texts;
    });
  const visit = (autotune) =>
    run(
      page,
      async ({ load }, { autotune }) => {
        const model = await load("/tiny/llama-0.gguf", { device: "webgpu", ...(autotune !== undefined && { autotune }) });
        const { text } = await model.generate("ab", { temperature: 0, maxTokens: 4 }).result;
        await model.close();
        return text;
      },
      { autotune },
    );
  const untried = await visit(false);
  assert.deepEqual(await kept(), []);
  assert.equal(await visit(), untried);
  const [found, ...others] = await kept();
  report(t, found);
  assert.deepEqual(others, []);
  assert.ok(Object.keys(JSON.parse(found).products).length > 0);
  await page.close();
});

/** A worker that hears of what the GPU has done every 100 ms only, and then of all that it was given. */
const LATE = `{
  const channel = new BroadcastChannel("late");
  let asked = 0, done = [];
  for (const [{ prototype }, name] of [[GPUBuffer, "mapAsync"], [GPUQueue, "onSubmittedWorkDone"]]) {
    const soon = prototype[name];
    prototype[name] = async function (...of) {
      asked++;
      await soon.apply(this, of);
      await new Promise((resolve) => done.push(resolve));
    };
  }
  setInterval(() => {
    if (asked === 0 || done.length < asked) return;
    channel.postMessage(asked);
    const heard = done;
    [asked, done] = [0, []];
    for (const resolve of heard) resolve();
  }, 100);
}`;

test("where the browser tells late what the GPU has done, it tells of many tokens at once", { timeout: 60_000 }, async (t) => {
  const answers = [];
  for (const script of ["", LATE]) {
    const page = await browser.open(site);
    await inWorker(page, script);
    answers.push(
      await run(page, async ({ load }) => {
        const model = await load("/tiny/llama-0.gguf", { device: "webgpu" });
        const channel = new BroadcastChannel("late");
        let times = 0;
        channel.onmessage = () => times++;
        const { tokens } = await model.generate("Once", { temperature: 0, maxTokens: 150, ignoreEos: true }).result;
        await model.close();
        return { tokens, times };
      }),
    );
    await page.close();
  }
  const [soon, late] = answers;
  assert.deepEqual(late.tokens, soon.tokens);
  report(t, `${late.tokens.length} tokens, told in ${late.times} times`);
  // Two at a time, then four, eight and sixteen.
  assert.ok(late.times > 0 && late.tokens.length / late.times > 8, `${late.times}`);
});
