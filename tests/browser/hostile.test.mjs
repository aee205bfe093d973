// Bad model files: each gives its typed error, and the page's next load works.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { asQ8, KIND, number, parse, write } from "./gguf.mjs";
import { fixture, openSite, realModel } from "./site.mjs";
import { openBrowser, report, run } from "./harness.mjs";

const GOOD = fixture("tiny/llama-0.gguf");
const MODEL = parse(GOOD);
const { at } = MODEL;
const QUERY = "blk.0.attn_q.weight";
const NORM = "blk.1.ffn_norm.weight";

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

/** The good file with some bytes overwritten. */
function patched(...edits) {
  const bytes = Buffer.from(GOOD);
  for (const [position, value, width] of edits) number(value, width).copy(bytes, position);
  return bytes;
}

/** The good model with its keys or tensors changed, written anew. */
function changed(change) {
  const model = { keys: [...MODEL.keys], tensors: [...MODEL.tensors] };
  change(model);
  return write(model);
}

const withKey = (name, kind, value) =>
  changed((model) => {
    const key = { name, kind, value };
    const index = model.keys.findIndex((other) => other.name === name);
    if (index < 0) model.keys.push(key);
    else model.keys[index] = key;
  });

const withoutKey = (name) => changed((model) => (model.keys = model.keys.filter((key) => key.name !== name)));

const withTensor = (name, change) =>
  changed((model) => (model.tensors = model.tensors.map((tensor) => (tensor.name === name ? change(tensor) : tensor))));

const u32 = (value) => number(value, 4);

