// From a source to a model.

import { assetFolder, constraintModule, modules, startWorker } from "./assets.js";
import { aborted, fromWire, WispError } from "./errors.js";
import { Link } from "./link.js";
import { type Model, WorkerModel } from "./model.js";
import { type LoadOptions, loadOptions } from "./options.js";
import { noThreads, obstacle, wasmFeatures } from "./probe.js";
import type { FromWorker, ToWorker, WireLoad, WireSource, WireThreads } from "./protocol.js";
import { canTransferStreams, type ModelSource, Pumps, type Source, sources } from "./source.js";

/** How long a worker may take to close its files before it is ended anyway. */
const RELEASE_MS = 1000;
/** How long a worker may take to get ready for its end. It listens between slices of its work. */
const FAREWELL_MS = 1000;

/** The most threads that `"auto"` tries: beyond that a model small enough for a tab gains nothing. */
const AUTO_THREADS = 8;

/** What the page needs of a `Worker`. */
export type LoadWorker = Pick<Worker, "postMessage" | "terminate" | "addEventListener">;

/**
 * Loads a model from an address, a file, a stream, or an array of those for a split file, in a worker of its own.
 *
 * ```ts
 * const model = await load("https://example.org/model.gguf", { onProgress: console.log });
 * for await (const text of model.generate("Once upon a time")) document.body.append(text);
 * ```
 *
 * Downloads are kept in the browser's private file system, resumed after an interruption, and reused without the network.
 */
export async function load(source: ModelSource, options?: LoadOptions): Promise<Model> {
  const settings = loadOptions(options);
  if (settings.signal?.aborted) throw aborted(settings.signal);
  const features = wasmFeatures();
  const blocked = obstacle(features);
  if (blocked !== undefined) throw new WispError("unsupported-device", `no model can run here: ${blocked}`);
  const files = sources(source);
  const base = assetFolder(settings.assets?.baseUrl);
  // Who asks for threads asks for the processor.
  const automatic = typeof settings.threads === "number" ? "wasm" : "auto";
  const device = settings.device === undefined || settings.device === "auto" ? automatic : settings.device;
  const threads = device === "webgpu" ? { count: 1, exact: true } : threadsOf(settings.threads, noThreads(features));
  return loadWith(() => startWorker(base), files, {
    ...settings,
    modules: modules(features, base, threads.count > 1),
    constraint: constraintModule(base),
    device,
    threads,
  });
}

function threadsOf(wanted: "auto" | number = "auto", obstacle: string | undefined): WireThreads {
  if (wanted === "auto") {
    const cores = globalThis.navigator.hardwareConcurrency ?? 1;
    return { count: obstacle === undefined ? Math.min(cores, AUTO_THREADS) : 1, exact: false };
  }
  if (wanted > 1 && obstacle !== undefined) {
    throw new WispError("unsupported-device", `${wanted} threads cannot run here: ${obstacle}; or use threads "auto" or 1`, {
      details: { option: "threads" },
    });
  }
  return { count: wanted, exact: true };
}

/** Loads by a worker that speaks the protocol. */
export function loadWith(
  start: () => LoadWorker,
  files: Source[],
  { modules, constraint, device, threads, cache = true, autotune = true, contextLength, kvType, activations, adapters = [], signal, onProgress }: Omit<LoadOptions, "threads" | "device"> &
    Pick<WireLoad, "modules" | "constraint" | "device" | "threads">,
): Promise<Model> {
  const all = [...files, ...adapters.flatMap(({ source }) => sources([source]))];
  return new Promise((resolve, reject) => {
    let worker: LoadWorker;
    try {
      worker = start();
    } catch (cause) {
      return reject(new WispError("unsupported-device", `the browser refuses to start a worker: ${String(cause)}`, { cause }));
    }
    const post = (message: ToWorker, transfer: Transferable[] = []): void => worker.postMessage(message, transfer);
    let farewell: ReturnType<typeof setTimeout> | undefined;
    const terminate = (): void => {
      // The worker lets its helpers go first: those that sleep would take seconds to end by force.
      post({ type: "end" });
      farewell = setTimeout(() => worker.terminate(), FAREWELL_MS);
    };
    const link = new Link({ postMessage: post, terminate });
    const pumps = new Pumps(post);
    let state: "loading" | "releasing" | "over" = "loading";
    let patience: ReturnType<typeof setTimeout> | undefined;

    const abandon = (): void => {
      state = "releasing";
      reject(aborted(signal));
      // The worker closes its files first, so that a later load can resume; then it goes.
      post({ type: "abandon" });
      patience = setTimeout(release, RELEASE_MS);
    };
    const release = (): void => {
      state = "over";
      clearTimeout(patience);
      pumps.cancel();
      link.end(new WispError("closed", "the load has ended"));
    };
    const failed = (error: WispError): void => {
      signal?.removeEventListener("abort", abandon);
      reject(error);
      release();
    };

    worker.addEventListener("message", ({ data: message }: MessageEvent<FromWorker>) => {
      if (message.type === "ended") {
        clearTimeout(farewell);
        return worker.terminate();
      }
      if (state === "over") return link.receive(message);
      if (message.type === "released") return release();
      if (message.type === "pull" || message.type === "discard") return void pumps.serve(message);
      if (state === "releasing") return;
      if (message.type === "progress") {
        const { phase, loaded, total } = message;
        onProgress?.({ phase, loaded, total });
      } else if (message.type === "failed") {
        failed(fromWire(message.error));
      } else if (message.type === "loaded") {
        state = "over";
        signal?.removeEventListener("abort", abandon);
        resolve(new WorkerModel(link, message));
      }
    });
    worker.addEventListener("error", (event) => {
      const { message } = event as ErrorEvent;
      if (state !== "over") {
        const why = message ? `: ${message}` : " (is it where `assets.baseUrl` says, and does the page's policy allow it?)";
        failed(new WispError("network", `the worker's script does not start${why}`));
      } else {
        link.end(new WispError("internal", `the worker failed: ${message}`));
      }
    });
    signal?.addEventListener("abort", abandon, { once: true });

    const transfer: Transferable[] = [];
    const movable = canTransferStreams();
    const wires = all.map((file): WireSource => {
      if (file.kind !== "stream") return file;
      if (!movable) return pumps.add(file.stream);
      transfer.push(file.stream as unknown as Transferable);
      return file;
    });
    const model = {
      ...(contextLength !== undefined && { contextLength }),
      ...(kvType !== undefined && { kvType }),
      ...(activations !== undefined && { activations }),
      ...(adapters.length > 0 && { adapters: adapters.map(({ scale = 1 }) => scale) }),
    };
    post({ type: "load", load: { modules, constraint, device, threads, sources: wires, cache, autotune, model } }, transfer);
  });
}
