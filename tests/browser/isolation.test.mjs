// Isolation by a service worker, on sites that send no headers for it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, afterEach, test } from "node:test";
import { openBrowser, run, VARIANTS } from "./harness.mjs";
import { fixture, openSite, packageFolder } from "./site.mjs";

const HTML = { type: "text/html; charset=utf-8" };
const SCRIPT = { type: "text/javascript" };
const worker = readFileSync(`${packageFolder}/isolation-worker.js`);

let browser, site;

before(async () => {
  browser = await openBrowser();
});

after(() => browser?.close());

// A site of its own for each test: an origin without service workers.
beforeEach(async () => {
  site = await openSite({ isolate: false, mounts: { "/some/folder/pkg/": packageFolder } });
  site.put("/isolation-worker.js", worker, SCRIPT);
  putPage("/app.html");
});

afterEach(() => site.close());

/** A page that asks for isolation and shows the answer as `answer`. */
function putPage(path, options = {}, extra = "") {
  const script = `import { isolate } from "/pkg/isolation.js"; globalThis.answer = await isolate(${JSON.stringify(options)});`;
  const icon = "<link rel=icon href=data:,>";
  site.put(path, `<!doctype html><meta charset=utf-8>${icon}<title>app</title>${extra}<script type=module>${script}</script>`, HTML);
}

async function settled(page, isSettled = (answer) => answer !== undefined && answer.state !== "reloading") {
  await page.waitForFunction(`(${isSettled})(globalThis.answer)`);
  return page.evaluate(() => ({ ...answer, isolated: crossOriginIsolated }));
}

const visits = (path) => site.of(path).length;
const registrations = (page) => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length);

test("a page becomes isolated by one reload, and stays so", { timeout: 60_000 }, async () => {
  const page = await browser.open(site, { path: "app.html" });
  assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
  assert.equal(visits("/app.html"), 2);
  await page.reload();
  assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
  const other = await browser.open(site, { path: "app.html" });
  assert.deepEqual(await settled(other), { state: "isolated", isolated: true });
  assert.equal(visits("/app.html"), 4, "no further reloads");
  const { wasm, crossOriginIsolated, reasons } = await run(other, async ({ probe }) => probe());
  assert.equal(wasm.threads, true);
  assert.equal(crossOriginIsolated, true);
  assert.ok(!reasons.some((reason) => /isolated/.test(reason)), reasons.join("; "));
  // A reload without the service worker, as people do with Shift, costs one reload more.
  const session = await other.context().newCDPSession(other);
  await session.send("Page.reload", { ignoreCache: true });
  await other.waitForFunction(() => performance.getEntriesByType("navigation")[0].type === "reload");
  assert.deepEqual(await settled(other), { state: "isolated", isolated: true });
  assert.deepEqual([...page.problems, ...other.problems], []);
  await Promise.all([page.close(), other.close()]);
});

// Without `credentialless` the helper falls back on `require-corp`, which more browsers know.
for (const policy of ["credentialless", "require-corp"]) {
  test(`a model runs in the threads' build and writes, from this site and from another: ${policy}`, { timeout: 60_000 }, async () => {
    const other = await openSite({ isolate: false });
    try {
      const page = await browser.open(site);
      if (policy === "require-corp") await page.addInitScript(() => delete HTMLIFrameElement.prototype.credentialless);
      const answered = page.waitForResponse((response) => response.fromServiceWorker());
      await page.goto(new URL("/app.html", site.url).href);
      assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
      assert.equal((await (await answered).allHeaders())["cross-origin-embedder-policy"], policy);
      const bytes = fixture("tiny/llama-0.gguf");
      const headers = { "access-control-allow-origin": "*" };
      const urls = [site.put("/model.gguf", bytes), other.put("/model.gguf", bytes, { headers })];
      const got = await run(
        page,
        async ({ load }, { urls }) => {
          const got = [];
          for (const url of urls) {
            const model = await load(url, { threads: 2 });
            const { text } = await model.generate("ab", { maxTokens: 4, temperature: 0 }).result;
            got.push({ text, ...model.info.device, notices: model.info.notices });
            await model.close();
          }
          return got;
        },
        { urls },
      );
      for (const { text, threads, features, notices } of got) {
        assert.ok(text.length > 0);
        assert.equal(text, got[0].text);
        assert.equal(threads, 2);
        assert.deepEqual(features, [...VARIANTS.relaxed, "threads"]);
        assert.deepEqual(notices, []);
      }
      const modules = site.requests.filter(({ path }) => path.endsWith(".wasm")).map(({ path }) => path);
      assert.deepEqual([...new Set(modules)], ["/pkg/wisplm-relaxed-threads.wasm"]);
      assert.deepEqual(page.problems, []);
      await page.close();
    } finally {
      await other.close();
    }
  });
}