function float(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

const tensors = (keys) => Object.values(at.tensors).map((tensor) => tensor[keys]);
const [firstEntry] = tensors("entry");
const place = at.tensors[QUERY];
const HUGE = 0x7fffffffffffff00n;

// What is wrong with it → [bytes, what the error's details must have, its code].
const CASES = {
  "an HTML page": [Buffer.from("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>".repeat(40)), { offset: 0 }],
  "a JSON message": [Buffer.from('{"error":"Repository not found"}'), { offset: 0 }],
  "a Git LFS pointer": [Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), { offset: 0 }],
  "wrong magic": [patched([0, 0x47475546, 4]), { offset: 0 }],
  "zeros": [Buffer.alloc(100_000), { offset: 0 }],
  "version 1": [patched([4, 1, 4]), { offset: 4 }],
  "version 99": [patched([4, 99, 4]), { offset: 4 }],
  "a big-endian file": [patched([4, 0x03000000, 4]), { offset: 4 }],
  "an absurd number of tensors": [patched([at.tensorCount, HUGE, 8]), { offset: at.tensorCount }],
  "an absurd number of keys": [patched([at.keyCount, HUGE, 8]), { offset: at.keyCount }],
  "a key of absurd length": [patched([24, HUGE, 8]), { offset: 24 }],
  "a string of absurd length": [
    patched([at.keys["general.architecture"] + 8 + "general.architecture".length + 4, HUGE, 8]),
    { key: "general.architecture" },
  ],
  "an array of absurd length": [
    patched([at.keys["tokenizer.ggml.tokens"] + 8 + "tokenizer.ggml.tokens".length + 8, HUGE, 8]),
    { key: "tokenizer.ggml.tokens" },
  ],
  "an unknown type of value": [
    patched([at.keys["llama.block_count"] + 8 + "llama.block_count".length, 77, 4]),
    { key: "llama.block_count" },
  ],
  "a key twice": [changed((model) => model.keys.push(model.keys[0])), { key: "general.architecture" }],
  "an alignment of 3": [withKey("general.alignment", KIND.u32, u32(3)), { key: "general.alignment" }],
  "an alignment of 0": [withKey("general.alignment", KIND.u32, u32(0)), { key: "general.alignment" }],
  "a tensor name of absurd length": [patched([firstEntry, HUGE, 8]), { offset: firstEntry }],
  "a tensor of 9 dimensions": [patched([place.dimCount, 9, 4]), { tensor: QUERY }],
  "a dimension of 0": [patched([place.dimCount + 4, 0, 8]), { tensor: QUERY }],
  "dimensions beyond 64 bits": [patched([place.dimCount + 4, 1n << 60n, 8], [place.dimCount + 12, 1n << 60n, 8]), { tensor: QUERY }],
  "an unknown type of tensor": [patched([place.type, 4711, 4]), { tensor: QUERY }],
  "a misaligned offset": [patched([place.offset, 33, 8]), { tensor: QUERY }],
  "a tensor outside of the file": [patched([at.tensors[NORM].offset, 1n << 40n, 8]), { offset: Number }],
  "an offset beyond 64 bits": [patched([at.tensors[NORM].offset, 0xffffffffffffffe0n, 8]), { tensor: NORM }],
  "overlapping tensors": [patched([place.offset, 0, 8]), { tensor: String }],
  "two tensors of one name": [
    changed((model) => model.tensors.push({ ...model.tensors[2], data: Buffer.from(model.tensors[2].data) })),
    { tensor: MODEL.tensors[2].name },
  ],
  "NaN as the scale of a block": [withTensor(QUERY, (tensor) => asQ8(tensor, 0x7e00)), { tensor: QUERY }],
  "infinity as the scale of a block": [withTensor(QUERY, (tensor) => asQ8(tensor, 0x7c00)), { tensor: QUERY }],
  "NaN among float weights": [
    withTensor(QUERY, (tensor) => {
      const data = Buffer.from(tensor.data);
      data.writeFloatLE(NaN, 400);
      return { ...tensor, data };
    }),
    { tensor: QUERY },
  ],
  "a missing tensor": [
    changed((model) => (model.tensors = model.tensors.filter(({ name }) => name !== QUERY))),
    { tensor: QUERY },
  ],
  "a tensor of the wrong shape": [
    withTensor(QUERY, (tensor) => ({ ...tensor, dims: [64, 256] })),
    { tensor: QUERY },
  ],
  "a vector where a matrix belongs": [
    withTensor(QUERY, (tensor) => ({ ...tensor, dims: [128 * 128] })),
    { tensor: QUERY },
  ],
  "no architecture": [withoutKey("general.architecture"), { key: "general.architecture" }],
  "an architecture that is no text": [
    withKey("general.architecture", KIND.u32, u32(7)),
    { key: "general.architecture" },
  ],
  "an unknown architecture": [
    withKey("general.architecture", KIND.string, "quantum-lm"),
    { key: "general.architecture" },
    "unsupported-model",
  ],
  "no number of layers": [withoutKey("llama.block_count"), { key: "llama.block_count" }],
  "four billion layers": [withKey("llama.block_count", KIND.u32, u32(0xffffffff)), {}],
  "no heads": [withKey("llama.attention.head_count", KIND.u32, u32(0)), {}],
  "more heads for keys than for queries": [withKey("llama.attention.head_count_kv", KIND.u32, u32(1000)), {}],
  "an epsilon of NaN": [withKey("llama.attention.layer_norm_rms_epsilon", KIND.f32, float(NaN)), {}],
  "no tokens": [withoutKey("tokenizer.ggml.tokens"), { key: "tokenizer.ggml.tokens" }],
  "tokens that are numbers": [
    withKey("tokenizer.ggml.tokens", KIND.array, { of: KIND.u32, items: [u32(1), u32(2)] }),
    { key: "tokenizer.ggml.tokens" },
  ],
  "fewer tokens than rows": [
    withKey("tokenizer.ggml.tokens", KIND.array, { of: KIND.string, items: ["a", "b"] }),
    {},
  ],
  "an unknown tokenizer": [withKey("tokenizer.ggml.model", KIND.string, "runes"), {}, "unsupported-model"],
  "an unknown pre-tokenizer": [withKey("tokenizer.ggml.pre", KIND.string, "runes"), {}, "unsupported-model"],
  "a part of a split model alone": [
    withKey("split.count", KIND.u16, number(3, 2)),
    { key: "split.count" },
  ],
};

/** Loads each from a Blob, and then the good one. */
function attempt(files) {
  return run(
    page,
    async ({ load, failure }, { files }) => {
      const bytes = async (path) => await (await fetch(path)).blob();
      const errors = [];
      for (const path of files) {
        const model = load(await bytes(path));
        const error = await failure(model.then((loaded) => loaded.close()));
        errors.push(error);
      }
      const model = await load(await bytes("/good.gguf"));
      const { logprobs } = await model.score([5, 17, 99]);
      await model.close();
      return { errors, logprobs };
    },
    { files },
  );
}

function judge(t, name, error, details, code = "invalid-model") {
  report(t, `${name}: ${error.code}: ${error.message} ${JSON.stringify(error.details)}`);
  assert.ok(error.typed, `${name}: ${error.message}`);
  assert.equal(error.code, code, `${name}: ${error.message}`);
  assert.ok(error.message.length > 10, name);
  for (const [key, wanted] of Object.entries(details)) {
    const got = error.details[key];
    if (typeof wanted === "function") assert.equal(typeof got, typeof wanted(0), `${name}: ${key} of ${JSON.stringify(error.details)}`);
    else assert.equal(got, wanted, `${name}: ${key} of ${JSON.stringify(error.details)}`);
  }
}

