// A file over HTTP: retried, resumed where it broke off, and never two versions of a file in one.

import { aborted, WispError } from "../errors.js";

/** Attempts in a row without a byte before giving up, and the pause before the second; each later one is twice as long. */
const ATTEMPTS = 4;
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;

/** What tells one version of a file from another. */
export interface Version {
  etag?: string;
  lastModified?: string;
  /** Bytes of the whole file. */
  size?: number;
}

export interface DownloadRequest {
  url: string;
  headers?: Record<string, string>;
  /** Continue a file of this version from this byte, if the server still has it. */
  from?: { offset: number; version: Version };
  /** Keep the browser's own cache out of it: the bytes are kept elsewhere, or must be fresh. */
  bypass: boolean;
  signal: AbortSignal;
  fetch?: typeof fetch;
  pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface Download {
  version: Version;
  /** Where `chunks` begins: at `from.offset`, or at 0 where the file has changed or the server does not continue. */
  start: number;
  chunks: AsyncIterable<Uint8Array>;
}

interface Opened {
  body: ReadableStream<Uint8Array>;
  start: number;
  version: Version;
}

/** Whether two answers are known to be of one version. A weak ETag says nothing about bytes. */
export function sameVersion(one: Version, other: Version): boolean {
  if (one.size !== undefined && other.size !== undefined && one.size !== other.size) return false;
  const tag = strong(one.etag);
  const otherTag = strong(other.etag);
  if (tag !== undefined && otherTag !== undefined) return tag === otherTag;
  return one.lastModified !== undefined && one.lastModified === other.lastModified;
}

/** Whether a partial file of this version can be told from another version's. */
export function hasValidator(version: Version): boolean {
  return strong(version.etag) !== undefined || version.lastModified !== undefined;
}

function strong(etag: string | undefined): string | undefined {
  return etag === undefined || etag.startsWith("W/") ? undefined : etag;
}

// Known to differ, as opposed to not known to be the same.
function differs(one: Version, other: Version): boolean {
  const known = (a: unknown, b: unknown): boolean => a !== undefined && b !== undefined && a !== b;
  if (known(one.size, other.size)) return true;
  const tags = [strong(one.etag), strong(other.etag)] as const;
  if (tags[0] !== undefined && tags[1] !== undefined) return tags[0] !== tags[1];
  return known(one.lastModified, other.lastModified);
}

export async function download(request: DownloadRequest): Promise<Download> {
  const { from } = request;
  let opened = await open(request, from?.offset ?? 0, from?.version);
  // An earlier session's bytes are continued only by what is known to be the same file.
  if (from !== undefined && opened.start > 0 && !sameVersion(from.version, opened.version)) {
    await opened.body.cancel();
    opened = await open(request, 0);
  }
  return { version: opened.version, start: opened.start, chunks: read(request, opened) };
}

async function* read(request: DownloadRequest, first: Opened): AsyncGenerator<Uint8Array> {
  const { signal, url } = request;
  const { version } = first;
  let { body } = first;
  let position = first.start;
  let skip = 0;
  let fruitless = 0;
  for (;;) {
    const reader = body.getReader();
    let broken: unknown;
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const used = Math.min(skip, value.length);
        skip -= used;
        if (used === value.length) continue;
        fruitless = 0;
        position += value.length - used;
        yield used === 0 ? value : value.subarray(used);
      }
      // A body larger than announced was compressed on its way; one that is shorter broke off.
      if (version.size === undefined || position >= version.size) return;
      broken = new Error(`the body ends after ${position} of ${version.size} bytes`);
    } catch (error) {
      broken = error;
    } finally {
      reader.cancel().catch(() => {});
    }
    if (signal.aborted) throw aborted(signal);
    if (++fruitless >= ATTEMPTS) throw unreachable(url, broken);
    await (request.pause ?? pause)(PAUSE_MS * 2 ** (fruitless - 1), signal);
    const again = await open(request, position, version);
    if (differs(version, again.version)) {
      await again.body.cancel();
      throw new WispError("network", `${url} changed on the server while it was downloaded: load it again`, {
        details: { url, offset: position },
      });
    }
    body = again.body;
    skip = position - again.start;
  }
}

