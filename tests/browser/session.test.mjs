// Conversations that go on: what is kept between requests, sessions, and sessions that were saved.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KIND, parse, write } from "./gguf.mjs";
import { fixture, openSite } from "./site.mjs";
import { inWorker, openBrowser, report, run } from "./harness.mjs";

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
const RECURRENT = "/recurrent.gguf";
const ATTENTIVE = "/attentive.gguf";
/** Invites answers by what is not shown of them later, as models that reason do. */
const TEMPLATE =
  "{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}" +
  "{% if add_generation_prompt %}[assistant]<think>{% endif %}";

let site, browser;

before(async () => {
  site = await openSite({ isolate: false });
  for (const [path, family] of [[RECURRENT, "qwen35"], [ATTENTIVE, "llama"]]) {
    const { keys, tensors } = parse(fixture(`tiny/${family}-0.gguf`));
    const others = keys.filter(({ name }) => name !== "tokenizer.chat_template");
    const template = { name: "tokenizer.chat_template", kind: KIND.string, value: TEMPLATE };
    const context = others.find(({ name }) => name === `${family}.context_length`);
    context.value = Buffer.from(Uint32Array.of(2048).buffer);
    site.put(path, write({ keys: [...others, template], tensors }));
  }
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await site?.close();
});

async function pageWith(source, options = {}) {
  const page = await browser.open(site);
  await loadIn(page, source, options);
  return page;
}

function loadIn(page, source, options = {}) {
  return run(page, async ({ load }, { source, options }) => void (globalThis.model = await load(source, { device: "wasm", ...options })), {
    source,
    options,
  });
}

/** Two turns after a history of about a thousand tokens: by `chat`, and in a session. */
async function turns(page, history) {
  return run(
    page,
    async (_, { history }) => {
      const options = { temperature: 0, maxTokens: 12, ignoreEos: true };
      const first = { role: "user", content: history };
      const next = { role: "user", content: "And then?" };
      const one = await model.chat([first], options).result;
      const messages = [first, { role: "assistant", content: one.text }, next];
      const two = await model.chat(messages, options).result;
      const again = await model.chat(messages, options).result;
      globalThis.session = model.session(options);
      const begun = await session.send(history).result;
      // What others ask between does not touch a session.
      for (const word of "abcdefghij") await model.generate(word.repeat(40), { maxTokens: 1 }).result;
      const gone = await session.send("And then?").result;
      return { one, two, again, begun, gone, said: session.messages, memory: model.info.memory };
    },
    { history },
  );
}

