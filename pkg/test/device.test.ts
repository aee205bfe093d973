// Which device a model comes to run on, and what becomes of it if that is lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { FromWorker, ToWorker, WireLoad, WireRequest, WireSource } from "../src/protocol.js";
import { Refusals } from "../src/refusals.js";
import type { WebGpuReport } from "../src/webgpu.js";
import { type Outside, Service } from "../src/worker/service.js";
import { ADAPTER, fakeBinding, FakeConstraint, FakeEngine, FakeStorage, modelFile, typed } from "./fakes.js";

type Device = "auto" | "wasm" | "webgpu";
type Of<T extends FromWorker["type"]> = Extract<FromWorker, { type: T }>;

const FILE = modelFile(5000) as Uint8Array<ArrayBuffer>;
const BLOB: WireSource = { kind: "blob", blob: new Blob([FILE]) };

interface Options {
  adapter?: () => WebGpuReport;
  sources?: WireSource[];
  gpu?: () => never;
  hire?: () => void;
  storage?: FakeStorage;
  autotune?: boolean;
}

/** A service that loads, and what it posts. */
class Bench {
  readonly posted: FromWorker[] = [];
  readonly #service: Service;
  readonly binding: ReturnType<typeof fakeBinding>;
  #waiting: (() => void)[] = [];

