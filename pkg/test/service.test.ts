// Page and worker together, over a message channel instead of a worker, with an engine that is none.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import type { Generation } from "../src/generation.js";
import { loadOptions, type LoadProgress } from "../src/options.js";
import type { Outside } from "../src/worker/service.js";
import { begins, fakeBinding, FakeConstraint, FakeEngine, FakeServer, FakeStorage, modelFile, sha256 } from "./fakes.js";
import { blob, load, text, using, workers } from "./together.js";

test("a model says what it is, and the progress is in order", async () => {
  const events: LoadProgress[] = [];
  const model = await load([blob(4000), blob(3_000_000)], { onProgress: (event) => events.push(event) });
  assert.equal(model.info.architecture, "fake");
  assert.deepEqual(model.info.device, { kind: "wasm", description: "WebAssembly, SIMD, one thread", threads: 1, features: ["simd128"] });
  assert.deepEqual([...new Set(events.map(({ phase }) => phase))], ["compile", "download", "prepare", "warmup"]);
  for (const phase of ["compile", "download", "prepare", "warmup"]) {
    const of = events.filter((event) => event.phase === phase);
    assert.ok(of.every(({ loaded }, i) => i === 0 || loaded >= of[i - 1]!.loaded));
    assert.ok(of.every(({ loaded, total }) => loaded <= total));
    assert.equal(of.at(-1)!.loaded, of.at(-1)!.total);
  }
  assert.equal(events.filter(({ phase }) => phase === "download").at(-1)!.loaded, 3_004_000);
  await model.close();
});

test("a load that fails leaves nothing behind", async () => {
  const binding = fakeBinding();
  const start: Outside["start"] = async () => ({ binding, features: [] });
  const fetch = async (): Promise<Response> => new Response("", { status: 404 });
  await assert.rejects(load([blob(100), "https://host.test/m.gguf"], { outside: { start, fetch } }), { code: "not-found" });
  await assert.rejects(load(new Blob(["no model"]), { outside: { start } }), { code: "invalid-model" });
  assert.deepEqual(binding.seen.filter((what) => what === "freed"), ["freed", "freed"]);
  await using(load(blob(), { outside: { start } }), async () => {});
  assert.equal(binding.seen.filter((what) => what === "freed").length, 2, "what has become a model is not freed twice");
});

test("a stream of unknown size reports what the header tells", async () => {
  const events: LoadProgress[] = [];
  const slow = new ReadableStream<Uint8Array>({
    async start(controller) {
      const file = modelFile(400_000);
      for (let at = 0; at < file.length; at += 100_000) {
        controller.enqueue(file.slice(at, at + 100_000));
        await after(120);
      }
      controller.close();
    },
  });
  await using(load(slow, { onProgress: (event) => events.push(event) }), async () => {});
  const downloads = events.filter(({ phase }) => phase === "download");
  assert.ok(downloads.length > 2 && downloads.every(({ total }) => total === 400_000));
});

test("what has come is reported, even if no more comes", async () => {
  const server = new FakeServer(modelFile(2_000_000));
  server.chunk = 500_000;
  server.stall = 1_500_000;
  const controller = new AbortController();
  let last = 0;
  const onProgress = ({ phase, loaded }: LoadProgress): void => {
    if (phase === "download") last = loaded;
  };
  const loading = load("https://host.test/m.gguf", { outside: { fetch: server.fetch }, signal: controller.signal, onProgress });
  setTimeout(() => controller.abort(), 200);
  await assert.rejects(loading, { code: "aborted" });
  assert.equal(last, 1_500_000);
});

test("a stream stays on the page where it cannot be transferred", async () => {
  const clone = globalThis.structuredClone;
  globalThis.structuredClone = () => {
    throw new DOMException("cannot", "DataCloneError");
  };
  try {
    await using(load(blob().stream() as ReadableStream<Uint8Array>), async (model) => assert.equal(model.info.name, "Fake"));
    const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("torn")) });
    await assert.rejects(load(broken), { code: "network", message: /torn/ });
  } finally {
    globalThis.structuredClone = clone;
  }
});