test("a second turn computes only what is new, with attention and with states", { timeout: 200_000 }, async (t) => {
  for (const [source, history] of [
    [SMOLLM2, "The quick brown fox jumps over the lazy dog, and the dog sleeps on. ".repeat(62)],
    [RECURRENT, "The quick brown fox. ".repeat(48)],
  ]) {
    const page = await pageWith(source);
    const { one, two, again, begun, gone, said, memory } = await turns(page, history);
    for (const [what, first, second] of [["chat", one, two], ["session", begun, gone]]) {
      const { promptTokens, cachedTokens } = second.usage;
      report(t, `${source}, ${what}: ${promptTokens} tokens, ${cachedTokens} of them kept; ${second.timings.promptMs.toFixed(0)} ms after ${first.timings.promptMs.toFixed(0)}`);
      assert.ok(first.usage.promptTokens > 900 && first.usage.cachedTokens === 0, `${first.usage.promptTokens}`);
      // The answer (12 tokens, or as many characters as they are), the message, and what the template puts around them.
      assert.ok(promptTokens - cachedTokens <= 70, `${promptTokens - cachedTokens} tokens are computed`);
    }
    assert.ok(again.usage.cachedTokens >= again.usage.promptTokens - 40, `${again.usage.cachedTokens}`);
    assert.deepEqual([begun.text, gone.text, again.text], [one.text, two.text, two.text]);
    assert.deepEqual(said.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
    assert.ok(memory.kv > 0);
    assert.deepEqual(page.problems, []);
    await page.close();
  }
});

/** A worker that loses its GPU when the page says so. */
const LOSABLE = `{
  const { requestDevice } = GPUAdapter.prototype;
  let device;
  GPUAdapter.prototype.requestDevice = async function (...of) {
    return (device = await requestDevice.call(this, ...of));
  };
  new BroadcastChannel("gpu").onmessage = () => device.destroy();
}`;

test("sessions on a GPU are cloned and saved, and go on when it is lost", { timeout: 300_000 }, async (t) => {
  const page = await browser.open(site);
  await inWorker(page, LOSABLE);
  for (const source of [ATTENTIVE, RECURRENT]) {
    await loadIn(page, source, { device: "webgpu" });
    const seen = await run(page, async () => {
      const session = model.session({ temperature: 0, maxTokens: 6, ignoreEos: true });
      await session.send("A few words, more or less.").result;
      const clone = session.clone();
      const saved = await session.save();
      const one = await session.send("Go on.").result;
      const restored = await model.restore(saved);
      const [two, three] = [await clone.send("Go on.").result, await restored.send("Go on.").result];
      new BroadcastChannel("gpu").postMessage("lose");
      const lost = await session.send("And on.").result;
      const other = await clone.send("And on.").result;
      return { one, two, three, lost, other, messages: session.messages.length, notices: model.info.notices };
    });
    const { one, two, three, lost, other } = seen;
    report(t, `${source}: ${JSON.stringify([one, two, three, lost, other].map(({ usage }) => usage.cachedTokens))} tokens kept`);
    assert.ok(one.usage.cachedTokens > 20);
    assert.deepEqual([two.usage, two.text], [one.usage, one.text], "the clone");
    assert.deepEqual([three.usage, three.text], [one.usage, one.text], "the restored one");
    assert.deepEqual([lost.usage.cachedTokens, lost.text.length > 0], [0, true]);
    assert.equal(other.text, lost.text);
    assert.equal(seen.messages, 6);
    assert.match(seen.notices.join(), /the GPU was lost/);
    await run(page, () => model.close());
  }
  await page.close();
});

test("sessions are cloned, saved, and restored after a reload", { timeout: 200_000 }, async () => {
  for (const source of [SMOLLM2, RECURRENT]) {
    const page = await pageWith(source);
    const before = await run(page, async () => {
      const session = model.session({ system: "You are a poet.", temperature: 0, maxTokens: 8, ignoreEos: true });
      await session.send("Tell me of the sea, of its waves and of the ships that sail on it.").result;
      const clone = session.clone();
      const blob = await session.save();
      await (await caches.open("test")).put("/saved", new Response(blob));
      const [one, other] = [await session.send("Go on.").result, await clone.send("Now of the sky.").result];
      await clone.close();
      const closed = await clone.send("x").result.catch(({ code }) => code);
      return { one, other, closed, said: session.messages, size: blob.size };
    });
    assert.equal(before.closed, "closed");
    assert.ok(before.other.usage.cachedTokens > 30, "the clone has what it has in common");
    await page.reload();
    await loadIn(page, source);
    const after = await run(page, async ({ failure }) => {
      const blob = await (await (await caches.open("test")).match("/saved")).blob();
      const session = await model.restore(blob);
      const before = session.messages.length;
      const one = await session.send("Go on.").result;
      const bytes = new Uint8Array(await blob.arrayBuffer());
      bytes[bytes.length >> 1] ^= 1;
      const damaged = await failure(model.restore(new Blob([bytes])));
      const none = await failure(model.restore(new Blob(["a letter to somebody else"])));
      return { before, one, said: session.messages, codes: [damaged.code, none.code] };
    });
    assert.equal(after.before, 3);
    assert.deepEqual([after.one.text, after.one.usage], [before.one.text, before.one.usage], "nothing is computed again");
    assert.deepEqual(after.said, before.said);
    assert.deepEqual(after.codes, ["integrity", "invalid-argument"]);
    if (source === RECURRENT) {
      await loadIn(page, "/tiny/llama-0.gguf");
      const foreign = await run(page, async ({ failure }) => {
        const blob = await (await (await caches.open("test")).match("/saved")).blob();
        return failure(model.restore(blob));
      });
      assert.equal(foreign.code, "invalid-argument");
      assert.match(foreign.message, /another model/);
    }
    assert.deepEqual(page.problems, []);
    await page.close();
  }
});

test("a conversation that outgrows the context does what its session says", { timeout: 200_000 }, async () => {
  for (const [source, contextLength] of [[SMOLLM2, 192], [RECURRENT, 512]]) {
    const page = await pageWith(source, { contextLength });
    const seen = await run(page, async ({ failure }, { longer }) => {
      const options = { system: "Count.", temperature: 0, maxTokens: 16, ignoreEos: true };
      const talk = async (session, turns) => {
        const results = [];
        for (let turn = 0; turn < turns; turn++) results.push(await session.send(`${turn}: one two three four five six seven.`).result);
        return results.map(({ dropped, usage, finishReason, tokens }) => ({ dropped, usage, finishReason, count: tokens.length }));
      };
      const strict = model.session(options);
      const error = await failure(talk(strict, 30));
      const kept = strict.messages.length;
      const dropping = model.session({ ...options, overflow: "drop-oldest" });
      const dropped = await talk(dropping, 10);
      const sliding = model.session({ ...options, overflow: "slide", maxTokens: 24 });
      const slid = await talk(sliding, 8);
      const long = await model.session({ ...options, overflow: "slide", maxTokens: longer }).send("Go.").result;
      return { error, kept, dropped, slid, long, messages: dropping.messages.length };
    }, { longer: contextLength + 60 });
    assert.equal(seen.error.code, "context-overflow");
    assert.ok(seen.kept > 3 && seen.kept % 2 === 1, "what was said stays");
    for (const [results, of] of [[seen.dropped, "messages"], [seen.slid, "tokens"]]) {
      const counts = results.map(({ dropped }) => dropped?.[of] ?? 0);
      assert.ok(counts[0] === 0 && counts.at(-1) > 0, `${counts}`);
      assert.deepEqual(counts, [...counts].sort((a, b) => a - b), "what is gone stays gone");
      assert.ok(results.every(({ usage }) => usage.promptTokens < contextLength));
      // Between two cuts a turn computes what is new.
      assert.ok(results.some(({ dropped, usage }) => dropped !== undefined && usage.cachedTokens > usage.promptTokens / 3), of);
    }
    assert.equal(seen.messages, 21);
    assert.deepEqual([seen.long.tokens.length, seen.long.finishReason], [contextLength + 60, "length"]);
    assert.ok(seen.long.dropped.tokens > 60, JSON.stringify(seen.long.dropped));
    assert.deepEqual(page.problems, []);
    await page.close();
  }
});

/** A worker whose GPU has no memory for new buffers while the page says so. */
const SHORT = `{
  const { createBuffer } = GPUDevice.prototype;
  const channel = new BroadcastChannel("memory");
  let short = false;
  channel.onmessage = ({ data }) => {
    short = data === "short";
    channel.postMessage("heard");
  };
  // No device has a buffer of that size.
  GPUDevice.prototype.createBuffer = function (of) {
    return createBuffer.call(this, short ? { ...of, size: 2 ** 50 } : of);
  };
}`;

test("a session for which a GPU has no memory fails by itself, and goes on when there is some", { timeout: 120_000 }, async () => {
  const page = await browser.open(site);
  await inWorker(page, SHORT);
  await loadIn(page, ATTENTIVE, { device: "webgpu" });
  const seen = await run(page, async ({ failure }) => {
    const channel = new BroadcastChannel("memory");
    const say = (word) => new Promise((heard) => ((channel.onmessage = heard), channel.postMessage(word)));
    const options = { temperature: 0, maxTokens: 8, ignoreEos: true };
    const sessions = [model.session(options), model.session(options)];
    const texts = [(await sessions[0].send("Once upon a time").result).text];
    await say("short");
    const codes = [(await failure(sessions[1].send("Once upon a time").result)).code];
    const clone = sessions[0].clone();
    codes.push((await failure(clone.send("And then?").result)).code);
    texts.push((await sessions[0].send("And then?").result).text);
    await say("enough");
    const again = [(await sessions[1].send("Once upon a time").result).text, (await clone.send("And then?").result).text];
    return { codes, texts, again, notices: model.info.notices };
  });
  assert.deepEqual(seen.codes, ["out-of-memory", "out-of-memory"]);
  assert.deepEqual(seen.again, seen.texts);
  assert.deepEqual(seen.notices, []);
  await page.close();
});
