// Everything that `load` takes, and what it refuses.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, test } from "node:test";
import { split } from "./gguf.mjs";
import { fixture, fixtureJson, openSite } from "./site.mjs";
import { openBrowser, run } from "./harness.mjs";

const LLAMA = fixture("tiny/llama-0.gguf");
const PARTS = split(LLAMA, 3);
const { tokens } = fixtureJson("tiny/llama-0.json");

let site, browser, page, reference;

before(async () => {
  site = await openSite();
  browser = await openBrowser();
  page = await browser.open(site);
  PARTS.forEach((part, i) => site.put(`/model-0000${i + 1}-of-00003.gguf`, part, { etag: `"${i}"` }));
  reference = await scored("() => '/tiny/llama-0.gguf'");
});

after(async () => {
  await browser?.close();
  await site?.close();
});

/** The scores of the model whose source the function makes in the page. */
function scored(make, options = {}, on = page) {
  return run(
    on,
    async ({ load }, { make, options, tokens }) => {
      const model = await load(await (0, eval)(make)(), options);
      const { logprobs } = await model.score(tokens);
      await model.close();
      return logprobs;
    },
    { make: make.toString(), options, tokens },
  );
}

function refused(make, options = {}) {
  return run(
    page,
    async ({ load, failure }, { make, options }) => failure((async () => load(await (0, eval)(make)(), options))()),
    { make: make.toString(), options },
  );
}

const SOURCES = {
  "a relative address": () => "tiny/llama-0.gguf",
  "an absolute address": () => `${location.origin}/tiny/llama-0.gguf#fragment`,
  "a URL object": () => new URL("/tiny/llama-0.gguf", location.href),
  "{ url } of a string": () => ({ url: "/tiny/llama-0.gguf" }),
  "{ url } of a URL object": () => ({ url: new URL("/tiny/llama-0.gguf", location.href), headers: { accept: "*/*" } }),
  "a Blob": async () => (await fetch("/tiny/llama-0.gguf")).blob(),
  "a blob: address": async () => URL.createObjectURL(await (await fetch("/tiny/llama-0.gguf")).blob()),
  "a File": async () => new File([await (await fetch("/tiny/llama-0.gguf")).blob()], "llama.gguf"),
  "a file of the private file system": async () => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("mine.gguf", { create: true });
    await (await fetch("/tiny/llama-0.gguf")).body.pipeTo(await handle.createWritable());
    return handle.getFile();
  },
  "a ReadableStream": async () => (await fetch("/tiny/llama-0.gguf")).body,
  "a ReadableStream of single bytes and large pieces": async () => {
    const bytes = new Uint8Array(await (await fetch("/tiny/llama-0.gguf")).arrayBuffer());
    let at = 0;
    return new ReadableStream({
      pull(controller) {
        if (at === bytes.length) return controller.close();
        const end = at < 3000 ? at + 1 : Math.min(bytes.length, at + 700_001);
        controller.enqueue(bytes.slice(at, end));
        at = end;
      },
    });
  },
  "an array of addresses": () => [1, 2, 3].map((part) => `/model-0000${part}-of-00003.gguf`),
  "an array of one": () => ["/tiny/llama-0.gguf"],
  "an array of Files": () =>
    Promise.all(
      [1, 2, 3].map(async (part) => {
        const name = `model-0000${part}-of-00003.gguf`;
        return new File([await (await fetch(`/${name}`)).blob()], name);
      }),
    ),
  "an array of streams": () => Promise.all([1, 2, 3].map(async (part) => (await fetch(`/model-0000${part}-of-00003.gguf`)).body)),
  "an array of several kinds": async () => [
    { url: "/model-00001-of-00003.gguf" },
    await (await fetch("/model-00002-of-00003.gguf")).blob(),
    new URL("/model-00003-of-00003.gguf", location.href),
  ],
};

for (const [name, make] of Object.entries(SOURCES)) {
  test(`a model loads from ${name}`, { timeout: 30_000 }, async () => {
    assert.deepEqual(await scored(make), reference);
  });
}

test("a stream that cannot move to a worker is read on the page", { timeout: 30_000 }, async () => {
  // As in browsers whose streams are not transferable.
  const own = await browser.open(site);
  await own.evaluate(() => {
    const post = Worker.prototype.postMessage;
    const clone = structuredClone;
    const check = (transfer) => {
      if (transfer?.some((item) => item instanceof ReadableStream)) throw new DOMException("no", "DataCloneError");
    };
    globalThis.structuredClone = (value, options) => (check(options?.transfer), clone(value, options));
    Worker.prototype.postMessage = function (message, transfer) {
      check(Array.isArray(transfer) ? transfer : transfer?.transfer);
      return post.call(this, message, transfer);
    };
  });
  assert.deepEqual(await scored(SOURCES["a ReadableStream"], {}, own), reference);
  assert.deepEqual(await scored(SOURCES["an array of streams"], {}, own), reference);
  await own.close();
});