test("bad files are refused with what is wrong, and the worker ends", async () => {
  const before = workers.ended;
  await assert.rejects(load(new Blob(["<!doctype html><title>404</title>"])), { code: "invalid-model", details: { offset: 0 } });
  await assert.rejects(load(new Blob([modelFile(5000).slice(0, 3000) as Uint8Array<ArrayBuffer>])), {
    code: "invalid-model",
    message: /truncated/,
    details: { offset: 3000 },
  });
  await assert.rejects(load(new ReadableStream({ start: (c) => (c.enqueue("text" as never), c.close()) })), { code: "invalid-argument" });
  assert.equal(workers.ended, before + 3);
  await using(load(blob()), async (model) => assert.equal((await model.tokenize("ab")).length, 3));
});

test("a wrong hash is an integrity error, and nothing is kept", async () => {
  const server = new FakeServer(modelFile(5000));
  const storage = new FakeStorage();
  const outside = { storage, fetch: server.fetch };
  const source = { url: "https://host.test/m.gguf", sha256: "0".repeat(64) };
  await assert.rejects(load(source, { outside }), { code: "integrity", details: { url: source.url } });
  assert.equal(storage.files.size, 0);
  await using(load({ ...source, sha256: sha256(server.file) }, { outside }), async (model) => assert.deepEqual(model.info.notices, []));
  assert.equal(storage.note()?.["sha256"], sha256(server.file));
});

test("an aborted load rejects at once, lets go, and the next one continues it", async () => {
  await after(20);
  const server = new FakeServer(modelFile(2_000_000));
  server.chunk = 100_000;
  server.stall = 1_000_000;
  const storage = new FakeStorage();
  const outside = { storage, fetch: server.fetch };
  const controller = new AbortController();
  const loading = load("https://host.test/m.gguf", { outside, signal: controller.signal });
  setTimeout(() => controller.abort("enough"), 30);
  const before = workers.ended;
  await assert.rejects(loading, { code: "aborted", cause: "enough" });
  await after(20);
  assert.equal(workers.ended, before + 1);
  server.stall = Infinity;
  await using(load("https://host.test/m.gguf", { outside }), async () => {});
  assert.match(server.requests[1]!.range!, /^bytes=[1-9]/);
});

test("text streams, and the result has all of it", async () => {
  await using(load(blob()), async (model) => {
    const generation = model.generate("hello", { maxTokens: 3 });
    assert.equal(await text(generation), "w0 w1 w2 ");
    const { timings, ...result } = await generation.result;
    assert.deepEqual(result, {
      ...{ text: "w0 w1 w2 ", tokens: [0, 1, 2], finishReason: "length", toolCalls: [], reasoning: "" },
      usage: { promptTokens: 6, cachedTokens: 0, completionTokens: 3 },
    });
    assert.ok(timings.promptMs >= 0 && timings.firstTokenMs >= timings.promptMs && timings.tokensPerSecond > 0);
    assert.ok(model.info.memory.peak > 30);
  });
});

test("a conversation is answered, its reasoning apart", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const messages = [{ role: "user", content: [{ type: "text", text: "h\ud83d" }], name: "x" }] as const;
    const documents = [{ title: "Bern", text: "A town." }];
    const generation = model.chat(messages, { maxTokens: 3, reasoning: true, documents });
    assert.equal(await text(generation), "w1 w2 ");
    const { reasoning, usage, tokens } = await generation.result;
    assert.deepEqual([reasoning, tokens], ["hm", [0, 1, 2]]);
    const events = [];
    for await (const event of generation.events()) events.push(event.type);
    assert.deepEqual(events, ["token", "reasoning", "token", "text", "token", "text", "finish"]);
    const asked = engine.calls.find((call) => call.startsWith("chat "))!;
    assert.deepEqual(JSON.parse(asked.slice(5)), {
      messages: [{ role: "user", content: [{ type: "text", text: "h\ufffd" }], name: "x" }],
      documents,
      reasoning: true,
    });
    const more = `,"documents":${JSON.stringify(documents)},"reasoning":true`.length;
    assert.equal(await model.countTokens(messages), usage.promptTokens - more);
    assert.equal((await model.chat(messages, { maxTokens: 1 }).result).reasoning, "");
  });
});

const answered = async (generation: Generation): Promise<string> => (await generation.result).text;

