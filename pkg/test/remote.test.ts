import assert from "node:assert/strict";
import { test } from "node:test";
import { openRemote, type Surroundings } from "../src/worker/remote.js";
import type { Opened } from "../src/worker/source.js";
import { collect, sameBytes, fakeBinding, FakeLocks, FakeServer, FakeStorage, modelFile, sha256 } from "./fakes.js";

const url = "https://host.test/model.gguf";

interface World {
  server: FakeServer;
  storage: FakeStorage;
  locks: FakeLocks;
  notices: string[];
}

function world(): World {
  return { server: new FakeServer(modelFile(3_000_000)), storage: new FakeStorage(), locks: new FakeLocks(), notices: [] };
}

function open({ server, storage, locks, notices }: World, more: Partial<Surroundings> & { sha256?: string } = {}): Promise<Opened> {
  server.chunk = 100_000;
  const { sha256, ...others } = more;
  return openRemote(
    { kind: "remote", url, ...(sha256 !== undefined && { sha256 }) },
    {
      signal: new AbortController().signal,
      cache: true,
      storage,
      locks: locks as unknown as LockManager,
      Sha256: fakeBinding().Sha256,
      notice: (text) => notices.push(text),
      fetch: server.fetch,
      pause: async () => {},
      ...others,
    },
  );
}

async function loadWhole(w: World, more: Parameters<typeof open>[1] = {}): Promise<Opened> {
  const opened = await open(w, more);
  sameBytes(await collect(opened.bytes), w.server.file);
  await opened.accept(more?.sha256);
  return opened;
}

// Takes some bytes, then gives up.
async function interrupt(w: World, useless = false): Promise<void> {
  const opened = await open(w);
  let taken = 0;
  assert.ok(!("read" in opened.bytes));
  for await (const chunk of opened.bytes) {
    taken += chunk.length;
    if (taken > 1_000_000) break;
  }
  await opened.reject(useless);
}

test("the second load needs no network", async () => {
  const w = world();
  await loadWhole(w);
  w.server.down = true;
  const opened = await loadWhole(w);
  assert.equal(opened.size, w.server.file.length);
  assert.equal(w.server.requests.length, 1);
  assert.deepEqual(w.notices, []);
});

test("an interrupted download is continued by the next load", async () => {
  const w = world();
  await interrupt(w);
  assert.equal(w.storage.note()?.["complete"], false);
  await loadWhole(w);
  assert.match(w.server.requests[1]!.range!, /^bytes=[1-9]\d+-$/);
  sameBytes(w.storage.data(), w.server.file);
  assert.equal(w.storage.note()?.["complete"], true);
});

test("a part of a file that has changed since is not continued", async () => {
  const w = world();
  await interrupt(w);
  w.server.etag = '"v2"';
  w.server.file = modelFile(2_500_000);
  await loadWhole(w);
  sameBytes(w.storage.data(), w.server.file);
});

test("without a validator nothing is left to continue", async () => {
  const w = world();
  w.server.etag = undefined;
  await interrupt(w);
  assert.equal(w.storage.files.size, 0);
  await loadWhole(w);
});

test("bytes beyond the last checkpoint do not count", async () => {
  const w = world();
  await interrupt(w);
  const durable = w.storage.note()?.["durable"] as number;
  w.storage.rename(".data", (bytes) => Uint8Array.from(Buffer.concat([bytes.subarray(0, durable), Buffer.from("abc")])));
  await loadWhole(w);
});

test("a part that is all there, but was not said to be, is continued by its last byte", async () => {
  const w = world();
  await loadWhole(w);
  w.storage.rename(".json", (bytes) => {
    const note = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    return new TextEncoder().encode(JSON.stringify({ ...note, complete: false }));
  });
  await loadWhole(w);
  assert.equal(w.server.requests[1]!.range, "bytes=2999999-");
});

test("a torn note, or a file of another size, is no file", async () => {
  for (const ending of [".json", ".data"]) {
    const w = world();
    await loadWhole(w);
    w.storage.rename(ending, (bytes) => bytes.slice(0, bytes.length >> 1));
    await loadWhole(w);
    assert.equal(w.server.requests.length, 2);
  }
});

