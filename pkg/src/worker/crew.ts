// The workers that help the engine compute: they share its memory, and each sits in `help` until it is dismissed.

/** What a helper is started with. */
export interface Enlistment {
  type: "help";
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** What a helper says: that it has failed, or that it was let go. It does not end itself. */
export type Resignation = { type: "failed"; message: string } | { type: "left" };

/** A worker that nobody holds may be collected, in the middle of its work. */
const HELD: HelperWorker[] = [];
/** How long the end of a worker takes, where it has nothing to do: nothing tells when it is over. */
const ENDING_MS = 30;

type HelperWorker = Pick<Worker, "postMessage" | "addEventListener" | "terminate">;

/** Pages of 64 KiB: what a shared memory begins with, and may grow to. It takes address space for all of it at once. */
const INITIAL = 256;
const MAXIMA = [65_536, 32_768, 16_384];

export function sharedMemory(): WebAssembly.Memory {
  let refused: unknown;
  for (const maximum of MAXIMA) {
    try {
      return new WebAssembly.Memory({ initial: INITIAL, maximum, shared: true });
    } catch (error) {
      refused = error;
    }
  }
  throw refused;
}

export class Crew {
  /** How many were asked for. */
  readonly size: number;
  /** Why one of them does not help. */
  problem: string | undefined;
  readonly #ends: Promise<void>[] = [];
  #lastEnd = -Infinity;

  constructor(size: number, enlistment: Enlistment, start: () => HelperWorker) {
    this.size = size;
    try {
      for (let i = 0; i < size; i++) {
        const worker = start();
        this.#ends.push(this.#endOf(worker));
        worker.postMessage(enlistment);
        HELD.push(worker);
      }
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  /**
   * Resolves when all helpers, dismissed, have ended: the page may end this worker then. Chromium leaves a worker and its
   * helper behind for good if it is told to end one while the other is ending (one load in ten, when that was tried).
   */
  async end(): Promise<void> {
    await Promise.all(this.#ends);
    const left = this.#lastEnd + ENDING_MS - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  }

  /** Ends a helper when it has left or failed. */
  #endOf(worker: HelperWorker): Promise<void> {
    return new Promise((resolve) => {
      const ended = (problem?: string): void => {
        this.problem ??= problem;
        this.#lastEnd = performance.now();
        worker.terminate();
        resolve();
      };
      worker.addEventListener("message", ({ data }: MessageEvent<Resignation>) =>
        ended(data.type === "failed" ? data.message : undefined),
      );
      worker.addEventListener("error", (event) => {
        // Not an error of the engine's worker: it goes on with those who came.
        event.preventDefault();
        ended((event as ErrorEvent).message || "its script does not start");
      });
    });
  }
}

/** Another worker with this worker's script. */
export function startHelper(): Worker {
  const { href, protocol } = globalThis.location;
  if (protocol !== "blob:") return new Worker(href, isModule() ? { type: "module" } : {});
  // Started by way of a blob, since the script is another origin's; so is this one.
  const script = new Blob([`import ${JSON.stringify(import.meta.url)};`], { type: "text/javascript" });
  const address = URL.createObjectURL(script);
  const worker = new Worker(address, { type: "module" });
  worker.addEventListener("message", () => URL.revokeObjectURL(address), { once: true });
  worker.addEventListener("error", () => URL.revokeObjectURL(address), { once: true });
  return worker;
}

// Some bundlers make a classic script of a module worker.
function isModule(): boolean {
  try {
    (globalThis as unknown as { importScripts(): void }).importScripts();
    return false;
  } catch {
    return true;
  }
}