test("calls of tools come when they are complete, each with a name", async () => {
  await using(load(blob()), async (model) => {
    const tools = [{ type: "function", function: { name: "sum" } }] as const;
    const generation = model.chat([{ role: "user", content: "1 + 1?" }], { maxTokens: 1, tools });
    const { toolCalls, finishReason, text } = await generation.result;
    assert.deepEqual([finishReason, text], ["tool-calls", "w0 "]);
    assert.match(toolCalls[0]!.id, /^[a-z0-9]{9}$/);
    assert.deepEqual(toolCalls[0], { id: toolCalls[0]!.id, name: "sum", arguments: { a: 1 } });
    assert.deepEqual(toolCalls[1], { id: "given", name: "sum", arguments: {} });
    const events = [];
    for await (const event of generation.events()) events.push(event);
    assert.deepEqual(events.slice(2, 4), toolCalls.map((call) => ({ type: "tool-call", call })));
    const longer = model.chat([{ role: "user", content: "1 + 1?" }], { maxTokens: 2, tools });
    const order = [];
    for await (const { type } of longer.events()) order.push(type);
    assert.deepEqual(order, ["token", "text", "tool-call", "token", "text", "tool-call", "finish"]);
    assert.equal(await answered(model.chat([{ role: "user", content: "1 + 1?" }], { tools, toolChoice: "required" })), "CALL");
    const either = { tools, format: { choices: ["BA"] } } as const;
    assert.equal(await answered(model.chat([{ role: "user", content: "1 + 1?" }], either)), "BA", "or a form of its own");
  });
});

test("a conversation that is none is refused", async () => {
  await using(load(blob()), async (model) => {
    const cycle: Record<string, unknown> = { role: "user" };
    cycle["self"] = cycle;
    const refused: [unknown, object, string?][] = [
      ["hello", {}, "messages"],
      [[cycle], {}, "messages"],
      [[{ role: "user", content: "{{" }], {}],
      [[], { tools: {} }, "tools"],
      [[], { tools: ["sum"] }, "tools"],
      [[], { documents: ["a text"] }, "documents"],
      [[], { toolChoice: "any" }, "toolChoice"],
      [[], { toolChoice: { tool: "sum" } }, "tool"],
      [[], { tools: [{}], toolChoice: "required", format: { choices: ["A"] } }, "format"],
      [[], { reasoning: "yes" }, "reasoning"],
      [[], { continueAssistant: 1 }, "continueAssistant"],
    ];
    for (const [messages, options, option] of refused) {
      const failed = model.chat(messages as never, options as never).result;
      await assert.rejects(failed, { code: "invalid-argument", ...(option && { details: { option } }) });
    }
    await assert.rejects(model.countTokens(3 as never), { code: "invalid-argument" });
    const controller = new AbortController();
    const running = model.chat([{ role: "user", content: "x" }], { signal: controller.signal });
    const waiting = model.chat([{ role: "user", content: "y" }], { signal: controller.signal });
    controller.abort();
    assert.deepEqual([(await running.result).finishReason, (await waiting.result).finishReason], ["abort", "abort"]);
  });
});

test("a model that generates text tells labels, of one text or many", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const labels = ["good", "bad"];
    const [first, second] = await model.classify("so bad", labels);
    assert.deepEqual([first!.label, second!.label], ["bad", "good"]);
    assert.ok(Math.abs(first!.score - 1 / (1 + Math.exp(-5))) < 1e-6 && Math.abs(first!.score + second!.score - 1) < 1e-6);
    const told: number[] = [];
    const examples = [{ text: "x", label: "bad" }];
    const classifier = model.classifier({ labels, instruction: "How is it?", examples });
    const many = await classifier.classify(Array.from({ length: 100 }, (_, i) => labels[i % 2]!), {
      onProgress: ({ done }) => told.push(done),
    });
    assert.deepEqual(many.map(([best]) => best!.label), Array.from({ length: 100 }, (_, i) => labels[i % 2]));
    assert.deepEqual(told, [32, 64, 82, 100]);
    assert.deepEqual(classifier.labels, labels);
    const asked = engine.calls.filter((call) => call.startsWith("classify")).map((call) => call.split(" ")[1]);
    assert.deepEqual(asked, ["0", "0", "64", "0", "64"], "the lengths of all are known before any is computed");
    const [either] = await model.classify("good and bad", labels, { multiLabel: true });
    assert.ok(either!.score > 0.99);
    await assert.rejects(model.classify("x", ["one"]), { code: "invalid-argument" });
    await assert.rejects(model.classify("x", labels, { instruction: 1 as never }), { code: "invalid-argument" });
    await assert.rejects(model.classify([1] as never, labels), { code: "invalid-argument" });
    const controller = new AbortController();
    const given = classifier.classify(["good"], { signal: controller.signal });
    controller.abort();
    await assert.rejects(given, { code: "aborted" });
  });
});

