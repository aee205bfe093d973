// Downloads: progress, and what becomes of them when the network or the server misbehaves.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { after, before, beforeEach, test } from "node:test";
import { fixture, openSite } from "./site.mjs";
import { openBrowser, report, run } from "./harness.mjs";

const LLAMA = fixture("tiny/llama-0.gguf");
// Of the same size but for a few bytes of difference.
const OTHER = Buffer.from(LLAMA);
OTHER.writeFloatLE(0.25, OTHER.length - 64);

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const HALF = LLAMA.length >> 1;

let browser, site, page;

before(async () => {
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
});

// A new site is a new origin: nothing is stored.
beforeEach(async () => {
  await page?.close();
  await site?.close();
  site = await openSite();
  page = await browser.open(site);
});

after(async () => {
  await page?.close();
  await site?.close();
});

/** Loads and closes; what was reported, and a fingerprint of the model. Notices are of the download only. */
function loadIn(page, source, options = { device: "wasm" }) {
  return run(
    page,
    async ({ load }, { source, options }) => {
      const events = [];
      const model = await load(source, { ...options, onProgress: (event) => events.push(event) });
      const { logprobs } = await model.score([5, 17, 99, 3, 42]);
      const { notices } = model.info;
      await model.close();
      return { events, logprobs, notices };
    },
    { source, options },
  );
}

function failIn(page, source, options = {}) {
  return run(page, ({ load, failure }, { source, options }) => failure(load(source, options)), { source, options });
}

/** What a version of the file answers, loaded from memory. */
async function fingerprint(bytes) {
  const url = site.put("/reference.gguf", bytes);
  return (await loadIn(page, url, { cache: false })).logprobs;
}

const stored = (page) =>
  page.evaluate(async () => {
    const sizes = {};
    const root = await navigator.storage.getDirectory();
    for await (const [name, folder] of root.entries()) {
      if (folder.kind !== "directory") sizes[name] = (await folder.getFile()).size;
      else for await (const [file, handle] of folder.entries()) sizes[`${name}/${file}`] = (await handle.getFile()).size;
    }
    return sizes;
  });

const bytesStored = async (page) => Object.values(await stored(page)).reduce((sum, size) => sum + size, 0);

function checkProgress(events, bytes) {
  const phases = [...new Set(events.map(({ phase }) => phase))];
  assert.deepEqual([...phases].sort(), ["compile", "download", "prepare", "warmup"]);
  for (const phase of phases) {
    const own = events.filter((event) => event.phase === phase);
    own.reduce((last, { loaded, total }) => {
      assert.ok(loaded >= last, `${phase} falls from ${last} to ${loaded}`);
      assert.ok(loaded <= total, `${phase}: ${loaded} of ${total}`);
      return loaded;
    }, 0);
    const { loaded, total } = own.at(-1);
    assert.equal(loaded, total, `${phase} ends at its total`);
  }
  assert.equal(events.filter(({ phase }) => phase === "download").at(-1).total, bytes);
}

test("progress never falls, and each phase ends at its total", { timeout: 60_000 }, async (t) => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 3e6 });
  const first = await loadIn(page, url);
  checkProgress(first.events, LLAMA.length);
  report(t, `${first.events.length} events: ${[...new Set(first.events.map(({ phase }) => phase))].join(", ")}`);
  assert.ok(first.events.filter(({ phase }) => phase === "download").length >= 4, "a slow download reports on its way");
  checkProgress((await loadIn(page, url)).events, LLAMA.length);
  assert.deepEqual(first.notices, []);
});

test("a download that stalls has reported all that came", { timeout: 30_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', hold: 700_000 });
  const code = await run(
    page,
    async ({ load, failure }, { url }) => {
      const controller = new AbortController();
      const onProgress = ({ phase, loaded }) => phase === "download" && loaded === 700_000 && controller.abort();
      return (await failure(load(url, { signal: controller.signal, onProgress }))).code;
    },
    { url },
  );
  assert.equal(code, "aborted");
});

test("a second load needs no network", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  const first = await loadIn(page, url);
  assert.equal(site.of("/model.gguf").length, 1);
  const second = await loadIn(page, url);
  await page.reload();
  const third = await loadIn(page, url);
  assert.equal(site.requests.filter(({ path }) => path === "/model.gguf").length, 1, "no further request of any kind");
  assert.deepEqual(second.logprobs, first.logprobs);
  assert.deepEqual(third.logprobs, first.logprobs);
});

test("cache: false keeps nothing", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  await loadIn(page, url, { cache: false });
  await loadIn(page, url, { cache: false });
  assert.equal(await bytesStored(page), 0, JSON.stringify(await stored(page)));
});