test("hf: names a file of a Hugging Face repository", { timeout: 30_000 }, async () => {
  const seen = [];
  await page.route("https://huggingface.co/**", async (route) => {
    const request = route.request();
    seen.push({ method: request.method(), url: request.url() });
    const headers = { "access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin", etag: '"hf"' };
    await route.fulfill({ status: 200, contentType: "application/octet-stream", headers, body: LLAMA });
  });
  assert.deepEqual(await scored(() => "hf:owner/repo/folder/tiny model.gguf"), reference);
  assert.deepEqual(seen, [{ method: "GET", url: "https://huggingface.co/owner/repo/resolve/main/folder/tiny%20model.gguf" }]);
  assert.deepEqual(await scored(() => ({ url: "hf:owner/repo/folder/tiny model.gguf" })), reference, "and again, kept");
  assert.equal(seen.length, 1);
  await page.unroute("https://huggingface.co/**");
});

test("a model comes from another origin that allows it", { timeout: 30_000 }, async () => {
  const other = await openSite();
  const headers = { "access-control-allow-origin": "*" };
  const url = other.put("/far.gguf", LLAMA, { etag: '"far"', headers, rate: 2e6, cut: [400_000] });
  try {
    assert.deepEqual(await scored(`() => ${JSON.stringify(url)}`), reference);
    const [first, second] = other.of("/far.gguf");
    assert.equal(first.range, undefined);
    assert.match(second.range, /^bytes=[1-9]\d*-$/);
    assert.equal(other.requests.filter(({ method }) => method === "OPTIONS").length, 0, "no permission has to be asked for");
  } finally {
    await other.close();
  }
});

test("the package itself comes from another origin", { timeout: 30_000 }, async () => {
  const headers = { "access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin" };
  const far = await openSite({ headers });
  try {
    const logprobs = await page.evaluate(
      async ([base, tokens]) => {
        const { load } = await import(`${base}index.js`);
        const model = await load("/tiny/llama-0.gguf");
        const { logprobs } = await model.score(tokens);
        await model.close();
        return logprobs;
      },
      [new URL("/pkg/", far.url).href, tokens],
    );
    assert.deepEqual(logprobs, reference);
    const assets = { baseUrl: new URL("/pkg", far.url).href };
    assert.deepEqual(await scored(() => "/tiny/llama-0.gguf", { assets }), reference);
    const missing = await refused(() => "/tiny/llama-0.gguf", { assets: { baseUrl: "/nowhere/" } });
    assert.ok(missing.typed, missing.message);
    assert.ok(["network", "not-found"].includes(missing.code), missing.code);
  } finally {
    await far.close();
  }
});

test("a model loads in a worker of the page's own", { timeout: 30_000 }, async () => {
  const logprobs = await page.evaluate(async (tokens) => {
    const script = `
      import { load } from "${location.origin}/pkg/index.js";
      try {
        const model = await load("${location.origin}/tiny/llama-0.gguf");
        const { logprobs } = await model.score(${JSON.stringify(tokens)});
        await model.close();
        postMessage(logprobs);
      } catch (error) {
        postMessage(String(error));
      }`;
    const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
    const { data } = await new Promise((resolve) => worker.addEventListener("message", resolve, { once: true }));
    worker.terminate();
    return data;
  }, tokens);
  assert.deepEqual(logprobs, reference);
});

test("a content security policy needs no more than 'wasm-unsafe-eval'", { timeout: 30_000 }, async () => {
  for (const [allowed, code] of [["'wasm-unsafe-eval'", "fine"], ["", "unsupported-device"]]) {
    const policy = `default-src 'self'; script-src 'self' ${allowed}`;
    const strict = await openSite({ headers: { "content-security-policy": policy } });
    try {
      const own = await browser.open(strict);
      const outcome = await own.evaluate(async () => {
        const { load } = await import("/pkg/index.js");
        try {
          await (await load("/tiny/llama-0.gguf")).close();
          return { code: "fine" };
        } catch ({ code, message }) {
          return { code, message };
        }
      });
      assert.equal(outcome.code, code, outcome.message);
      if (code !== "fine") assert.match(outcome.message, /wasm-unsafe-eval/);
      await own.close();
    } finally {
      await strict.close();
    }
  }
});

