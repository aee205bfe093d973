// Sessions: page and worker together, with an engine that is none.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/chat.js";
import type { Model } from "../src/model.js";
import { FakeEngine } from "./fakes.js";
import { blob, load, text, using } from "./together.js";

const user = (content: string): Message => ({ role: "user", content });
const said = (content: string): Message => ({ role: "assistant", content });

test("a session computes what is new, and knows what was said", async () => {
  await using(load(blob()), async (model) => {
    const session = model.session({ system: "Be brief.", messages: [user("a"), said("b")], maxTokens: 2 });
    const before: Message[] = [{ role: "system", content: "Be brief." }, user("a"), said("b")];
    assert.deepEqual(session.messages, before);
    const first = session.send("hello");
    const second = session.send({ role: "user", content: "more" }, { maxTokens: 1 });
    assert.equal(await text(first), "w0 w1 ");
    assert.deepEqual(session.messages, [...before, user("hello"), said("w0 w1 ")]);
    const { usage, dropped, finishReason } = await second.result;
    assert.deepEqual([usage.completionTokens, dropped, finishReason], [1, undefined, "length"]);
    assert.deepEqual(session.messages.slice(5), [user("more"), said("w0 ")]);
  });
});

test("what an answer thinks and calls becomes part of the conversation", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const tools = [{ type: "function" as const, function: { name: "sum" } }];
    const session = model.session({ tools, maxTokens: 2 });
    const { toolCalls } = await session.send("add").result;
    const calls = toolCalls.map(({ id, name, arguments: given }) => {
      return { id, type: "function", function: { name, arguments: JSON.stringify(given) } };
    });
    assert.deepEqual(session.messages, [
      user("add"),
      { role: "assistant", content: "w0 w1 ", tool_calls: calls },
    ]);
    await session.send({ role: "tool", tool_call_id: toolCalls[0]!.id, content: "2" }).result;
    assert.equal(session.messages.length, 4);
    const thinking = model.session({ reasoning: true, maxTokens: 2, documents: [{ text: "A town." }] });
    await thinking.send("why").result;
    assert.deepEqual(thinking.messages[1], { role: "assistant", content: "w1 ", reasoning_content: "hm" });
    const asked = engine.calls.filter((call) => call.includes('"documents":[{"text":"A town."}]'));
    assert.equal(asked.length, 1);
  });
});

test("a clone goes its own way", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const session = model.session({ maxTokens: 1 });
    const first = session.send("a");
    // The clone has what was asked before, though that is not answered yet.
    const clone = session.clone();
    await clone.send("b").result;
    await first.result;
    await session.send("c").result;
    assert.deepEqual(clone.messages, [user("a"), said("w0 "), user("b"), said("w0 ")]);
    assert.deepEqual(session.messages, [user("a"), said("w0 "), user("c"), said("w0 ")]);
    await session.close();
    assert.equal((await clone.send("d").result).text, "w0 ");
    assert.equal(engine.sessions.size, 1);
  });
});

test("answers that fail, or are given up, leave a conversation that can go on", async () => {
  await using(load(blob()), async (model) => {
    const session = model.session();
    await assert.rejects(session.send("{{").result, { code: "invalid-argument" });
    assert.deepEqual(session.messages, []);
    const controller = new AbortController();
    const waiting = session.send("a", { signal: controller.signal });
    controller.abort();
    assert.equal((await waiting.result).finishReason, "abort");
    assert.deepEqual(session.messages, [], "nothing was said");
    const broken = session.send("b", { maxTokens: 300 });
    for await (const _ of broken) break;
    const { text } = await broken.result;
    assert.deepEqual(session.messages, [user("b"), said(text)]);
    assert.equal((await session.send("c", { maxTokens: 1 }).result).text, "w0 ");
  });
});

test("what outgrows the context is dropped, and it is said", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const session = model.session({ overflow: "drop-oldest", maxTokens: 1 });
    assert.deepEqual((await session.send("a").result).dropped, { messages: 1, tokens: 0 });
    assert.deepEqual((await session.send("b").result).dropped, { messages: 2, tokens: 0 });
    assert.equal(session.messages.length, 4);
    assert.ok(engine.calls.includes('send 1 "drop-oldest"'));
    const refused = model.session().send("x".repeat(5000)).result;
    await assert.rejects(refused, { code: "context-overflow" });
  });
});