test("a connection that breaks is taken up where it broke", { timeout: 60_000 }, async () => {
  const reference = await fingerprint(LLAMA);
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 1.5e6, cut: [300_000, 200_000] });
  const { logprobs, events } = await loadIn(page, { url, sha256: sha256(LLAMA) });
  const requests = site.of("/model.gguf");
  assert.equal(requests.length, 3);
  assert.equal(requests[0].range, undefined);
  for (const { range, ifRange } of requests.slice(1)) {
    assert.match(range, /^bytes=[1-9]\d*-$/);
    assert.equal(ifRange, '"a"');
  }
  checkProgress(events, LLAMA.length);
  assert.deepEqual(logprobs, reference);
  await loadIn(page, url);
  assert.equal(site.of("/model.gguf").length, 3, "it was kept");
});

test("a server without ranges is read again, and the bytes fit", { timeout: 60_000 }, async () => {
  const reference = await fingerprint(LLAMA);
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 1.5e6, cut: [300_000], ranges: false });
  const { logprobs } = await loadIn(page, { url, sha256: sha256(LLAMA) });
  assert.equal(site.of("/model.gguf").length, 2);
  assert.deepEqual(logprobs, reference);
});

for (const how of ["reloaded", "closed"]) {
  test(`a download whose page is ${how} goes on in the next one`, { timeout: 120_000 }, async (t) => {
    // Kept: what had been made durable, which happens every second.
    const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 300_000 });
    const half = page.evaluate(
      async ([url, half]) => {
        const { load } = await import("/pkg/index.js");
        return new Promise((resolve, reject) => {
          load(url, { onProgress: ({ phase, loaded }) => phase === "download" && loaded > half && resolve(loaded) }).catch(reject);
        });
      },
      [url, HALF],
    );
    await half;
    if (how === "reloaded") {
      await page.reload();
    } else {
      await page.close();
      page = await browser.open(site);
    }
    const fast = site.put("/model.gguf", LLAMA, { etag: '"a"' });
    const { logprobs, events } = await loadIn(page, { url: fast, sha256: sha256(LLAMA) });
    const requests = site.of("/model.gguf");
    assert.equal(requests.length, 2);
    const from = Number(/^bytes=(\d+)-$/.exec(requests[1].range ?? "")?.[1] ?? 0);
    report(t, `${from} of ${LLAMA.length} bytes were there`);
    assert.ok(from > 0, `range: ${requests[1].range}`);
    assert.equal(requests[1].sent, LLAMA.length - from);
    checkProgress(events, LLAMA.length);
    assert.deepEqual(logprobs, await fingerprint(LLAMA));
  });
}

test("an aborted download goes on in the next load", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 2e6 });
  const { code } = await run(
    page,
    ({ load, failure }, { url, half }) => {
      const controller = new AbortController();
      const onProgress = ({ phase, loaded }) => phase === "download" && loaded > half && controller.abort();
      return failure(load(url, { signal: controller.signal, onProgress }));
    },
    { url, half: HALF },
  );
  assert.equal(code, "aborted");
  await site.of("/model.gguf")[0].closed;
  const { logprobs } = await loadIn(page, { url, sha256: sha256(LLAMA) });
  assert.match(site.of("/model.gguf")[1].range, /^bytes=[1-9]\d*-$/);
  assert.deepEqual(logprobs, await fingerprint(LLAMA));
});

test("two versions of a file are never mixed", { timeout: 60_000 }, async () => {
  const [one, other] = [await fingerprint(LLAMA), await fingerprint(OTHER)];
  assert.notDeepEqual(one, other);
  // Interrupted for good, then another version.
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', hold: HALF });
  await run(
    page,
    ({ load, failure }, { url, half }) => {
      const controller = new AbortController();
      const onProgress = ({ phase, loaded }) => phase === "download" && loaded > half && controller.abort();
      return failure(load(url, { signal: controller.signal, onProgress }));
    },
    { url, half: HALF - 200_000 },
  );
  await site.of("/model.gguf")[0].closed;
  site.put("/model.gguf", OTHER, { etag: '"b"' });
  const { logprobs } = await loadIn(page, { url, sha256: sha256(OTHER) });
  assert.deepEqual(logprobs, other);

  // Changed in the middle of one load.
  const changing = site.put("/changing.gguf", LLAMA, { etag: '"a"', hold: HALF });
  const loading = failIn(page, changing);
  while (site.of("/changing.gguf").length === 0) await once(site.server, "request");
  const [first] = site.of("/changing.gguf");
  site.put("/changing.gguf", OTHER, { etag: '"b"' });
  first.break();
  const error = await loading;
  assert.deepEqual([error.code, error.typed], ["network", true], error.message);
  assert.match(error.message, /changed/);
  assert.deepEqual((await loadIn(page, { url: changing, sha256: sha256(OTHER) })).logprobs, other);
});

test("sha256: right is taken, wrong is refused and not kept", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  const wrong = sha256(OTHER);
  const error = await failIn(page, { url, sha256: wrong });
  assert.deepEqual([error.typed, error.code], [true, "integrity"], error.message);
  assert.ok(error.message.includes(sha256(LLAMA)), error.message);
  assert.equal(error.details.url, url);
  assert.equal(await bytesStored(page), 0, JSON.stringify(await stored(page)));
  const { logprobs } = await loadIn(page, { url, sha256: sha256(LLAMA).toUpperCase() });
  assert.equal(site.of("/model.gguf").length, 2);
  assert.equal((await failIn(page, { url, sha256: wrong })).code, "integrity", "of a kept file too");
  assert.equal((await failIn(page, { url, sha256: "abc" })).code, "invalid-argument");
  assert.deepEqual((await loadIn(page, url)).logprobs, logprobs);
});

