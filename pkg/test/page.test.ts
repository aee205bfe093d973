import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { load, probe, WispError } from "../src/index.js";
import { fromWire, toWire } from "../src/errors.js";
import { loadOptions } from "../src/options.js";
import { wasmFeatures } from "../src/probe.js";
import { address, sources } from "../src/source.js";

test("under Node nothing runs, and it says so", async () => {
  await assert.rejects(load("https://host.test/m.gguf"), { name: "WispError", code: "unsupported-device" });
  const report = await probe();
  assert.equal(report.device, null);
  assert.match(report.reasons.join("\n"), /no web workers/);
});

test("the feature modules are valid where the features are", () => {
  // The version of V8 in Node 20 has relaxed SIMD behind a flag.
  setFlagsFromString("--experimental-wasm-relaxed-simd");
  assert.deepEqual(wasmFeatures(), { simd: true, relaxedSimd: true, threads: true });
});

test("load refuses what it does not know or does not have", async () => {
  const refused: [object, string, string][] = [
    [{ devise: "auto" }, "invalid-argument", "devise"],
    [{ device: "gpu" }, "invalid-argument", "device"],
    [{ device: "webgpu", threads: 2 }, "invalid-argument", "threads"],
    [{ threads: 65 }, "invalid-argument", "threads"],
    [{ threads: 0 }, "invalid-argument", "threads"],
    [{ contextLength: 1.5 }, "invalid-argument", "contextLength"],
    [{ kvType: "q4_0" }, "invalid-argument", "kvType"],
    [{ activations: "int4" }, "invalid-argument", "activations"],
    [{ cache: "no" }, "invalid-argument", "cache"],
    [{ signal: {} }, "invalid-argument", "signal"],
    [{ onProgress: 1 }, "invalid-argument", "onProgress"],
    [{ assets: { base: "x" } }, "invalid-argument", "base"],
    [{ toString: 1 }, "invalid-argument", "toString"],
  ];
  for (const [options, code, option] of refused) {
    await assert.rejects(load("https://host.test/m.gguf", options as never), { code, details: { option } });
  }
  assert.deepEqual(loadOptions({ device: "auto", threads: 1, signal: undefined as never }), { device: "auto", threads: 1 });
  await assert.rejects(load("https://host.test/m.gguf", { signal: AbortSignal.abort("now") }), { code: "aborted", cause: "now" });
});

test("addresses", () => {
  assert.equal(address("hf:a/b/c d/e.gguf"), "https://huggingface.co/a/b/resolve/main/c%20d/e.gguf");
  assert.equal(address(new URL("https://host.test/m.gguf#part")), "https://host.test/m.gguf");
  for (const bad of ["hf:a/b", "hf:a//b.gguf", "no address"]) {
    assert.throws(() => address(bad), { code: "invalid-argument" });
  }
});

test("sources", () => {
  const hash = "AB".repeat(32);
  assert.deepEqual(sources({ url: "https://host.test/m", sha256: hash, headers: { Authorization: "x" } }), [
    { kind: "remote", url: "https://host.test/m", sha256: hash.toLowerCase(), headers: { authorization: "x" } },
  ]);
  assert.deepEqual(sources(["https://host.test/1", new Blob([])]).map(({ kind }) => kind), ["remote", "blob"]);
  const locked = new ReadableStream();
  locked.getReader();
  for (const bad of [[], 5, null, { url: 5 }, { url: "https://x.test", sha: "x" }, { url: "https://x.test", sha256: "x" }, locked]) {
    assert.throws(() => sources(bad as never), { code: "invalid-argument" });
  }
});

test("an error is the same on both sides", () => {
  const error = new WispError("invalid-model", "a bad file", { details: { offset: 7, tensor: "t" }, cause: new TypeError("why") });
  const other = fromWire(structuredClone(toWire(error)));
  assert.ok(other instanceof WispError && other instanceof Error);
  assert.deepEqual([other.name, other.code, other.message, other.details], ["WispError", "invalid-model", "a bad file", { offset: 7, tensor: "t" }]);
  assert.deepEqual([(other.cause as Error).name, (other.cause as Error).message], ["TypeError", "why"]);
});