test("sha256 holds for each part of a split model", { timeout: 30_000 }, async () => {
  const sums = PARTS.map((part) => createHash("sha256").update(part).digest("hex"));
  const make = (order) => `() => [1, 2, 3].map((part, i) => ({
    url: \`/model-0000\${part}-of-00003.gguf\`, sha256: ${JSON.stringify(order.map((i) => sums[i]))}[i] }))`;
  assert.deepEqual(await scored(make([0, 1, 2])), reference);
  assert.equal((await refused(make([0, 2, 1]))).code, "integrity");
});

const REFUSALS = {
  "parts in the wrong order": [() => [2, 1, 3].map((part) => `/model-0000${part}-of-00003.gguf`), "invalid-model"],
  "a part missing": [() => [1, 2].map((part) => `/model-0000${part}-of-00003.gguf`), "invalid-model"],
  "a part twice": [() => [1, 2, 2].map((part) => `/model-0000${part}-of-00003.gguf`), "invalid-model"],
  "one part alone": [() => "/model-00001-of-00003.gguf", "invalid-model"],
  "two whole models": [() => ["/tiny/llama-0.gguf", "/tiny/llama-1.gguf"], "invalid-model"],
  "an empty array": [() => [], "invalid-argument"],
  "a number": [() => 42, "invalid-argument"],
  "nothing": [() => undefined, "invalid-argument"],
  "an address that is none": [() => "http://[", "invalid-argument"],
  "an hf: address without a file": [() => "hf:owner/repo", "invalid-argument"],
  "a source option that does not exist": [() => ({ url: "/tiny/llama-0.gguf", sha: "1" }), "invalid-argument"],
  "a locked stream": [
    () => {
      const stream = new ReadableStream();
      stream.getReader();
      return stream;
    },
    "invalid-argument",
  ],
  "a stream that fails": [
    () => new ReadableStream({ pull: (controller) => controller.error(new Error("the camera is off")) }),
    "network",
  ],
  "a stream of words": [() => new ReadableStream({ start: (controller) => controller.enqueue("GGUF") }), "invalid-argument"],
};

for (const [name, [make, code]] of Object.entries(REFUSALS)) {
  test(`${name} is refused`, { timeout: 30_000 }, async () => {
    const error = await refused(make);
    assert.deepEqual([error.typed, error.code], [true, code], `${error.name} ${error.message}`);
    assert.deepEqual(await scored(() => "/tiny/llama-0.gguf"), reference, "and the next load works");
  });
}

test("options that load does not have, or cannot follow, are refused", { timeout: 30_000 }, async () => {
  const cases = [
    [{ colour: "red" }, "invalid-argument"],
    [{ contextLength: 0 }, "invalid-argument"],
    [{ contextLength: 1.5 }, "invalid-argument"],
    [{ kvType: "q3" }, "invalid-argument"],
    [{ device: "webgpu", threads: 2 }, "invalid-argument"],
    [{ device: "npu" }, "invalid-argument"],
    [{ threads: 65 }, "invalid-argument"],
    [{ threads: "many" }, "invalid-argument"],
    [{ cache: "yes" }, "invalid-argument"],
  ];
  for (const [options, code] of cases) {
    const error = await refused(() => "/tiny/llama-0.gguf", options);
    assert.deepEqual([error.typed, error.code], [true, code], `${JSON.stringify(options)}: ${error.message}`);
  }
});

test("contextLength and kvType take effect", { timeout: 60_000 }, async () => {
  const seen = await run(page, async ({ load, failure }) => {
    const url = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    const info = async (options) => {
      const model = await load(url, options);
      const { contextLength, memory } = model.info;
      const over = await failure(model.score(new Array(contextLength + 1).fill(5)));
      await model.close();
      return { contextLength, kv: memory.kv, over: over.code };
    };
    const kept = [await info({ contextLength: 512 }), await info({ contextLength: 1024 })];
    const named = await info({ contextLength: 1024, kvType: "f16" });
    const quantized = await info({ contextLength: 1024, kvType: "q8_0" });
    return { kept, named, quantized };
  });
  const [half, whole] = seen.kept;
  assert.deepEqual([half.contextLength, whole.contextLength], [512, 1024]);
  assert.deepEqual([half.over, whole.over], ["context-overflow", "context-overflow"]);
  assert.equal(whole.kv, 2 * half.kv);
  assert.equal(seen.named.kv, whole.kv, "f16 is the default");
  // 8 bits and a scale of 32 per 32 values, against 16 and one per 64.
  assert.equal(seen.quantized.kv / whole.kv, 1.125 / 2.0625);
});
