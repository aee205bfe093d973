// A GPU that is lost in the middle of an answer.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openSite } from "./site.mjs";
import { DISGUISE, inWorker, MB, openBrowser, report, run } from "./harness.mjs";

const TINY = "/tiny/llama-0.gguf";
const PROMPT = "Once upon a time";
const TOKENS = 120;
/**
 * Losses that answers go on after, and of those that are kills of the GPU's process. On a software adapter each takes three
 * seconds: a new device compiles all shaders anew. So there are few by default.
 */
const LOSSES = Number(process.env.WISPLM_LOSSES ?? 6);
const KILLS = Number(process.env.WISPLM_KILLS ?? 2);
/** In an answer, at most. */
const AT_ONCE = 3;
/** A minute is too much for any of them. */
const PATIENCE_MS = 60_000 * (1 + Math.max(LOSSES, KILLS));

/**
 * A worker that loses its GPU when the page says so; "late", once the next result has arrived and before it is read: the
 * engine hears of such a loss only by the result's being gone. After "gone" there is no GPU any more. It tells of each device
 * that it has "opened", and why one is "lost".
 */
const LOSABLE = `{
  const { requestDevice } = GPUAdapter.prototype;
  const { requestAdapter } = GPU.prototype;
  const { getMappedRange } = GPUBuffer.prototype;
  const channel = new BroadcastChannel("gpu");
  let device, late = false, gone = false;
  GPUAdapter.prototype.requestDevice = async function (...of) {
    device = await requestDevice.call(this, ...of);
    channel.postMessage({ what: "opened" });
    device.lost.then(({ reason }) => channel.postMessage({ what: "lost", reason }));
    return device;
  };
  GPU.prototype.requestAdapter = async function (...of) {
    return gone ? null : requestAdapter.call(this, ...of);
  };
  GPUBuffer.prototype.getMappedRange = function (...of) {
    if (late) device.destroy();
    late = false;
    return getMappedRange.apply(this, of);
  };
  channel.onmessage = ({ data }) => {
    gone ||= data === "gone";
    late = data === "late";
    if (!late) device.destroy();
  };
}`;

let site, browser;

before(async () => {
  site = await openSite();
  // Chromium gives up its GPU process after a few crashes, and the pages to blame for them.
  browser = await openBrowser(["--disable-gpu-process-crash-limit", "--disable-domain-blocking-for-3d-apis"]);
});

after(async () => {
  await browser?.close();
  await site?.close();
});

async function open(script) {
  const page = await browser.open(site);
  await inWorker(page, script);
  return page;
}

/**
 * An answer of `TOKENS` tokens with losses in it; `model` is the page's. `opened`: how often a device was opened anew before the
 * answer's end, which is how many losses it went on after. One that comes with its last tokens is the next answer's.
 */
function answer(page, losses, word = "lose") {
  return run(
    page,
    async ({}, { prompt, tokens, losses, word }) => {
      const channel = new BroadcastChannel("gpu");
      let [lost, opened] = [0, 0];
      let told = () => {};
      channel.onmessage = ({ data }) => {
        if (data.what === "opened") opened++;
        if (data.what !== "lost") return;
        lost++;
        told();
      };
      const every = Math.floor(tokens / (losses + 1));
      const run = globalThis.model.generate(prompt, { temperature: 0, maxTokens: tokens, ignoreEos: true });
      let made = 0;
      try {
        for await (const event of run.events()) {
          if (event.type !== "token" || ++made % every !== 0 || lost >= losses) continue;
          const gone = new Promise((resolve) => (told = resolve));
          channel.postMessage(word);
          await gone;
        }
      } finally {
        channel.close();
      }
      const { text, finishReason, usage } = await run.result;
      return { text, finishReason, completionTokens: usage.completionTokens, lost, opened, info: globalThis.model.info };
    },
    { prompt: PROMPT, tokens: TOKENS, losses, word },
  );
}

function loadIn(page, options, source = TINY) {
  return run(
    page,
    async ({ load }, { source, options }) => {
      const from = options.stream ? (await fetch(source)).body : options.blob ? await (await fetch(source)).blob() : source;
      globalThis.model = await load(from, { device: options.device, autotune: false });
      return globalThis.model.info;
    },
    { source, options },
  );
}