test("in a folder of a site it isolates that folder", { timeout: 60_000 }, async () => {
  site.remove("/isolation-worker.js");
  site.put("/some/folder/isolation-worker.js", worker, SCRIPT);
  putPage("/some/folder/app.html");
  putPage("/some/folder/deep/app.html", { worker: "../isolation-worker.js" });
  for (const path of ["/some/folder/app.html", "/some/folder/deep/app.html"]) {
    const page = await browser.open(site, { path });
    assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
    const device = await page.evaluate(async () => {
      const { load } = await import("/some/folder/pkg/index.js");
      const model = await load("/tiny/llama-0.gguf", { threads: 2 });
      await model.close();
      return { threads: model.info.device.threads, notices: model.info.notices };
    });
    assert.deepEqual(device, { threads: 2, notices: [] });
    assert.deepEqual(page.problems, []);
    await page.close();
  }
  assert.equal(visits("/some/folder/app.html"), 2);
  assert.equal(visits("/some/folder/deep/app.html"), 1, "the folder's service worker was there");
  const outside = await browser.open(site);
  assert.equal(await outside.evaluate(() => crossOriginIsolated), false);
  await outside.close();
});

test("models are downloaded, resumed and kept as without it", { timeout: 60_000 }, async () => {
  const page = await browser.open(site, { path: "app.html" });
  await settled(page);
  const bytes = fixture("tiny/llama-0.gguf");
  const url = site.put("/cut.gguf", bytes, { etag: '"one"', rate: 2e6, cut: [bytes.length >> 1] });
  const mark = site.requests.length;
  const texts = await run(
    page,
    async ({ load }, { url }) => {
      const texts = [];
      for (let i = 0; i < 2; i++) {
        const model = await load(url);
        texts.push((await model.generate("ab", { maxTokens: 4, temperature: 0 }).result).text);
        await model.close();
      }
      return texts;
    },
    { url },
  );
  assert.equal(texts[0], texts[1]);
  const requests = site.of("/cut.gguf", mark);
  assert.deepEqual(requests.map(({ status }) => status), [200, 206], "broken off, resumed, then kept");
  assert.equal(requests[1].ifRange, '"one"');
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("redirects, errors, ranges, uploads and other sites are as without it", { timeout: 60_000 }, async () => {
  const other = await openSite({ isolate: false });
  try {
    const picture = other.put("/dot.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"/>', { type: "image/svg+xml" });
    const open = other.put("/open.txt", "open", { headers: { "access-control-allow-origin": "*" } });
    putPage("/app.html", {}, `<img src="${picture}"><iframe src="/frame.html"></iframe>`);
    putPage("/frame.html");
    site.put("/away", "", { status: 302, headers: { location: "/app.html" } });
    site.put("/gone.html", "<!doctype html><title>gone</title><link rel=icon href=data:,>", { ...HTML, status: 410 });
    site.put("/bytes", "0123456789", { etag: '"b"' });
    const page = await browser.open(site, { path: "app.html" });
    await settled(page);
    const got = await page.evaluate(async (open) => {
      const range = await fetch("/bytes", { headers: { range: "bytes=4-" } });
      const post = await fetch("/bytes", { method: "POST", body: "some" });
      const frame = document.querySelector("iframe").contentWindow;
      while (frame.answer === undefined) await new Promise((resolve) => setTimeout(resolve, 10));
      return {
        range: [range.status, await range.text()],
        post: post.status,
        opaque: (await fetch(open, { mode: "no-cors" })).type,
        cors: await (await fetch(open)).text(),
        picture: document.querySelector("img").naturalWidth,
        frame: { ...frame.answer },
      };
    }, open);
    assert.deepEqual(got, {
      ...{ range: [206, "456789"], post: 200, opaque: "opaque", cors: "open", picture: 3 },
      frame: { state: "isolated" },
    });
    await page.goto(new URL("/away", site.url).href);
    assert.equal(new URL(page.url()).pathname, "/app.html");
    assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
    const gone = await page.goto(new URL("/gone.html", site.url).href);
    assert.equal(gone.status(), 410);
    assert.equal(await page.evaluate(() => crossOriginIsolated), true);
    await page.close();
  } finally {
    await other.close();
  }
});

test("it can be removed again", { timeout: 60_000 }, async () => {
  const page = await browser.open(site, { path: "app.html" });
  await settled(page);
  const remove = () => page.evaluate(async () => (await import("/pkg/isolation.js")).isolate.remove());
  assert.deepEqual([await remove(), await remove()], [true, false]);
  await page.goto(site.url);
  assert.equal(await page.evaluate(() => crossOriginIsolated), false);
  assert.equal(await registrations(page), 0);
  await page.close();
});

test("where it fails, it says why and does not reload again", { timeout: 60_000 }, async () => {
  // A service worker that adds nothing.
  site.put("/isolation-worker.js", 'addEventListener("install", () => skipWaiting());', SCRIPT);
  const page = await browser.open(site, { path: "app.html" });
  const first = await settled(page);
  assert.equal(first.state, "unavailable");
  assert.match(first.reason, /still not isolated/);
  assert.equal(visits("/app.html"), 2);
  await page.reload();
  assert.equal((await settled(page)).state, "unavailable");
  assert.equal(visits("/app.html"), 3);
  await page.close();
});

test("what stands in the way is told, and nothing is reloaded", { timeout: 60_000 }, async () => {
  site.put("/own.js", "", SCRIPT);
  const cases = [
    ["/none.html", { worker: "/none.js" }, /none\.js.* does not start.*404/],
    ["/deep.html", { worker: "/pkg/isolation-worker.js" }, /reaches pages below \/pkg\/ only/],
    ["/own.html", {}, /service worker of its own/, () => navigator.serviceWorker.register("/own.js")],
    ["/insecure.html", {}, /not secure/, undefined, () => Object.defineProperty(globalThis, "isSecureContext", { value: false })],
    ["/without.html", {}, /no service workers/, undefined, () => delete Navigator.prototype.serviceWorker],
    ["/unknown.html", {}, /knows no/, undefined, () => Object.defineProperty(globalThis, "crossOriginIsolated", { value: undefined })],
  ];
  for (const [path, options, reason, first, init] of cases) {
    putPage(path, options);
    const page = await browser.open(site);
    if (first) await page.evaluate(first);
    if (init) await page.addInitScript(init);
    await page.goto(new URL(path, site.url).href);
    const said = await settled(page);
    assert.equal(said.state, "unavailable", path);
    assert.match(said.reason, reason);
    assert.equal(visits(path), 1, path);
    if (first) await page.evaluate(async () => (await navigator.serviceWorker.getRegistration()).unregister());
    else if (init === undefined) assert.equal(await registrations(page), 0, path);
    await page.close();
  }
  putPage("/inner.html");
  site.put("/outer.html", '<!doctype html><link rel=icon href=data:,><iframe src="/inner.html"></iframe>', HTML);
  const page = await browser.open(site, { path: "outer.html" });
  const frame = page.frames().find((frame) => frame.url().endsWith("/inner.html"));
  await frame.waitForFunction(() => globalThis.answer !== undefined);
  assert.match(await frame.evaluate(() => answer.reason), /in a frame/);
  await page.close();
});

test("a page that its server isolates is left alone", { timeout: 30_000 }, async () => {
  const isolated = await openSite();
  try {
    isolated.put("/app.html", '<!doctype html><link rel=icon href=data:,><script type=module>import { isolate } from "/pkg/isolation.js"; globalThis.answer = await isolate();</script>', HTML);
    const page = await browser.open(isolated, { path: "app.html" });
    assert.deepEqual(await settled(page), { state: "isolated", isolated: true });
    assert.equal(await registrations(page), 0);
    assert.equal(isolated.of("/app.html").length, 1);
    await page.close();
  } finally {
    await isolated.close();
  }
});