test("values are extracted as a schema has them", async () => {
  const engine = new FakeEngine();
  await using(load(blob(), { engine }), async (model) => {
    const extract = (schema: object, words: number): Promise<unknown> => {
      engine.words = words;
      return model.extract("text", schema);
    };
    engine.generate = (_prompt, _answered, options) => {
      engine.calls.push(options);
      Object.assign(engine, { advance: () => JSON.stringify({ state: "finished", text: '{"a":1}', finishReason: "stop" }) });
      return begins(0);
    };
    assert.deepEqual(await extract({ type: "object" }, 3), { a: 1 });
    const standard = (extra: object): object => ({ "~standard": { vendor: "acme", version: 1, ...extra } });
    const jsonSchema = { input: ({ target }: { target: string }) => ({ $comment: target }) };
    const validate = (value: object): object => ({ value: { ...value, b: 2 } });
    assert.deepEqual(await extract(standard({ jsonSchema, validate }), 3), { a: 1, b: 2 });
    const issues = async (): Promise<object> => ({ issues: [{ message: "a is odd" }] });
    await assert.rejects(extract(standard({ jsonSchema, validate: issues }), 3), { code: "constraint-unsatisfiable", message: /a is odd/ });
    await assert.rejects(extract(standard({ validate }), 3), { code: "invalid-argument", message: /give the JSON Schema that acme makes/ });
    const none = (): never => {
      throw new Error("a date is no JSON");
    };
    await assert.rejects(extract(standard({ jsonSchema: { input: none } }), 3), { name: "WispError", code: "invalid-argument", message: /a date is no JSON/ });
    await assert.rejects(model.extract("text", 3 as never), { code: "invalid-argument" });
    await assert.rejects(model.extract("text", {}, { maxTokens: 0 }), { code: "invalid-argument" });
  });
});

test("an answer has the form that is asked for, and a form that cannot be had leaves the model as it is", async () => {
  const constraint = new FakeConstraint();
  await using(load(blob(), { outside: { startConstraint: async () => constraint } }), async (model) => {
    const choose = (choice: string): Promise<string> => text(model.generate([5], { format: { choices: [choice] } }));
    assert.equal(await choose("BABAC"), "BABAC");
    await assert.rejects(choose("BZ"), { code: "constraint-unsatisfiable" });
    await assert.rejects(choose("BXA"), { code: "invalid-argument", message: /too much/ });
    assert.equal(constraint.started, 2);
    assert.equal(await choose("CA"), "CA");
    const long = Array<number>(FakeEngine.contextLength + 1).fill(5);
    await assert.rejects(model.generate(long, { format: { choices: ["A"] } }).result, { code: "context-overflow" });
    assert.equal(FakeConstraint.open, 0, "all are freed");
    const wrong = [{}, { choices: "A" }, { regex: 1 }, { regex: /a/i }, { schema: [] }, { grammar: {} }, { choices: ["A"], regex: "A" }, "A"];
    for (const format of wrong) {
      await assert.rejects(model.generate("x", { format: format as never }).result, { code: "invalid-argument" }, JSON.stringify(format));
    }
  });
});

test("several readers see everything, whenever they come", async () => {
  await using(load(blob()), async (model) => {
    const generation = model.generate([5, 6], { maxTokens: 4 });
    const [one, other] = await Promise.all([text(generation), text(generation)]);
    assert.equal(one, "w0 w1 w2 w3 ");
    assert.equal(other, one);
    assert.equal(await text(generation.toReadableStream() as unknown as AsyncIterable<string>), one);
    const events = [];
    for await (const event of generation.events()) events.push(event.type);
    assert.deepEqual(events, [...Array(4).fill(["token", "text"]).flat(), "finish"]);
  });
});