test("useless bytes are dropped", async () => {
  const w = world();
  await interrupt(w, true);
  assert.equal(w.storage.files.size, 0);
  await loadWhole(w);
  const opened = await open(w);
  await opened.reject(true);
  assert.equal(w.storage.files.size, 0);
});

test("a kept file with another hash than asked for is fetched again", async () => {
  const w = world();
  await loadWhole(w);
  w.server.file = modelFile(2_000_000);
  w.server.etag = '"v2"';
  await loadWhole(w, { sha256: sha256(w.server.file) });
  assert.equal(w.server.requests.length, 2);
  assert.equal(w.storage.note()?.["sha256"], sha256(w.server.file));
  await loadWhole(w, { sha256: sha256(w.server.file) });
  assert.equal(w.server.requests.length, 2);
});

test("the hash of a file kept without one is computed once, and noted", async () => {
  const w = world();
  await loadWhole(w);
  const opened = await open(w, { sha256: sha256(w.server.file) });
  assert.equal(opened.sha256, undefined);
  await opened.accept(undefined);
  assert.equal(w.storage.note()?.["sha256"], sha256(w.server.file));
  assert.equal(w.server.requests.length, 1);
});

test("two tabs at once: one keeps the file, the other streams it", async () => {
  const w = world();
  const one = await open(w);
  const other = await open(w);
  assert.match(w.notices.join(), /another tab/);
  const [a, b] = await Promise.all([collect(one.bytes), collect(other.bytes)]);
  sameBytes(a, w.server.file);
  sameBytes(b, w.server.file);
  await Promise.all([one.accept(undefined), other.accept(undefined)]);
  sameBytes(w.storage.data(), w.server.file);
  w.server.down = true;
  const readers = await Promise.all([open(w), open(w)]);
  for (const reader of readers) sameBytes(await collect(reader.bytes), w.server.file);
});

test("without a file system, without space, with a full disk: it loads, with a notice", async () => {
  const cases: ((w: World) => Partial<Surroundings>)[] = [
    () => ({ storage: undefined }),
    () => ({ storage: { getDirectory: () => Promise.reject(new DOMException("private mode", "SecurityError")) } }),
    (w) => ((w.storage.estimated = 1_000_000), {}),
    (w) => ((w.storage.quota = 1_000_000), {}),
  ];
  for (const prepare of cases) {
    const w = world();
    await loadWhole(w, prepare(w));
    assert.equal(w.notices.length, 1);
    assert.match(w.notices[0]!, /^the download is not kept: /);
    assert.equal(w.storage.files.size, 0);
  }
});

test("with cache off nothing is written or read", async () => {
  const w = world();
  await loadWhole(w, { cache: false });
  assert.equal(w.storage.files.size, 0);
  assert.deepEqual(w.notices, []);
});

test("an abort leaves the part for later, and the lock free", async () => {
  const w = world();
  w.server.stall = 1_500_000;
  const controller = new AbortController();
  const opened = await open(w, { signal: controller.signal });
  setTimeout(() => controller.abort(), 20);
  await assert.rejects(collect(opened.bytes), { code: "aborted" });
  await opened.reject(false);
  w.server.stall = Infinity;
  await loadWhole(w);
  assert.ok(w.server.requests[1]!.range);
  assert.deepEqual(w.notices, []);
});

test("a kept file is read into the reader's own memory, and the file is closed", async () => {
  const w = world();
  await loadWhole(w);
  for (const end of ["accept", "reject"] as const) {
    const opened = await open(w);
    assert.ok("read" in opened.bytes);
    assert.equal(w.storage.open, 1);
    const memory = new Uint8Array(new SharedArrayBuffer(5000), 1000, 3000);
    assert.equal(opened.bytes.read(memory, 7), 3000);
    sameBytes(memory.slice(), w.server.file.slice(7, 3007));
    if (end === "accept") await opened.accept(undefined);
    else await opened.reject(false);
    assert.equal(w.storage.open, 0);
  }
});

test("where a browser allows one reader, another tab reads slices", async () => {
  const w = world();
  await loadWhole(w);
  w.storage.exclusive = true;
  const one = await open(w);
  const other = await open(w);
  assert.ok("read" in one.bytes && !("read" in other.bytes));
  for (const opened of [one, other]) {
    sameBytes(await collect(opened.bytes), w.server.file);
    await opened.accept(undefined);
  }
  assert.deepEqual(w.notices, []);
});