for (const [what, options, wanted] of [["an address", {}, LOSSES], ["a file", { blob: true }, 2]]) {
  test(`answers of a model from ${what} go on where the GPU was lost, and memory stays flat`, { timeout: PATIENCE_MS }, async (t) => {
    const page = await open(LOSABLE);
    await loadIn(page, { device: "webgpu", ...options });
    const whole = await answer(page, 0);
    assert.deepEqual([whole.completionTokens, whole.lost], [TOKENS, 0]);
    const rows = [];
    let losses = 0;
    while (losses < wanted) {
      const start = performance.now();
      const { text, finishReason, opened, info } = await answer(page, Math.min(AT_ONCE, wanted - losses));
      assert.ok(opened > 0, "the answer went on");
      losses += opened;
      rows.push({ losses, peak: info.memory.peak, own: await browser.held(page), ms: (performance.now() - start) / opened });
      assert.deepEqual([text, finishReason, info.device.kind], [whole.text, "length", "webgpu"]);
      assert.deepEqual(info.notices, ["the GPU was lost: it was opened anew"]);
    }
    assert.equal(losses, wanted);
    for (const { losses, peak, own, ms } of rows) {
      report(t, `${losses} losses, ${ms.toFixed(0)} ms each: engine ${(peak / MB).toFixed(1)} MB, page processes ${(own / MB).toFixed(1)} MB`);
    }
    assert.ok(rows.at(-1).peak - rows[0].peak < 4 * MB, "the engine's memory");
    assert.ok(rows.at(-1).own - rows[0].own < 20 * MB, "the page processes' memory");
    assert.deepEqual(page.problems, []);
    await page.close();
  });
}

test("a result that is gone is a lost device", { timeout: 180_000 }, async () => {
  const page = await open(LOSABLE);
  await loadIn(page, { device: "webgpu" });
  const whole = await answer(page, 0);
  const { text, lost, info } = await answer(page, 1, "late");
  assert.deepEqual([text, lost, info.device.kind], [whole.text, 1, "webgpu"]);
  await page.close();
});

test("scores and vectors come in spite of losses", { timeout: 180_000 }, async () => {
  const page = await open(LOSABLE);
  const { scores, tokens } = await run(page, async ({ load }) => {
    const model = await load("/tiny/llama-0.gguf", { device: "webgpu" });
    const tokens = Array.from({ length: 200 }, (_, k) => (k * 31) % 256);
    const channel = new BroadcastChannel("gpu");
    const scores = [(await model.score(tokens)).logprobs];
    for (const pause of [0, 5, 30]) {
      const scoring = model.score(tokens);
      await new Promise((resolve) => setTimeout(resolve, pause));
      channel.postMessage("lose");
      scores.push((await scoring).logprobs);
    }
    const counted = await model.countTokens("still here");
    await model.close();
    return { scores, tokens: counted };
  });
  for (const score of scores.slice(1)) assert.deepEqual(score, scores[0]);
  assert.ok(tokens > 0);
  await page.close();
});

test("where no GPU can be had again, auto goes on with the processor, and webgpu fails", { timeout: 180_000 }, async (t) => {
  const page = await open(`${DISGUISE}\n${LOSABLE}`);
  assert.equal((await loadIn(page, { device: "auto" })).device.kind, "webgpu");
  const { text, completionTokens, info } = await answer(page, 1, "gone");
  report(t, `${info.device.description}: ${info.notices.join("; ")}`);
  assert.deepEqual([info.device.kind, completionTokens], ["wasm", TOKENS]);
  assert.ok(info.device.threads >= 1);
  assert.match(info.notices.join("\n"), /no adapter.*\n.*processor has taken over/);
  assert.equal((await answer(page, 0)).text.slice(0, 20), text.slice(0, 20));
  await page.close();

  for (const [options, words] of [[{}, /no adapter/], [{ stream: true }, /stream/]]) {
    const page = await open(LOSABLE);
    await loadIn(page, { device: "webgpu", ...options });
    await assert.rejects(answer(page, 1, options.stream ? "lose" : "gone"), (error) => {
      assert.match(error.message, /the GPU was lost/);
      assert.match(error.message, words);
      return true;
    });
    const code = await run(page, async ({ failure }) => (await failure(globalThis.model.score([1, 2, 3]))).code);
    assert.equal(code, "device-lost");
    await page.close();
  }
});

test("a killed GPU process is a lost device", { timeout: PATIENCE_MS }, async (t) => {
  const page = await open(LOSABLE);
  await loadIn(page, { device: "webgpu" });
  const whole = await answer(page, 0);
  const session = await browser.context.browser().newBrowserCDPSession();
  for (let [kills, tries] = [0, 0]; kills < KILLS; tries++) {
    assert.ok(tries < 2 * KILLS, `of ${tries} kills ${kills} came before an answer's end`);
    const losing = page.evaluate(
      () => new Promise((resolve) => (new BroadcastChannel("gpu").onmessage = ({ data }) => data.what === "lost" && resolve(data.reason))),
    );
    const answering = answer(page, 0);
    await delay(30);
    await session.send("Browser.crashGpuProcess").catch(() => {});
    const reason = await losing;
    const { text, opened, info } = await answering;
    kills += Math.min(opened, 1);
    report(t, `kill ${kills}: lost (${reason}), and on ${info.device.description}`);
    assert.deepEqual([text, info.device.kind], [whole.text, "webgpu"]);
  }
  await session.detach();
  await page.close();
});