test("leaving the loop stops the model, and the next request is served", async () => {
  await using(load(blob()), async (model) => {
    const generation = model.generate("x");
    for await (const delta of generation) if (delta.startsWith("w2")) break;
    const { finishReason, tokens } = await generation.result;
    assert.equal(finishReason, "abort");
    assert.ok(tokens.length >= 3 && tokens.length < 1e6);
    const stream = model.generate("x").toReadableStream();
    const reader = stream.getReader();
    await reader.read();
    await reader.cancel();
    assert.equal(await text(model.generate("y", { maxTokens: 1 })), "w0 ");
  });
});

test("one of two readers leaving does not stop the other", async () => {
  await using(load(blob()), async (model) => {
    const generation = model.generate("x", { maxTokens: 20 });
    const whole = text(generation);
    for await (const _ of generation) break;
    assert.equal((await whole).split(" ").length, 21);
    assert.equal((await generation.result).finishReason, "length");
  });
});

test("a signal ends reading with an error, and the result with what there was", async () => {
  await using(load(blob()), async (model) => {
    const controller = new AbortController();
    const generation = model.generate("x".repeat(3000), { signal: controller.signal });
    setTimeout(() => controller.abort("enough"), 5);
    await assert.rejects(text(generation), { code: "aborted", cause: "enough" });
    assert.equal((await generation.result).finishReason, "abort");
    const late = model.generate("x", { signal: controller.signal });
    await assert.rejects(text(late), { code: "aborted" });
    await assert.rejects(late.result, { code: "aborted" });
    assert.equal((await model.score("abc")).logprobs.length, 4);
  });
});

test("what waits can be cancelled, at once", async () => {
  await using(load(blob()), async (model) => {
    const controller = new AbortController();
    const long = model.generate("x");
    const waiting = model.generate("y", { signal: controller.signal });
    const score = model.score("z", { signal: controller.signal });
    controller.abort();
    await assert.rejects(score, { code: "aborted" });
    assert.deepEqual((await waiting.result).text, "");
    for await (const _ of long) break;
    await long.result;
  });
});

test("a failed generation that nobody looks at is no unhandled rejection", async () => {
  await using(load(blob()), async (model) => {
    model.generate("x", { temperature: -1 });
    model.generate("x", { temprature: 1 } as never);
    await after(20);
    await assert.rejects(text(model.generate("x", { temperature: -1 })), { code: "invalid-argument", details: { key: "temperature" } });
    await assert.rejects(model.generate("x", { temprature: 1 } as never).result, {
      code: "invalid-argument",
      details: { option: "temprature" },
    });
    await assert.rejects(text(model.generate(Array(5000).fill(7))), { code: "context-overflow" });
    assert.equal(await text(model.generate("y", { maxTokens: 1 })), "w0 ");
  });
});

test("vectors, one or several, shortened, or refused", async () => {
  await using(load(blob()), async (model) => {
    assert.deepEqual(await model.embed("ab"), Float32Array.of(3, 4, 3, 0));
    assert.deepEqual((await model.embed(["a", "ab"])).map((vector) => vector[2]), [2, 3]);
    const [x, y] = await model.embed("ab", { dimensions: 2 });
    assert.ok(Math.abs(x! - 0.6) < 1e-6 && Math.abs(y! - 0.8) < 1e-6);
    assert.deepEqual(await model.embed("ab", { dimensions: 2, normalize: false }), Float32Array.of(3, 4));
    await assert.rejects(model.embed("ab", { dimensions: 5 }), { code: "invalid-argument" });
    await assert.rejects(model.embed("x".repeat(5000)), { code: "context-overflow" });
    await assert.rejects(model.embed("ab", { pooling: "last" as never }), { code: "invalid-argument" });
    assert.deepEqual(await model.embed([]), []);
    const told: number[] = [];
    const many = Array.from({ length: 100 }, (_, i) => "x".repeat(i));
    const vectors = await model.embed(many, { onProgress: ({ done, total }) => told.push(done, total) });
    assert.deepEqual(vectors.map((vector) => vector[2]), many.map(({ length }) => length + 1));
    assert.deepEqual(told, [32, 100, 64, 100, 82, 100, 100, 100]);
    await assert.rejects(model.classify("a"), { code: "invalid-argument", details: { option: "labels" } });
    await assert.rejects(model.rerank("a", ["b"]), { code: "unsupported-model" });
  });
});

