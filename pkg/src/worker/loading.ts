// From sources to an engine: bytes go into the loader as they arrive, and the file is never whole in memory.

import { aborted, WispError } from "../errors.js";
import type { FromWorker, WireLoad, WireSource } from "../protocol.js";
import type { Binding, Engine, Gpu, Loader } from "./binding.js";
import { breathe } from "./breath.js";
import { call, Trap } from "./fault.js";
import type { Opened } from "./source.js";

/** The most bytes that the loader gets at once: it keeps room for them. */
const PUSH = 1 << 20;
/** Bytes of a file on the disk that are read at once: small enough to be still in the cache when they are packed. */
const READ = 1 << 18;
/** How often the page hears of the progress. */
const REPORT_MS = 50;
/** How long bytes are pushed before messages are looked at. */
const BREATH_MS = 20;

type Phase = Extract<FromWorker, { type: "progress" }>["phase"];
export type Report = (phase: Phase, loaded: number, total: number) => void;

/** Loads for the CPU, or for `gpu`; with the device `"auto"`, what the GPU cannot run goes to the CPU. */
export async function loadEngine(
  { Loader, Sha256 }: Binding,
  { sources, model, device }: Pick<WireLoad, "sources" | "model" | "device">,
  gpu: Gpu | undefined,
  open: (source: WireSource, index: number) => Promise<Opened>,
  report: Report,
  signal: AbortSignal,
  keep: ((found: string) => Promise<void>) | undefined,
): Promise<Engine> {
  const files = sources.length - (model.adapters?.length ?? 0);
  const loader = call(() => new Loader(JSON.stringify({ ...model, files, orCpu: device === "auto" }), gpu));
  const progress = new DownloadProgress(sources, files, report);
  // What there is to free: the loader, then nothing, as it is consumed, then the engine.
  let held: Pick<Engine, "free"> | undefined = loader;
  let engine: Engine | undefined;
  try {
    for (const [index, source] of sources.entries()) {
      if (signal.aborted) throw aborted(signal);
      const opened = await open(source, index);
      progress.begin(index, opened.size);
      const digest = opened.sha256 === undefined ? undefined : new Sha256();
      try {
        await push(loader, opened, index, digest, progress, signal);
        const sha256 = digest?.hex();
        if (sha256 !== opened.sha256) {
          throw new WispError("integrity", `${opened.name} has the SHA-256 ${sha256}, not ${opened.sha256}`, {
            ...(source.kind === "remote" && { details: { url: source.url } }),
          });
        }
        if (index < sources.length - 1) {
          call(() => loader.nextFile());
        } else {
          progress.finish();
          report("prepare", 0, 1);
          if (keep !== undefined) {
            const found = await call(() => loader.tune());
            if (found !== undefined) await keep(found);
          }
          held = undefined;
          held = engine = call(() => loader.finish());
          report("prepare", 1, 1);
        }
        await opened.accept(sha256);
      } catch (error) {
        // A file that is wrong in itself is not kept, so that the next try asks for it afresh.
        const useless = error instanceof WispError && (error.code === "integrity" || error.code === "invalid-model");
        await opened.reject(useless);
        throw error;
      } finally {
        progress.stop();
        digest?.free();
      }
    }
  } catch (error) {
    // The load may be tried once more, elsewhere.
    if (!(error instanceof Trap)) call(() => held?.free());
    throw error;
  }
  return engine!;
}

async function push(
  loader: Loader,
  opened: Opened,
  index: number,
  digest: { update(bytes: Uint8Array): void } | undefined,
  progress: DownloadProgress,
  signal: AbortSignal,
): Promise<void> {
  let breath = performance.now();
  let expected: number | undefined;
  const room = (bytes: number): Uint8Array => call(() => loader.room(bytes));
  const take = async (bytes: number): Promise<void> => {
    call(() => loader.push(bytes));
    if (expected === undefined) {
      expected = call(() => loader.expectedBytes());
      if (expected !== undefined) checkSize(opened, expected);
    }
    progress.advance(index, bytes, expected);
    if (performance.now() - breath > BREATH_MS) {
      await breathe();
      breath = performance.now();
    }
    if (signal.aborted) throw aborted(signal);
  };
  const { bytes } = opened;
  if ("read" in bytes) {
    for (let at = 0; ; ) {
      const count = bytes.read(room(READ), at);
      if (count === 0) break;
      await take(count);
      at += count;
    }
  } else {
    for await (const chunk of bytes) {
      for (let at = 0; at < chunk.length; at += PUSH) {
        const piece = chunk.subarray(at, at + PUSH);
        digest?.update(piece);
        room(piece.length).set(piece);
        await take(piece.length);
      }
    }
  }
  if (signal.aborted) throw aborted(signal);
}

// Known after the header: there is no need to wait for the end.
function checkSize({ name, size }: Opened, expected: number): void {
  if (size === undefined || size >= expected) return;
  throw new WispError("invalid-model", `${name} is truncated: it has ${size} bytes, by its header it has ${expected}`, {
    details: { offset: size },
  });
}

class DownloadProgress {
  readonly #sizes: (number | undefined)[];
  readonly #files: number;
  readonly #report: Report;
  #loaded = 0;
  #current = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sources: WireSource[], files: number, report: Report) {
    this.#files = files;
    this.#sizes = sources.map((source) => (source.kind === "blob" ? source.blob.size : undefined));
    this.#report = report;
  }

  begin(index: number, size: number | undefined): void {
    this.#sizes[index] ??= size;
    this.#current = 0;
    this.#tell();
  }

  advance(index: number, bytes: number, expected: number | undefined): void {
    this.#loaded += bytes;
    this.#current += bytes;
    this.#sizes[index] ??= expected;
    // More than was told: it was compressed on its way, or there is something behind the last tensor.
    const size = this.#sizes[index];
    if (size !== undefined && this.#current > size) this.#sizes[index] = this.#current;
    // What is held back now is told later, even if no more comes.
    this.#timer ??= setTimeout(() => this.#tell(), REPORT_MS);
  }

  /** No more comes: not before the end, if it fails. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  finish(): void {
    this.stop();
    this.#report("download", this.#loaded, this.#loaded);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const known = this.#sizes.filter((size) => size !== undefined);
    if (known.length === 0) return;
    // The parts of a split file are about as large as each other, and adapters small beside them.
    const guess = Math.max(...known);
    const total = this.#sizes.reduce<number>((sum, size, i) => sum + (size ?? (i < this.#files ? guess : 0)), 0);
    this.#report("download", this.#loaded, Math.max(total, this.#loaded));
  }
}
