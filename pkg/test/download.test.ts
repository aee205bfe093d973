import assert from "node:assert/strict";
import { test } from "node:test";
import { type DownloadRequest, download, hasValidator, sameVersion } from "../src/worker/download.js";
import { collect, sameBytes, FakeServer, modelFile } from "./fakes.js";

const url = "https://host.test/model.gguf";

function request(server: FakeServer, more: Partial<DownloadRequest> = {}): DownloadRequest {
  const pause = async (): Promise<void> => {};
  return { url, bypass: true, signal: new AbortController().signal, fetch: server.fetch, pause, ...more };
}

test("a file arrives whole, and its size and version are known", async () => {
  const server = new FakeServer(modelFile(10_000));
  const { version, start, chunks } = await download(request(server));
  assert.deepEqual({ version, start }, { version: { etag: '"v1"', size: 10_000 }, start: 0 });
  sameBytes(await collect(chunks), server.file);
});

test("a download that breaks off continues where it was, again and again", async () => {
  const server = new FakeServer(modelFile(10_000));
  server.breaks = [3000, 2000, 1000];
  sameBytes(await collect((await download(request(server))).chunks), server.file);
  assert.deepEqual(server.requests.map(({ range }) => range), [undefined, "bytes=3000-", "bytes=5000-", "bytes=6000-"]);
});

test("a server without ranges sends all again, and what is known is skipped", async () => {
  const server = new FakeServer(modelFile(10_000));
  server.ranges = false;
  server.breaks = [3500];
  sameBytes(await collect((await download(request(server))).chunks), server.file);
});

test("a file that changes meanwhile is an error, not a mixture", async () => {
  const server = new FakeServer(modelFile(10_000));
  server.breaks = [3000];
  const { chunks } = await download(request(server));
  server.etag = '"v2"';
  await assert.rejects(collect(chunks), { code: "network", message: /changed on the server/ });
});

test("a short body is a broken one", async () => {
  const server = new FakeServer(modelFile(10_000));
  const original = server.fetch;
  const short = (async (...all: Parameters<typeof fetch>) => {
    const response = await original(...all);
    if (server.requests.length > 1) return response;
    const bytes = (await response.arrayBuffer()).slice(0, 4000);
    return new Response(bytes, { headers: { ...Object.fromEntries(response.headers), "content-length": "10000" } });
  }) as typeof fetch;
  sameBytes(await collect((await download(request(server, { fetch: short }))).chunks), server.file);
  assert.equal(server.requests[1]?.range, "bytes=4000-");
});

for (const [status, code] of [[404, "not-found"], [410, "not-found"], [403, "network"], [400, "network"]] as const) {
  test(`HTTP ${status} is ${code}, at once`, async () => {
    const server = new FakeServer(modelFile(100));
    server.statuses = [status];
    await assert.rejects(download(request(server)), { name: "WispError", code, details: { url, status } });
    assert.equal(server.requests.length, 1);
  });
}

test("a busy server is asked again", async () => {
  const server = new FakeServer(modelFile(100));
  server.statuses = [503, 429];
  sameBytes(await collect((await download(request(server))).chunks), server.file);
  server.statuses = [503, 503, 503, 503];
  await assert.rejects(download(request(server)), { code: "network", details: { url, status: 503 } });
});

test("no connection is a network error with its cause", async () => {
  const server = new FakeServer(modelFile(100));
  server.down = true;
  await assert.rejects(download(request(server)), (error: { code: string; cause: unknown }) => {
    return error.code === "network" && error.cause instanceof TypeError;
  });
});

test("a signal ends a download that hangs, and one that pauses", async () => {
  const server = new FakeServer(modelFile(10_000));
  server.stall = 2000;
  const controller = new AbortController();
  const { chunks } = await download(request(server, { signal: controller.signal }));
  setTimeout(() => controller.abort(), 10);
  await assert.rejects(collect(chunks), { code: "aborted" });

  server.down = true;
  const second = new AbortController();
  setTimeout(() => second.abort("enough"), 10);
  const pausing = download({ url, bypass: true, signal: second.signal, fetch: server.fetch });
  await assert.rejects(pausing, { code: "aborted", cause: "enough" });
});

test("an earlier session's part is continued if it is the same file", async () => {
  const server = new FakeServer(modelFile(10_000));
  const from = { offset: 4000, version: { etag: '"v1"', size: 10_000 } };
  const { start, chunks } = await download(request(server, { from }));
  assert.equal(start, 4000);
  sameBytes(await collect(chunks), server.file.slice(4000));
});

test("an earlier session's part of another version is not", async () => {
  for (const version of [{ etag: '"v0"' }, { etag: '"v1"', size: 9999 }, { etag: 'W/"v1"' }, { lastModified: "then" }]) {
    const server = new FakeServer(modelFile(10_000));
    const { start, chunks } = await download(request(server, { from: { offset: 4000, version } }));
    assert.equal(start, 0);
    sameBytes(await collect(chunks), server.file);
  }
});

test("a part longer than the file is dropped", async () => {
  const server = new FakeServer(modelFile(1000));
  const { start, chunks } = await download(request(server, { from: { offset: 4000, version: { etag: '"v1"' } } }));
  assert.equal(start, 0);
  sameBytes(await collect(chunks), server.file);
});

test("the headers go with every request", async () => {
  const server = new FakeServer(modelFile(5000));
  server.breaks = [1000];
  await collect((await download(request(server, { headers: { authorization: "Bearer x" } }))).chunks);
  assert.deepEqual(server.requests.map(({ headers }) => headers["authorization"]), ["Bearer x", "Bearer x"]);
});

test("versions compare by strong ETag, then by date; sizes must not differ", () => {
  assert.ok(sameVersion({ etag: '"a"' }, { etag: '"a"', lastModified: "x" }));
  assert.ok(!sameVersion({ etag: '"a"', lastModified: "x" }, { etag: '"b"', lastModified: "x" }));
  assert.ok(sameVersion({ etag: 'W/"a"', lastModified: "x" }, { lastModified: "x" }));
  assert.ok(!sameVersion({ etag: 'W/"a"' }, { etag: 'W/"a"' }));
  assert.ok(!sameVersion({ size: 1 }, { size: 1 }));
  assert.ok(!sameVersion({ etag: '"a"', size: 1 }, { etag: '"a"', size: 2 }));
  assert.ok(!hasValidator({ etag: 'W/"a"', size: 1 }));
});