function encoder(labels: string[] | null): FakeEngine {
  const engine = new FakeEngine();
  engine.generates = false;
  engine.labels = labels;
  return engine;
}

test("labels by a head", async () => {
  await using(load(blob(), { engine: encoder(["bad", "good", "best"]) }), async (model) => {
    assert.deepEqual(model.info.labels, ["bad", "good", "best"]);
    const [first, second] = await model.classify(["", "a"]);
    assert.deepEqual(first!.map(({ label }) => label), ["best", "good", "bad"]);
    const sums = [first!, second!].map((scores) => scores.reduce((all, { score }) => all + score, 0));
    assert.ok(sums.every((sum) => Math.abs(sum - 1) < 1e-6));
    assert.ok(second![0]!.score > first![0]!.score);
    const [good, bad] = await model.classify("", ["bad", "good"]);
    assert.deepEqual([good!.label, bad!.label], ["good", "bad"]);
    assert.ok(Math.abs(good!.score + bad!.score - 1) < 1e-6);
    const each = await model.classify("", undefined, { multiLabel: true });
    assert.ok(Math.abs(each.at(-1)!.score - 0.5) < 1e-6, "each by itself");
    await assert.rejects(model.classify("", ["worst"]), { code: "invalid-argument", details: { option: "labels" } });
    await assert.rejects(model.classify("", "good" as never), { code: "invalid-argument" });
    await assert.rejects(model.rerank("a", ["b"]), { code: "unsupported-model" });
  });
});

test("adapters are loaded after the model, and switched", async () => {
  const engine = new FakeEngine();
  engine.adapters = [{ name: "one", scale: 1 }, { name: "two", scale: 0.5 }];
  const adapters = [{ source: blob(100) }, { source: blob(200), scale: 0.5 }];
  await using(load(blob(), { engine, adapters }), async (model) => {
    assert.deepEqual(model.info.adapters, engine.adapters);
    await model.setAdapters([0, 2]);
    assert.deepEqual(model.info.adapters.map(({ scale }) => scale), [0, 2]);
    assert.ok(engine.calls.includes("adapters 0,2"));
    await assert.rejects(model.setAdapters([1]), { code: "invalid-argument", details: { option: "scales" } });
    await assert.rejects(model.setAdapters([1, NaN]), { code: "invalid-argument" });
    await assert.rejects(model.setAdapters("1" as never), { code: "invalid-argument" });
  });
  const wrong = [[{}], [{ source: 1 }], [{ source: blob(), scale: "1" }], [{ source: blob(), factor: 1 }], blob(), [{ source: [blob()] }]];
  const refused = wrong.map(async (adapters) => load(blob(), loadOptions({ adapters } as never) as never));
  const codes = await Promise.all(refused.map((loaded) => loaded.then(() => "", ({ code }) => code)));
  assert.deepEqual(codes, wrong.map(() => "invalid-argument"));
});

test("documents by relevance: of a reranker, and by cosines", async () => {
  const documents = ["aaa", "", "aa"];
  await using(load(blob(), { engine: encoder(["LABEL_0"]) }), async (model) => {
    const told: number[] = [];
    const ranking = await model.rerank("q", documents, { onProgress: ({ done }) => told.push(done) });
    assert.deepEqual(ranking, [0, 1, 2].map((index) => ({ index, score: 0.5 })), "equal scores keep the order");
    assert.deepEqual(told, [1, 3]);
    assert.deepEqual(await model.rerank("q", []), []);
    await assert.rejects(model.rerank("q", ["x".repeat(5000)]), { code: "context-overflow", message: /document .* query/ });
  });
  await using(load(blob(), { engine: encoder(null) }), async (model) => {
    // Vectors of the fake engine are 3, 4, their length, 0.
    const ranking = await model.rerank("aa", documents);
    assert.deepEqual(ranking.map(({ index }) => index), [0, 2, 1]);
  });
});