test("a saved session is restored, in another model of the same weights", async () => {
  const save = async (model: Model): Promise<Blob> => {
    const session = model.session({ system: "s", maxTokens: 1, overflow: "slide" });
    await session.send("a").result;
    return session.save();
  };
  const saved = await using(load(blob()), save);
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const session = await model.restore(saved);
    assert.deepEqual(session.messages, [{ role: "system", content: "s" }, user("a"), said("w0 ")]);
    assert.equal(engine.sessions.size, 1);
    const { text } = await session.send("b").result;
    assert.equal(text, "w0 ", "the options were saved too");
    assert.ok(engine.calls.includes('send 1 "slide"'));
  });
  const bytes = new Uint8Array(await saved.arrayBuffer());
  const changed = (at: number, value: number): Blob => {
    const copy = bytes.slice();
    copy[at] = value;
    return new Blob([copy]);
  };
  const other = new FakeEngine();
  other.identity = "other";
  await using(load(blob(), { engine: other }), async (model) => {
    await assert.rejects(model.restore(saved), { code: "invalid-argument", message: /another model/ });
  });
  const elsewhere = new FakeEngine();
  elsewhere.device = "webgpu";
  await using(load(blob(), { engine: elsewhere }), async (model) => {
    const session = await model.restore(saved);
    assert.equal(elsewhere.sessions.size, 0, "it is stored in another way");
    assert.equal((await session.send("b").result).text, "w0 ");
    const refused: [unknown, string][] = [
      ["no blob", "invalid-argument"],
      [new Blob([]), "invalid-argument"],
      [new Blob(["x".repeat(1000)]), "invalid-argument"],
      [changed(8, 2), "invalid-argument"],
      [changed(15, 0xff), "integrity"],
      [changed(40, 0), "integrity"],
      [changed(bytes.length - 70, 0), "integrity"],
      [changed(bytes.length - 1, 0), "integrity"],
      [saved.slice(0, saved.size - 1), "integrity"],
      [new Blob([saved, new Uint8Array(100_000)]), "integrity"],
    ];
    for (const [bad, code] of refused) await assert.rejects(model.restore(bad as Blob), { code });
  });
});

test("options that only JavaScript has are saved as far as they can be", async () => {
  const tool = { type: "function" as const, function: { name: "sum" }, execute: () => 1 };
  const options = { format: { regex: /^a+\/?$/ }, tools: [tool], maxTokens: 1 };
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const session = await model.restore(await model.session(options).save());
    await session.send("a").result;
    const again = await session.save();
    const head = await again.slice(16).text();
    assert.match(head, /"format":\{"regex":"a\+\\\\\/\?"\}/);
    assert.match(head, /"tools":\[\{"type":"function","function":\{"name":"sum"\}\}\]/);
    assert.ok(engine.calls.some((call) => call.startsWith("send 2")));
    const round: { self?: unknown } = {};
    round.self = round;
    const endless = model.session({ tools: [round as never] });
    await assert.rejects(endless.save(), { code: "invalid-argument", message: /options cannot be written as JSON/ });
  });
});

test("a closed session refuses everything", async () => {
  const engine = new FakeEngine();
  const model = await load(blob(), { engine });
  const session = model.session();
  const running = session.send("a");
  const waiting = session.send("b");
  const other = model.session({ maxTokens: 1 });
  await session.close();
  await session[Symbol.asyncDispose]();
  for (const run of [running, waiting, session.send("c")]) {
    await assert.rejects(text(run), { code: "closed" });
    await assert.rejects(run.result, { code: "closed" });
  }
  await assert.rejects(session.save(), { code: "closed" });
  assert.throws(() => session.clone(), { code: "closed" });
  assert.equal((await other.send("d").result).text, "w0 ");
  assert.equal(engine.sessions.size, 1);
  await model.close();
  await assert.rejects(other.send("e").result, { code: "closed" });
  await other.close();
});

test("sessions refuse what they do not know", async () => {
  await using(load(blob()), async (model) => {
    const refused: [object, string][] = [
      [{ overflow: "wrap" }, "overflow"],
      [{ system: 3 }, "system"],
      [{ messages: "hello" }, "messages"],
      [{ signal: AbortSignal.abort() }, "signal"],
      [{ continueAssistant: true }, "continueAssistant"],
      [{ temperature: "hot" }, "temperature"],
    ];
    for (const [options, option] of refused) {
      assert.throws(() => model.session(options as never), { code: "invalid-argument", details: { option } });
    }
    const session = model.session();
    for (const message of [3, null, [user("a")]]) {
      await assert.rejects(session.send(message as never).result, { code: "invalid-argument", details: { option: "message" } });
    }
    await assert.rejects(session.send("a", { continueAssistant: true } as never).result, { code: "invalid-argument" });
  });
});
