// A part of a model file, opened: chunks in order, and what to do when they have all been taken.

import { WispError, aborted, invalidArgument } from "../errors.js";
import type { WireSource } from "../protocol.js";

/** Bytes of a file that are read at once. */
const SLICE = 1 << 20;
/** Small chunks are gathered up to this size, or for this long. */
const BLOCK = 1 << 18;
const GATHER_MS = 100;

/** A file's bytes in order: as they come, or read from the place where the reader stands into its own memory. */
export type Bytes = AsyncIterable<Uint8Array> | { read(into: Uint8Array, at: number): number };

export interface Opened {
  /** For messages. */
  name: string;
  /** Bytes, if known beforehand. */
  size?: number;
  /** The hash that the bytes must have, if it is still to be checked: only of bytes that come. */
  sha256?: string;
  bytes: Bytes;
  /** All bytes have been taken, and they are a model's. */
  accept(sha256: string | undefined): Promise<void>;
  /** They have not, or are not; `useless` bytes are not worth keeping for another try. */
  reject(useless: boolean): Promise<void>;
}

/** Asks the page for the next chunk of a stream that stayed there; `undefined` is the end. */
export interface PumpLine {
  pull(pump: number): Promise<Uint8Array | undefined>;
  discard(pump: number): void;
}

/** Whether its bytes come once only. */
export function isReadOnce({ kind }: WireSource): boolean {
  return kind === "stream" || kind === "pump";
}

export function openBlob(blob: Blob, name: string): Opened {
  return { name, size: blob.size, bytes: slices(blob, name), ...kept };
}

/** Of bytes that are somebody else's to keep. */
const kept = { accept: async () => {}, reject: async () => {} };

export async function* slices(blob: Blob, name: string): AsyncGenerator<Uint8Array> {
  const read = (at: number): Promise<ArrayBuffer> => blob.slice(at, at + SLICE).arrayBuffer();
  let next = read(0);
  for (let at = 0; at < blob.size; at += SLICE) {
    let bytes: ArrayBuffer;
    try {
      bytes = await next;
    } catch (cause) {
      throw unreadable(name, at, cause);
    }
    // The next slice is read while this one is used. Its failure is met when its turn comes.
    next = read(at + SLICE);
    next.catch(() => {});
    yield new Uint8Array(bytes);
  }
}

/** A file that can no longer be read. */
export function unreadable(name: string, offset: number, cause: unknown): WispError {
  const message = `${name} cannot be read at byte ${offset}: it was changed or removed`;
  return new WispError("not-found", message, { details: { offset }, cause });
}

export function openStream(stream: ReadableStream<Uint8Array>, name: string, signal: AbortSignal): Opened {
  return { name, bytes: blocks(streamed(stream.getReader(), name, signal)), ...kept };
}

async function* streamed(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  // A stream that waits for its source knows nothing of the signal.
  const stop = (): void => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((cause: unknown) => {
        throw failed(name, cause);
      });
      if (signal.aborted) throw aborted(signal);
      if (done) return;
      yield bytesOf(value, name);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    reader.cancel().catch(() => {});
  }
}

export function openPump(pump: number, line: PumpLine, name: string): Opened {
  return { name, bytes: blocks(pumped(pump, line, name)), ...kept };
}

async function* pumped(pump: number, line: PumpLine, name: string): AsyncGenerator<Uint8Array> {
  try {
    for (;;) {
      const chunk = await line.pull(pump).catch((cause: unknown) => {
        throw cause instanceof WispError ? cause : failed(name, cause);
      });
      if (chunk === undefined) return;
      yield bytesOf(chunk, name);
    }
  } finally {
    line.discard(pump);
  }
}

function failed(name: string, cause: unknown): WispError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new WispError("network", `${name} fails: ${why}`, { cause });
}

function bytesOf(chunk: unknown, name: string): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw invalidArgument(`${name} yields ${typeof chunk}, not bytes`, "source");
}

/**
 * The same bytes in fewer pieces: each costs a copy into the engine and a write to the cache. A piece is good until the
 * next one is asked for. Its buffer is used again, because garbage of a model's size is collected late.
 */
export async function* blocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const block = new Uint8Array(BLOCK);
  let bytes = 0;
  let since = performance.now();
  for await (const chunk of chunks) {
    if (bytes + chunk.length > BLOCK) {
      if (bytes > 0) yield block.subarray(0, bytes);
      bytes = 0;
      since = performance.now();
    }
    if (chunk.length > BLOCK) {
      yield chunk;
      continue;
    }
    block.set(chunk, bytes);
    bytes += chunk.length;
    if (bytes < BLOCK && performance.now() - since < GATHER_MS) continue;
    yield block.subarray(0, bytes);
    bytes = 0;
    since = performance.now();
  }
  if (bytes > 0) yield block.subarray(0, bytes);
}

/** What a source is called in messages. */
export function sourceName(source: WireSource, index: number, count: number): string {
  if (source.kind === "remote") return source.url;
  const what = source.kind === "blob" ? ((source.blob as File).name ?? "the file") : "the stream";
  return count === 1 ? what : `${what} (part ${index + 1} of ${count})`;
}
