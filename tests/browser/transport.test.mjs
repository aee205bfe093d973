// Ways in which servers deliver files: redirected, compressed, without a size.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import { fixture, openSite } from "./site.mjs";
import { openBrowser, run } from "./harness.mjs";

const LLAMA = fixture("tiny/llama-0.gguf");
const sha256 = createHash("sha256").update(LLAMA).digest("hex");
const OPEN = { "access-control-allow-origin": "*" };

let browser, site, page;

before(async () => {
  browser = await openBrowser();
});

after(() => browser?.close());

beforeEach(async () => {
  site = await openSite();
  page = await browser.open(site);
});

afterEach(async () => {
  await page.close();
  await site.close();
});

function loadIn(page, source) {
  return run(
    page,
    async ({ load }, { source }) => {
      const events = [];
      const model = await load(source, { device: "wasm", onProgress: (event) => events.push(event) });
      const { notices } = model.info;
      await model.close();
      return { downloads: events.filter(({ phase }) => phase === "download"), notices };
    },
    { source },
  );
}

function checkDownloads(downloads) {
  downloads.reduce((last, { loaded, total }) => {
    assert.ok(loaded >= last && loaded <= total, JSON.stringify(downloads));
    return loaded;
  }, 0);
  assert.deepEqual(downloads.at(-1), { phase: "download", loaded: LLAMA.length, total: LLAMA.length });
}

test("a hub that redirects to a store with signed addresses", { timeout: 60_000 }, async () => {
  const [hub, store] = await Promise.all([openSite(), openSite()]);
  try {
    store.put("/blob", LLAMA, { etag: '"blob"', headers: OPEN, rate: 1.5e6, cut: [400_000] });
    // Each address is good for one request.
    let signature = 0;
    hub.put("/model.gguf", "", {
      status: 302,
      headers() {
        return { ...OPEN, location: new URL(`/blob?signature=${++signature}`, store.url).href };
      },
    });
    const url = new URL("/model.gguf", hub.url).href;
    const { downloads, notices } = await loadIn(page, { url, sha256 });
    checkDownloads(downloads);
    assert.deepEqual(notices, []);
    const [first, second] = store.of("/blob");
    assert.equal(first.range, undefined);
    assert.match(second.range, /^bytes=[1-9]\d*-$/);
    assert.equal(hub.of("/model.gguf").length, 2, "the hub is asked for a new address");
    await loadIn(page, url);
    assert.equal(hub.of("/model.gguf").length, 2, "kept under the address that was asked for");
  } finally {
    await Promise.all([hub.close(), store.close()]);
  }
});

test("a file that is compressed on its way", { timeout: 60_000 }, async () => {
  const headers = { "content-encoding": "gzip" };
  const url = site.put("/model.gguf", gzipSync(LLAMA), { etag: '"zip"', headers, ranges: false, rate: 3e6 });
  const { downloads, notices } = await loadIn(page, { url, sha256 });
  checkDownloads(downloads);
  assert.deepEqual(notices, []);
  await loadIn(page, url);
  assert.equal(site.of("/model.gguf").length, 1, "it was kept");
});

test("a file whose size the server does not tell", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { chunked: true, ranges: false, rate: 3e6 });
  const { downloads } = await loadIn(page, { url, sha256 });
  checkDownloads(downloads);
  await loadIn(page, url);
  assert.equal(site.of("/model.gguf").length, 1, "it was kept");
});

test("a file with something behind its last tensor", { timeout: 60_000 }, async () => {
  const longer = Buffer.concat([LLAMA, Buffer.alloc(5000, 7)]);
  const url = site.put("/model.gguf", longer, { etag: '"long"' });
  const { downloads } = await loadIn(page, url);
  assert.deepEqual(downloads.at(-1), { phase: "download", loaded: longer.length, total: longer.length });
  await loadIn(page, { url, sha256: createHash("sha256").update(longer).digest("hex") });
  assert.equal(site.of("/model.gguf").length, 1, "all of it was kept");
});

test("an empty answer is no model", { timeout: 60_000 }, async () => {
  const url = site.put("/empty.gguf", "", { etag: '"empty"' });
  const error = await run(page, ({ load, failure }, { url }) => failure(load(url)), { url });
  assert.deepEqual([error.typed, error.code], [true, "invalid-model"], error.message);
});