// One answer with a body, from `offset` on, or from 0 where the server does not or must not continue.
async function open(request: DownloadRequest, offset: number, version: Version = {}): Promise<Opened> {
  const { url, signal, bypass } = request;
  for (let attempt = 1; ; attempt++) {
    let failure: WispError;
    try {
      const response = await (request.fetch ?? fetch)(url, {
        headers: requestHeaders(request, offset, version),
        signal,
        ...((bypass || offset > 0) && { cache: "no-store" as const }),
      });
      const { status } = response;
      if (status === 416 && offset > 0) {
        // The file has become shorter than what there is of it.
        await response.body?.cancel();
        return open(request, 0);
      }
      const opened = accept(response, offset);
      if (opened !== undefined) {
        if (opened.start > 0 && differs(version, opened.version)) {
          await opened.body.cancel();
          return open(request, 0);
        }
        return opened;
      }
      await response.body?.cancel();
      failure = refusal(url, status);
      if (status !== 408 && status !== 429 && status < 500) throw failure;
    } catch (error) {
      if (signal.aborted) throw aborted(signal);
      if (error instanceof WispError) throw error;
      failure = unreachable(url, error);
    }
    if (attempt >= ATTEMPTS) throw failure;
    await (request.pause ?? pause)(PAUSE_MS * 2 ** (attempt - 1), signal);
  }
}

function requestHeaders({ url, headers }: DownloadRequest, offset: number, version: Version): Record<string, string> {
  if (offset === 0) return { ...headers };
  const range: Record<string, string> = { ...headers, range: `bytes=${offset}-` };
  const validator = strong(version.etag) ?? version.lastModified;
  // Another origin would be asked for permission first, and many refuse; there the answer's own validators must do.
  const own = globalThis.location?.origin;
  if (validator !== undefined && own !== undefined && new URL(url).origin === own) range["if-range"] = validator;
  return range;
}

function accept(response: Response, offset: number): Opened | undefined {
  const { status, headers } = response;
  if (response.body === null || (status !== 200 && status !== 206)) return undefined;
  const version: Version = {};
  const etag = headers.get("etag");
  const lastModified = headers.get("last-modified");
  if (etag !== null) version.etag = etag;
  if (lastModified !== null) version.lastModified = lastModified;
  let start = 0;
  let size = bodySize(response);
  if (status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    start = range ? Number(range[1]) : offset;
    if (start !== offset) return undefined;
    if (range && range[2] !== "*") size = Number(range[2]);
    else if (size !== undefined) size += offset;
  }
  if (size !== undefined) version.size = size;
  return { body: response.body, start, version };
}

function bodySize({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  const coded = headers.get("content-encoding") ?? "identity";
  return length === null || coded !== "identity" ? undefined : Number(length);
}

function refusal(url: string, status: number): WispError {
  const details = { url, status };
  if (status === 404 || status === 410) {
    return new WispError("not-found", `there is no file at ${url} (HTTP ${status})`, { details });
  }
  const hint = status === 401 || status === 403 ? ": does it need an authorization header?" : "";
  return new WispError("network", `the server answers HTTP ${status} for ${url}${hint}`, { details });
}

function unreachable(url: string, cause: unknown): WispError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new WispError("network", `cannot download ${url}: ${why} (off-line, or not allowed by CORS or the page's policy?)`, {
    details: { url },
    cause,
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(
      () => {
        signal.removeEventListener("abort", stop);
        resolve();
      },
      Math.min(ms, LONGEST_PAUSE_MS),
    );
    signal.addEventListener("abort", stop, { once: true });
  });
}