  constructor(device: Device, make: (device: "wasm" | "webgpu") => FakeEngine, options: Options = {}) {
    const { adapter = () => ADAPTER, sources = [BLOB], gpu, hire, storage, autotune = true } = options;
    this.binding = fakeBinding(make, gpu);
    const outside: Outside = {
      post: (message) => {
        this.posted.push(message);
        for (const look of this.#waiting) look();
      },
      storage,
      locks: undefined,
      start: async () => ({
        binding: this.binding,
        features: ["simd128"],
        hire: () => (hire?.(), { size: 0, problem: undefined, end: async () => {} }),
      }),
      startConstraint: async () => new FakeConstraint(),
      adapter: async () => adapter(),
    };
    this.#service = new Service(outside);
    const load: WireLoad = { modules: [], constraint: "https://host.test/c.wasm", device, threads: { count: 1, exact: true }, sources, cache: true, autotune, model: {} };
    this.send({ type: "load", load });
  }

  send(message: ToWorker): void {
    this.#service.receive(message);
  }

  /** The first message of a type, from `mark` on. */
  async next<T extends FromWorker["type"]>(types: T[], mark = 0): Promise<Of<T>> {
    // Nothing else keeps Node from leaving.
    const awake = setInterval(() => {}, 1000);
    try {
      for (;;) {
        const found = this.posted.slice(mark).find(({ type }) => types.includes(type as T));
        if (found !== undefined) return found as Of<T>;
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
    } finally {
      clearInterval(awake);
    }
  }

  async loaded(): Promise<Of<"loaded">> {
    const answer = await this.next(["loaded", "failed"]);
    if (answer.type === "failed") throw answer.error;
    return answer;
  }

  async ask(request: WireRequest): Promise<Of<"done">> {
    const mark = this.posted.length;
    this.send({ type: "request", id: mark, request });
    const answer = await this.next(["done", "error", "dead"], mark);
    if (answer.type !== "done") throw answer.error;
    return answer;
  }

  async text(maxTokens: number, others: object = {}): Promise<string> {
    const mark = this.posted.length;
    await this.ask({ kind: "generate", prompt: "hi", options: { maxTokens, ...others } });
    return this.posted.slice(mark).map((message) => (message.type === "delta" ? message.delta.text : "")).join("");
  }
}

const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i} `).join("");

test("a real GPU is taken, and needs no helpers", async () => {
  let hired = 0;
  const { place } = await new Bench("auto", () => new FakeEngine(), { hire: () => hired++ }).loaded();
  assert.deepEqual([place.device, place.adapter, place.threads, place.notices], ["webgpu", "Fake GPU", 1, []]);
  assert.deepEqual(place.features, ["shader-f16"], "of the GPU, not of WebAssembly");
  assert.equal(hired, 0);
});

test("shapes are tried on the first visit alone, where what was found can be kept, and not if they are not wanted", async () => {
  const storage = new FakeStorage();
  const visit = async (options: Options): Promise<{ tries: number; kept: string[] }> => {
    const bench = new Bench("auto", () => new FakeEngine(), options);
    await bench.loaded();
    const kept = [...storage.files].map(([, bytes]) => new TextDecoder().decode(bytes));
    return { tries: bench.binding.seen.filter((what) => what === "tune").length, kept };
  };
  assert.deepEqual(await visit({ storage, autotune: false }), { tries: 0, kept: [] });
  assert.deepEqual(await visit({}), { tries: 0, kept: [] });
  assert.deepEqual(await visit({ storage }), { tries: 1, kept: ["found"] });
  storage.files.forEach((_, name) => storage.files.set(name, new TextEncoder().encode("found before")));
  assert.deepEqual(await visit({ storage }), { tries: 1, kept: ["found before"] }, "the engine has nothing to find");
  const other = (): WebGpuReport => ({ ...ADAPTER, description: "Another GPU" });
  assert.deepEqual((await visit({ storage, adapter: other })).kept, ["found before", "found"]);
});

test("where auto does not take the GPU, it says why, and webgpu fails with the same", async () => {
  const slow = new FakeEngine();
  slow.wordMs = 120;
  const refusing = Object.assign(new FakeEngine(), { refusal: "a format", device: "wasm" });
  Object.defineProperty(refusing, "device", { get: () => "wasm", set: () => {} });
  const broken = (): never => {
    throw typed("unsupported-device", "the GPU computes wrongly");
  };
  const failing = (device: string): FakeEngine => {
    if (device === "webgpu") throw typed("out-of-memory", "too large");
    return new FakeEngine();
  };
  const none = (): WebGpuReport => ({ ...ADAPTER, available: false, reason: "there is no adapter" });
  const program = (): WebGpuReport => ({ ...ADAPTER, reason: "it is a program" });
  const cases: [string, RegExp, (device: "wasm" | "webgpu") => FakeEngine, Options, string?][] = [
    ["no adapter", /^WebGPU is not used: there is no adapter$/, () => new FakeEngine(), { adapter: none }, "unsupported-device"],
    ["a program", /is a program/, () => new FakeEngine(), { adapter: program }],
    ["the self-test", /computes wrongly/, () => new FakeEngine(), { gpu: broken }, "unsupported-device"],
    ["no room", /too large/, failing, {}, "out-of-memory"],
    ["slow steps", /takes 1[2-4]\d ms/, (device) => (device === "webgpu" ? slow : new FakeEngine()), {}],
    ["refused by the header", /a format/, () => refusing, {}],
  ];
  for (const [name, reason, make, options, code] of cases) {
    const bench = new Bench("auto", make, options);
    const { place } = await bench.loaded();
    assert.equal(place.device, "wasm", name);
    assert.equal(place.notices.length, 1, name);
    assert.match(place.notices[0]!, reason, name);
    assert.equal(await bench.text(2), words(2), name);
    const downloads = bench.posted.flatMap((message) => (message.type === "progress" && message.phase === "download" ? [message.loaded] : []));
    assert.deepEqual(downloads, downloads.toSorted((a, b) => a - b), `${name}: progress never falls`);
    if (code !== undefined) await assert.rejects(new Bench("webgpu", make, options).loaded(), { code }, name);
  }
  assert.equal(slow.freed, true);
});

test("that a GPU was refused is known at the next visit, until it passes", async () => {
  const storage = new FakeStorage();
  const refusals = new Refusals(storage);
  const broken = (): never => {
    throw typed("unsupported-device", "the GPU computes wrongly");
  };
  await new Bench("auto", () => new FakeEngine(), { storage, gpu: broken }).loaded();
  assert.equal(await refusals.of(ADAPTER.description), "the GPU computes wrongly");
  assert.equal(await refusals.of("Another GPU"), undefined);
  // The same of another version, and of none.
  const [[name, bytes]] = [...storage.files] as [[string, Uint8Array]];
  const text = new TextDecoder().decode(bytes);
  for (const other of [text.replace('"by":"', '"by":"9'), "{"]) {
    storage.files.set(name, new TextEncoder().encode(other));
    assert.equal(await refusals.of(ADAPTER.description), undefined);
  }
  storage.files.set(name, bytes);
  await new Bench("auto", () => new FakeEngine(), { storage, autotune: false }).loaded();
  assert.equal(await refusals.of(ADAPTER.description), undefined);
  const lost = (): never => {
    throw typed("device-lost", "the GPU was lost");
  };
  await new Bench("auto", () => new FakeEngine(), { storage, gpu: lost }).loaded();
  assert.equal(storage.files.size, 0, "only what is the adapter's is kept");
});

test("what is wrong with the file is not tried again on the processor", async () => {
  let loads = 0;
  const make = (): FakeEngine => (loads++, new FakeEngine());
  await assert.rejects(new Bench("auto", make, { sources: [{ kind: "blob", blob: new Blob(["a web page, and no model"]) }] }).loaded(), {
    code: "invalid-model",
  });
  const stream = new Blob([FILE]).stream() as ReadableStream<Uint8Array>;
  const fails = (device: string): FakeEngine => {
    if (device === "webgpu") throw typed("out-of-memory", "too large");
    return new FakeEngine();
  };
  await assert.rejects(new Bench("auto", fails, { sources: [{ kind: "stream", stream }] }).loaded(), { code: "out-of-memory" });
  assert.equal(loads, 0);
});

test("an answer goes on where the GPU was lost, again and again", async () => {
  const engines: FakeEngine[] = [];
  const make = (): FakeEngine => {
    const engine = new FakeEngine();
    engine.life = 12;
    engines.push(engine);
    return engine;
  };
  const bench = new Bench("webgpu", make);
  await bench.loaded();
  assert.equal(await bench.text(100), words(100));
  assert.ok(engines.length >= 9, `${engines.length} engines`);
  assert.deepEqual(engines.map(({ freed }) => freed), engines.map((_, i) => i < engines.length - 1));
  const { place } = await bench.next(["moved"]);
  assert.deepEqual([place.device, place.notices], ["webgpu", ["the GPU was lost: it was opened anew"]]);
  const seeds = engines.flatMap(({ calls }) => calls.filter((call) => call.startsWith("generate 3")).map((call) => /"seed":\d+/.exec(call)![0]));
  assert.equal(new Set(seeds).size, 1, "every engine draws from the same seed");
});

test("so does one that has a form", async () => {
  const make = (): FakeEngine => {
    const engine = new FakeEngine();
    engine.life = 6;
    return engine;
  };
  const bench = new Bench("webgpu", make);
  await bench.loaded();
  const letters = "QABCDEFAGHAAIJKLMNOPAQ";
  const options = { format: JSON.stringify({ choices: [letters] }) };
  assert.equal(await bench.text(99, options), letters);
  assert.ok(bench.posted.filter(({ type }) => type === "moved").length >= 2);
});

test("a GPU that cannot be had again gives way to the processor, or the request fails", async () => {
  for (const device of ["auto", "webgpu"] as const) {
    let adapters = 0;
    const make = (kind: string): FakeEngine => {
      const engine = new FakeEngine();
      if (kind === "webgpu") engine.life = 10;
      return engine;
    };
    const adapter = (): WebGpuReport => (adapters++ === 0 ? ADAPTER : { ...ADAPTER, available: false, reason: "it is gone" });
    const bench = new Bench(device, make, { adapter });
    await bench.loaded();
    if (device === "auto") {
      assert.equal(await bench.text(30), words(30));
      const { place } = await bench.next(["moved"]);
      assert.deepEqual(place.notices, ["WebGPU is not used: it is gone", "the GPU was lost: the processor has taken over"]);
    } else {
      await assert.rejects(bench.text(30), { code: "device-lost" });
    }
  }
});

test("a GPU that is lost at every try is given up", async () => {
  const make = (kind: string): FakeEngine => {
    const engine = new FakeEngine();
    const generate = engine.generate.bind(engine);
    // It warms up, and is lost at the first request.
    engine.generate = (prompt, answered, options) => {
      if (kind === "webgpu" && prompt.length > 1) engine.life = 0;
      return generate(prompt, answered, options);
    };
    return engine;
  };
  const bench = new Bench("auto", make);
  await bench.loaded();
  assert.equal(await bench.text(5), words(5));
  const { place } = bench.posted.findLast(({ type }) => type === "moved") as Of<"moved">;
  assert.equal(place.device, "wasm");
  const stubborn = new Bench("webgpu", make);
  await stubborn.loaded();
  await assert.rejects(stubborn.text(5), { code: "device-lost", message: /again and again/ });
  assert.deepEqual((await stubborn.ask({ kind: "detokenize", tokens: Uint32Array.of(104) })).answer, "h");
});

test("a model from a stream cannot come back", async () => {
  const engine = new FakeEngine();
  engine.life = 3;
  const stream = new Blob([FILE]).stream() as ReadableStream<Uint8Array>;
  const bench = new Bench("webgpu", () => engine, { sources: [{ kind: "stream", stream }] });
  await bench.loaded();
  await assert.rejects(bench.text(30), { code: "device-lost", message: /stream/ });
});