test("two tabs at once: both work, and one whole file is kept", { timeout: 60_000 }, async (t) => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 1.5e6 });
  const second = await browser.open(site);
  const [one, two] = await Promise.all([loadIn(page, url), loadIn(second, url)]);
  assert.deepEqual(one.logprobs, two.logprobs);
  const requests = site.of("/model.gguf").length;
  report(t, `${requests} downloads; notices: ${JSON.stringify([...one.notices, ...two.notices])}`);
  const [three, four] = await Promise.all([loadIn(page, url), loadIn(second, url)]);
  assert.equal(site.of("/model.gguf").length, requests, "both now read the kept file");
  assert.deepEqual([three.notices, four.notices], [[], []]);
  assert.deepEqual(three.logprobs, one.logprobs);
  assert.ok((await bytesStored(page)) < LLAMA.length + 10_000, JSON.stringify(await stored(page)));
  await second.close();
});

test("a kept file that has been damaged is not taken for a whole one", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  const { logprobs } = await loadIn(page, url);
  await page.evaluate(async () => {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("wisplm");
    for await (const [name, handle] of folder.entries()) {
      if (!name.endsWith(".data")) continue;
      const stream = await handle.createWritable({ keepExistingData: true });
      await stream.truncate(500_000);
      await stream.close();
    }
  });
  assert.deepEqual((await loadIn(page, url)).logprobs, logprobs);
  assert.equal(site.of("/model.gguf").length, 2);
});

test("without a private file system the download stays in memory, with a notice", { timeout: 60_000 }, async (t) => {
  const bare = await browser.open(site, { stored: false });
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  const { logprobs, notices, events } = await loadIn(bare, url);
  report(t, JSON.stringify(notices));
  assert.equal(notices.length, 1);
  assert.match(notices[0], /not kept/);
  checkProgress(events, LLAMA.length);
  assert.deepEqual((await loadIn(bare, url)).logprobs, logprobs);
  assert.equal(site.of("/model.gguf").length, 2);
  await bare.close();
});

test("where there is too little space the download stays in memory, with a notice", { timeout: 60_000 }, async (t) => {
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 500_000 });
  const url = site.put("/model.gguf", LLAMA, { etag: '"a"' });
  const { notices } = await loadIn(page, url);
  report(t, JSON.stringify(notices));
  assert.equal(notices.length, 1);
  assert.match(notices[0], /not kept/);
});

test("failures of the network have their codes, and a good request works after them", { timeout: 120_000 }, async (t) => {
  const page404 = await failIn(page, "/nowhere.gguf");
  const gone = await failIn(page, site.put("/gone.gguf", "gone", { status: 410 }));
  const forbidden = await failIn(page, site.put("/private.gguf", "no", { status: 403 }));
  const broken = await failIn(page, site.put("/broken.gguf", "oops", { status: 500 }));
  const cut = await failIn(page, site.put("/cut.gguf", LLAMA, { etag: '"a"', cut: 0 }));
  const refused = await failIn(page, "http://127.0.0.1:1/model.gguf");
  const foreign = await openSite();
  const blocked = await failIn(page, new URL("/tiny/llama-0.gguf", foreign.url).href);
  await foreign.close();
  const errors = { page404, gone, forbidden, broken, cut, refused, blocked };
  for (const [what, error] of Object.entries(errors)) {
    report(t, `${what}: ${error.code} ${error.message}`);
    assert.ok(error.typed, what);
    assert.equal(error.code, what === "page404" || what === "gone" ? "not-found" : "network", what);
    assert.ok(error.details.url, what);
  }
  assert.deepEqual([page404, gone, forbidden, broken].map(({ details }) => details.status), [404, 410, 403, 500]);
  assert.ok(site.of("/broken.gguf").length > 1, "a server's failure is tried again");
  assert.equal(site.of("/private.gguf").length, 1, "a refusal is not");
  const { logprobs } = await loadIn(page, "/tiny/llama-0.gguf");
  assert.equal(logprobs.length, 5);
});

test("a server that is busy for a moment is asked again, with the same headers", { timeout: 60_000 }, async () => {
  const url = site.put("/model.gguf", "busy", { status: 503 });
  const loading = loadIn(page, { url, headers: { authorization: "Bearer abc" } });
  while (site.of("/model.gguf").length === 0) await once(site.server, "request");
  site.put("/model.gguf", LLAMA, { etag: '"a"', rate: 1.5e6, cut: [300_000] });
  await loading;
  const requests = site.of("/model.gguf");
  assert.equal(requests.length, 3);
  for (const { headers } of requests) assert.equal(headers.authorization, "Bearer abc");
});