for (const [name, [bytes, details, code]] of Object.entries(CASES)) {
  test(`${name} is refused, and the next load works`, { timeout: 30_000 }, async (t) => {
    site.put("/good.gguf", GOOD);
    site.put("/bad.gguf", bytes);
    const { errors, logprobs } = await attempt(["/bad.gguf"]);
    judge(t, name, errors[0], details, code);
    assert.ok(logprobs[1] < 0 && logprobs[2] < 0);
  });
}

test("a file cut anywhere is refused with the place of the cut", { timeout: 120_000 }, async (t) => {
  const cuts = [0, 1, 3, 4, 7, 12, 23, 24, 31, 40, 1000, at.indexEnd - 40, at.indexEnd - 1, at.data - 1, at.data, at.data + 1];
  cuts.push(place.data, place.data + 1000, GOOD.length >> 1, GOOD.length - 33, MODEL.at.tensors[MODEL.tensors.at(-1).name].data);
  const files = cuts.map((cut) => `/cut-${cut}.gguf`);
  cuts.forEach((cut, i) => site.put(files[i], GOOD.subarray(0, cut)));
  site.put("/good.gguf", GOOD);
  const { errors } = await attempt(files);
  for (const [i, cut] of cuts.entries()) judge(t, `cut at ${cut}`, errors[i], { offset: cut });
});

test("bad files from the network and from streams are refused, and not kept", { timeout: 60_000 }, async (t) => {
  const html = site.put("/page.gguf", "<!doctype html><title>Sign in</title>".padEnd(5000), { type: "text/html", etag: '"h"' });
  const short = site.put("/short.gguf", GOOD.subarray(0, 700_000), { etag: '"s"' });
  const { errors, again } = await run(
    page,
    async ({ load, failure }, { html, short }) => {
      const streamed = async (url) => load((await fetch(url)).body);
      return {
        errors: {
          html: await failure(load(html)),
          short: await failure(load(short)),
          stream: await failure(streamed(short)),
          streamedHtml: await failure(streamed(html)),
        },
        again: await failure(load(short)),
      };
    },
    { html, short },
  );
  judge(t, "html", errors.html, { offset: 0 });
  judge(t, "short", errors.short, { offset: 700_000 });
  judge(t, "stream", errors.stream, { offset: 700_000 });
  judge(t, "html in a stream", errors.streamedHtml, { offset: 0 });
  judge(t, "short again", again, { offset: 700_000 });
  const mark = site.requests.length;
  site.put("/short.gguf", GOOD, { etag: '"whole"' });
  const logprobs = await run(page, async ({ load }, { short }) => {
    const model = await load(short);
    const { logprobs } = await model.score([5, 17, 99]);
    await model.close();
    return logprobs;
  }, { short });
  assert.equal(site.of("/short.gguf", mark).at(-1).range, undefined, "nothing of the bad file is left");
  assert.ok(logprobs[1] < 0);
});

test("a bad load does not disturb a model that is there", { timeout: 60_000 }, async () => {
  site.put("/good.gguf", GOOD);
  site.put("/nan.gguf", CASES["NaN as the scale of a block"][0]);
  const { before, code, after } = await run(page, async ({ load, failure }) => {
    const model = await load("/good.gguf");
    const scoring = model.score([5, 17, 99]);
    const { code } = await failure(load("/nan.gguf"));
    const before = await scoring;
    const after = await model.score([5, 17, 99]);
    await model.close();
    return { before, code, after };
  });
  assert.equal(code, "invalid-model");
  assert.deepEqual(after, before);
});

test("memory is not taken on a file's word", { timeout: 60_000 }, async (t) => {
  // The header promises 247 MB of weights; the stream ends before most of them.
  const received = 20e6;
  site.put("/promise.gguf", realModel("gemma-3-270m-q4_k_m.gguf").subarray(0, received));
  const own = await openBrowser();
  try {
    const fresh = await own.open(site);
    await run(fresh, async ({ probe }) => void (await probe()));
    const before = await own.resident();
    const error = await run(fresh, async ({ load, failure }) => failure(load((await fetch("/promise.gguf")).body)));
    const { peak } = (await own.resident()).growth(before);
    judge(t, "a promise", error, { offset: received });
    report(t, `page processes: by ${(peak / 1e6).toFixed(1)} MB more at their peak`);
    assert.ok(peak < 200e6);
  } finally {
    await own.close();
  }
});
