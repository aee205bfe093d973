// Where a model's bytes come from, as the page names it and as the worker gets it.

import { pageAddress } from "./assets.js";
import { invalidArgument } from "./errors.js";
import type { FromWorker, ToWorker, WireSource } from "./protocol.js";

/** A model file by its address. */
export interface RemoteFile {
  /** An address, relative to the page or absolute, or `"hf:owner/repo/path.gguf"`. */
  url: string | URL;
  /** The file's SHA-256 in hexadecimal: other bytes are refused with `integrity`. */
  sha256?: string;
  /** Sent with every request for the file. */
  headers?: Record<string, string>;
}

/** One file. */
export type ModelFile = string | URL | RemoteFile | Blob | ReadableStream<Uint8Array>;

/** What `load` loads: a file, or the parts of a split file in order. A `File` is a `Blob`. */
export type ModelSource = ModelFile | readonly ModelFile[];

/** A source as the worker gets it, except that streams are still streams. */
export type Source = Exclude<WireSource, { kind: "pump" }>;

export function sources(source: ModelSource): Source[] {
  if (!Array.isArray(source)) return [one(source as ModelFile)];
  if (source.length === 0) throw invalidArgument("the array of sources is empty", "source");
  return source.map((file: ModelFile) => one(file));
}

function one(file: ModelFile): Source {
  if (typeof file === "string" || file instanceof URL) return { kind: "remote", url: address(file) };
  if (file instanceof Blob) return { kind: "blob", blob: file };
  if (file instanceof ReadableStream) {
    if (file.locked) throw invalidArgument("the stream is locked: something else reads it", "source");
    return { kind: "stream", stream: file };
  }
  if (typeof file !== "object" || file === null) {
    throw invalidArgument(
      `the source must be an address, a File, a Blob, a ReadableStream, { url } or an array of those, not ${String(file)}`,
      "source",
    );
  }
  return remote(file);
}

function remote({ url, sha256, headers, ...others }: RemoteFile): Source {
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw invalidArgument(`a source has no option ${JSON.stringify(unknown)}`, unknown);
  if (typeof url !== "string" && !(url instanceof URL)) throw invalidArgument("the source's url must be an address", "url");
  const wire: Source = { kind: "remote", url: address(url) };
  if (sha256 !== undefined) {
    if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/i.test(sha256)) {
      throw invalidArgument("sha256 must be 64 hexadecimal digits", "sha256");
    }
    wire.sha256 = sha256.toLowerCase();
  }
  if (headers !== undefined) {
    try {
      wire.headers = Object.fromEntries(new Headers(headers));
    } catch {
      throw invalidArgument("headers must be an object of header names and values", "headers");
    }
  }
  return wire;
}

/** An absolute address; `hf:` names a file of a Hugging Face repository's main branch. */
export function address(url: string | URL): string {
  const text = String(url);
  if (text.startsWith("hf:")) {
    const [owner, repository, ...path] = text.slice(3).split("/");
    if (!owner || !repository || path.length === 0 || path.some((part) => part === "")) {
      throw invalidArgument(`${JSON.stringify(text)} is not of the form "hf:owner/repo/path.gguf"`, "source");
    }
    return `https://huggingface.co/${[owner, repository, "resolve", "main", ...path].map(encodeURIComponent).join("/")}`;
  }
  let absolute: URL;
  try {
    absolute = new URL(text, pageAddress());
  } catch {
    throw invalidArgument(`${JSON.stringify(text)} is not an address`, "source");
  }
  absolute.hash = "";
  return absolute.href;
}

/** Whether streams can move to a worker; Safari learnt it late. */
export function canTransferStreams(): boolean {
  try {
    const stream = new ReadableStream();
    structuredClone(stream, { transfer: [stream as unknown as Transferable] });
    return true;
  } catch {
    return false;
  }
}

/** Feeds the worker from streams that stay on the page, one chunk each time it asks. */
export class Pumps {
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
  readonly #post: (message: ToWorker) => void;

  constructor(post: (message: ToWorker) => void) {
    this.#post = post;
  }

  add(stream: ReadableStream<Uint8Array>): WireSource {
    this.#readers.push(stream.getReader());
    return { kind: "pump", pump: this.#readers.length - 1 };
  }

  /** Serves the worker's message if it is about a pump. */
  async serve(message: FromWorker): Promise<void> {
    if (message.type === "discard") return this.#readers[message.pump]?.cancel().catch(() => {});
    if (message.type !== "pull") return;
    const { pump } = message;
    try {
      const { value, done } = await this.#readers[pump]!.read();
      this.#post(done ? { type: "drained", pump } : { type: "chunk", pump, bytes: value });
    } catch (error) {
      this.#post({ type: "drained", pump, error: String(error) });
    }
  }

  cancel(): void {
    for (const reader of this.#readers) reader.cancel().catch(() => {});
  }
}
