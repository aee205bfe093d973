// A file by its address: from the cache, continued, or downloaded.

import { WispError } from "../errors.js";
import type { WireSource } from "../protocol.js";
import type { Storage, SyncFile } from "../storage.js";
import type { Sha256 } from "./binding.js";
import { Cache, type Entry, lock, type Whole, type Writer } from "./cache.js";
import { type Download, download, type DownloadRequest, hasValidator } from "./download.js";
import { blocks, type Bytes, type Opened, slices, unreadable } from "./source.js";

const READ = 1 << 20;

/** What a remote file needs of its surroundings. */
export interface Surroundings {
  signal: AbortSignal;
  /** Whether downloads may be kept. */
  cache: boolean;
  storage: Storage | undefined;
  locks: Pick<LockManager, "request"> | undefined;
  Sha256: new () => Sha256;
  notice(text: string): void;
  fetch?: DownloadRequest["fetch"];
  pause?: DownloadRequest["pause"];
}

type Release = () => Promise<void>;
type Remote = Extract<WireSource, { kind: "remote" }>;

export async function openRemote(source: Remote, around: Surroundings): Promise<Opened> {
  if (!around.cache || !/^https?:/.test(source.url)) return fromNetwork(source, around);
  let cache: Cache;
  let entry: Entry;
  let release: Release | undefined;
  try {
    if (around.storage === undefined) throw new Error("there is no private file system here (it needs a secure page)");
    cache = await Cache.open(around.storage);
    entry = await cache.entry(source.url);
    // Any number of tabs may read a whole file; one may write. Readers of a file that is not there take no lock: they
    // would keep each other from writing.
    if ((await entry.whole()) !== undefined) {
      release = await lock(around.locks, entry.key, "shared");
      const found = release && (await find(source, entry, release, around));
      if (found !== undefined) return found;
      await release?.();
    }
    release = await lock(around.locks, entry.key, "exclusive");
  } catch (error) {
    await release?.();
    if (error instanceof WispError) throw error;
    around.notice(`the download is not kept: ${reason(error)}`);
    return fromNetwork(source, around);
  }
  if (release === undefined) {
    around.notice("the download is not kept: another tab is downloading the same file");
    return fromNetwork(source, around);
  }
  try {
    // Another tab may have finished since.
    return (await find(source, entry, release, around)) ?? (await fetchAndKeep(source, cache, entry, release, around));
  } catch (error) {
    await release();
    throw error;
  }
}

async function fromNetwork(source: Remote, around: Surroundings): Promise<Opened> {
  const { version, chunks } = await download(request(source, around, false));
  return { ...described(source, version.size), bytes: blocks(chunks), accept: async () => {}, reject: async () => {} };
}

function request({ url, headers }: Remote, { signal, fetch, pause }: Surroundings, bypass: boolean): DownloadRequest {
  return { url, signal, bypass, ...(headers && { headers }), ...(fetch && { fetch }), ...(pause && { pause }) };
}

function described({ url, sha256 }: Remote, size: number | undefined): Pick<Opened, "name" | "size" | "sha256"> {
  return { name: url, ...(size !== undefined && { size }), ...(sha256 !== undefined && { sha256 }) };
}

// A whole file in the cache, with the hash that is asked for.
async function find(source: Remote, entry: Entry, release: Release, around: Surroundings): Promise<Opened | undefined> {
  const whole = await entry.whole();
  if (whole === undefined) return undefined;
  if (source.sha256 !== undefined && whole.sha256 !== source.sha256) {
    const found = whole.sha256 ?? (await hash(whole, source.url, around));
    if (found !== source.sha256) return undefined;
    await entry.confirm(found);
  }
  const reader = await entry.reader();
  return {
    ...described({ kind: "remote", url: source.url }, whole.file.size),
    bytes: reader === undefined ? slices(whole.file, source.url) : readings(reader, source.url),
    accept: async () => {
      reader?.close();
      await release();
    },
    reject: async (useless) => {
      // A file that is open cannot be removed.
      reader?.close();
      if (useless) await entry.drop();
      await release();
    },
  };
}

// A file on the disk is read where the engine wants it: six times as fast as by way of a Blob (1 MB at a time, in
// Chromium on Linux), which takes messages to another process and a buffer for each slice.
function readings(reader: SyncFile, name: string): Bytes {
  return {
    read(into, at) {
      try {
        return reader.read(into, { at });
      } catch (cause) {
        throw unreadable(name, at, cause);
      }
    },
  };
}

async function hash({ file }: Whole, name: string, { Sha256, signal }: Surroundings): Promise<string> {
  const digest = new Sha256();
  try {
    for await (const bytes of slices(file, name)) {
      if (signal.aborted) break;
      digest.update(bytes);
    }
    return digest.hex();
  } finally {
    digest.free();
  }
}

async function fetchAndKeep(
  source: Remote,
  cache: Cache,
  entry: Entry,
  release: Release,
  around: Surroundings,
): Promise<Opened> {
  const part = await entry.part();
  const from =
    part !== undefined && hasValidator(part.version)
      ? // A part that is all there is asked for its last byte again: an empty range is none.
        { version: part.version, offset: Math.min(part.bytes, (part.version.size ?? Infinity) - 1) }
      : undefined;
  const got = await download({ ...request(source, around, true), ...(from && { from }) });
  const keeper = new Keeper(await startWriting(got, cache, entry, around), around);
  return {
    ...described(source, got.version.size),
    bytes: keeper.through(got),
    accept: async (sha256) => {
      await keeper.settle((writer) => writer.commit(sha256));
      await release();
    },
    reject: async (useless) => {
      // Without a validator no later session could continue.
      const drop = useless || !hasValidator(got.version);
      await keeper.settle((writer) => (drop ? writer.drop() : writer.leave()));
      await release();
    },
  };
}

async function startWriting(
  { version, start }: Download,
  cache: Cache,
  entry: Entry,
  around: Surroundings,
): Promise<Writer | undefined> {
  try {
    if (start === 0) await entry.drop();
    if (version.size !== undefined && version.size - start > (await cache.free())) {
      throw new Error("the browser grants too little space");
    }
    return await entry.writer(version, start);
  } catch (error) {
    // Bytes that were counted on to be read back would be missing.
    if (start > 0) throw new WispError("internal", `the cache cannot be read: ${reason(error)}`, { cause: error });
    around.notice(`the download is not kept: ${reason(error)}`);
    return undefined;
  }
}

// Keeps what passes. A writer that fails is given up, not the load.
class Keeper {
  #writer: Writer | undefined;
  readonly #around: Surroundings;

  constructor(writer: Writer | undefined, around: Surroundings) {
    this.#writer = writer;
    this.#around = around;
  }

  async *through({ start, chunks }: Download): AsyncGenerator<Uint8Array> {
    const block = new Uint8Array(Math.min(READ, start));
    for (let at = 0; at < start; ) {
      const count = this.#writer?.read(block.subarray(0, start - at), at) ?? 0;
      if (count === 0) throw new WispError("internal", `the cache ends at byte ${at} of ${start}`);
      at += count;
      yield block.subarray(0, count);
    }
    for await (const bytes of blocks(chunks)) {
      await this.settle((writer) => writer.write(bytes));
      yield bytes;
    }
  }

  async settle(use: (writer: Writer) => Promise<void>): Promise<void> {
    if (this.#writer === undefined) return;
    try {
      await use(this.#writer);
    } catch (error) {
      this.#around.notice(`the download is not kept: ${reason(error)}`);
      const writer = this.#writer;
      this.#writer = undefined;
      await writer.drop().catch(() => {});
    }
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