test("tokens and back", async () => {
  await using(load(blob()), async (model) => {
    assert.deepEqual(await model.tokenize("hé"), [1, 104, 233]);
    assert.equal(await model.detokenize(await model.tokenize("hé", { bos: false })), "hé");
    assert.equal(await model.countTokens("hé"), 3);
    assert.deepEqual(await model.score([1, 2, 3]), { tokens: [1, 2, 3], logprobs: [null, -1, -2] });
    await assert.rejects(model.detokenize([1.5]), { code: "invalid-argument" });
  });
});

test("what later requests take is made ready where there is none", async () => {
  const engine = new FakeEngine();
  engine.unready = 1000;
  await using(load(blob(), { engine }), async (model) => {
    const made = (): number => engine.calls.filter((call) => call === "make ready").length;
    const more = async (): Promise<void> => {
      const before = made();
      while (made() < before + 3) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    await more();
    await model.score([1, 2, 3]);
    await more();
  });
});

test("a closed model refuses everything", async () => {
  const model = await load(blob());
  const running = model.generate("x");
  const waiting = model.score("y");
  await model[Symbol.asyncDispose]();
  await assert.rejects(text(running), { code: "closed" });
  await assert.rejects(running.result, { code: "closed" });
  await assert.rejects(waiting, { code: "closed" });
  await assert.rejects(model.tokenize("x"), { code: "closed" });
  await model.close();
});

test("a trap ends the model with its cause", async () => {
  const engine = new FakeEngine();
  const model = await load(blob(), { engine });
  engine.trap();
  const failing = model.generate("x");
  const waiting = model.score("y");
  await assert.rejects(text(failing), { code: "internal", message: /unreachable/ });
  await assert.rejects(waiting, { code: "internal" });
  await assert.rejects(model.tokenize("x"), (error: { code: string; cause: Error }) => {
    return error.code === "internal" && error.cause.name === "RuntimeError";
  });
});

test("a model with helpers says how many threads compute", async () => {
  for (const [exact, threads] of [[true, 4], [false, 3]] as const) {
    const engine = new FakeEngine();
    engine.joined = 3;
    engine.stepMs = (threads) => [0, 10, 6, 4, 4][threads]!;
    const start: Outside["start"] = async () => ({
      binding: fakeBinding(engine),
      features: ["simd128", "threads"],
      hire: () => ({ size: 3, problem: undefined, end: async () => {} }),
    });
    await using(load(blob(), { engine, outside: { start }, wanted: { count: 4, exact } }), async ({ info }) => {
      const description = `WebAssembly, SIMD, ${threads} threads`;
      assert.deepEqual(info.device, { kind: "wasm", description, threads, features: ["simd128", "threads"] });
      assert.deepEqual(info.notices, []);
      assert.deepEqual([engine.threads, engine.joined], [threads, threads - 1], "the others have gone");
    });
  }
});

test("helpers that do not come are a notice", async () => {
  const engine = new FakeEngine();
  const start: Outside["start"] = async () => ({
    binding: fakeBinding(engine),
    features: ["threads"],
    hire: () => ({ size: 1, problem: "no more workers", end: async () => {} }),
  });
  await using(load(blob(), { engine, outside: { start }, wanted: { count: 2, exact: true } }), async ({ info }) => {
    assert.equal(info.device.threads, 1);
    assert.deepEqual(info.notices, ["1 of 2 threads could not be started: no more workers"]);
  });
});

test("a model on the GPU waits for it, and says which it is", async () => {
  const engine = new FakeEngine();
  engine.device = "webgpu";
  let waited = 0;
  Object.defineProperty(engine, "work", { get: () => Promise.resolve().then(() => waited++) });
  await using(load(blob(), { device: "webgpu", engine }), async (model) => {
    const { kind, description, threads } = model.info.device;
    assert.deepEqual([kind, description, threads], ["webgpu", "WebGPU, Fake GPU", 1]);
    const before = waited;
    await text(model.generate("hi", { maxTokens: 3 }));
    assert.ok(waited - before >= 3, `${waited - before} times`);
  });
});
