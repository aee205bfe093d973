// What this browser can do.

import { Refusals } from "./refusals.js";
import type { Storage } from "./storage.js";
import { inspectWebGpu, type WebGpuReport } from "./webgpu.js";

/** What this browser can do for a model, and why not more. */
export interface DeviceReport {
  /**
   * What `load` comes to if it is not told; `null` where it cannot run at all. From `"webgpu"` it turns to wasm where the model
   * does not fit, or a test of the adapter fails. A test that has failed here before is a reason for `"wasm"`; `load` tries
   * again all the same, and a success is the end of it.
   */
  readonly device: "webgpu" | "wasm" | null;
  /** What of WebAssembly there is. */
  readonly wasm: {
    /** The features of the build that `load` will use, such as `"simd128"` and `"relaxed-simd"`. */
    readonly features: readonly string[];
    /** Whether WebAssembly threads would work: they need the browser's support and a cross-origin isolated page. */
    readonly threads: boolean;
  };
  /** What of WebGPU there is. */
  readonly webgpu: WebGpuReport;
  /** Whether the page is cross-origin isolated (served with COOP and COEP). */
  readonly crossOriginIsolated: boolean;
  /** Logical processors. */
  readonly cores: number;
  /** Where downloaded models can be kept. */
  readonly storage: {
    /** Whether there is a private file system for them. */
    readonly available: boolean;
    /** Bytes that may still be stored, as the browser estimates them. */
    readonly free?: number;
  };
  /** What is missing and why, in plain sentences; empty where nothing is. */
  readonly reasons: readonly string[];
}

// A module with one function, `() -> ()`, of the given body.
function validates(body: readonly number[], memory: readonly number[] = []): boolean {
  if (typeof WebAssembly !== "object") return false;
  const code = [0, ...body, 0x0b];
  return WebAssembly.validate(
    Uint8Array.of(
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...[1, 4, 1, 0x60, 0, 0], // one type
      ...[3, 2, 1, 0], // one function of that type
      ...memory,
      ...[10, code.length + 2, 1, code.length, ...code],
    ),
  );
}

const DROP = 0x1a;
const ZERO = [0x41, 0]; // i32.const 0
const ZEROS = [...ZERO, 0xfd, 0x0f]; // i8x16.splat
const RELAXED_DOT = [0xfd, 0x93, 0x02]; // i32x4.relaxed_dot_i8x16_i7x16_add_s
const ATOMIC_LOAD = [0xfe, 0x10, 2, 0]; // i32.atomic.load
const SHARED_MEMORY = [5, 4, 1, 3, 1, 1];

/** The WebAssembly features that decide which build runs. */
export interface WasmFeatures {
  simd: boolean;
  relaxedSimd: boolean;
  threads: boolean;
}

export function wasmFeatures(): WasmFeatures {
  return {
    simd: validates([...ZEROS, DROP]),
    relaxedSimd: validates([...ZEROS, ...ZEROS, ...ZEROS, ...RELAXED_DOT, DROP]),
    threads: validates([...ZERO, ...ATOMIC_LOAD, DROP], SHARED_MEMORY),
  };
}

/** Why threads cannot run here and what to do, or `undefined` where they can. */
export function noThreads({ threads }: WasmFeatures): string | undefined {
  if (!threads) return "this browser's WebAssembly has no threads";
  if (globalThis.crossOriginIsolated !== true) {
    return (
      "the page is not cross-origin isolated, so workers can share no memory: serve it with the headers " +
      "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or let isolate() of " +
      "wisplm/isolation add them"
    );
  }
  return undefined;
}

/** Why no model can run here, or `undefined` where one can. */
export function obstacle(features: WasmFeatures): string | undefined {
  if (typeof WebAssembly !== "object") return "there is no WebAssembly here";
  if (typeof Worker !== "function") return "there are no web workers here: models run in a browser's page or worker";
  if (!features.simd) return "this browser's WebAssembly has no SIMD (simd128); every current browser has it";
  return undefined;
}

/** The adapter, with what the engine has found out about it before. */
async function adapter(): Promise<WebGpuReport> {
  const report = await inspectWebGpu();
  const storage = globalThis.navigator?.storage as unknown as Storage | undefined;
  if (report.reason !== undefined || typeof storage?.getDirectory !== "function") return report;
  const reason = await new Refusals(storage).of(report.description);
  return reason === undefined ? report : { ...report, reason };
}

async function storage(): Promise<{ available: boolean; free?: number }> {
  const manager = globalThis.navigator?.storage as StorageManager | undefined;
  if (typeof manager?.getDirectory !== "function") return { available: false };
  const available = await manager.getDirectory().then(() => true, () => false);
  const estimate = await manager.estimate?.().catch(() => undefined);
  if (estimate?.quota === undefined) return { available };
  return { available, free: Math.max(0, estimate.quota - (estimate.usage ?? 0)) };
}

/**
 * Finds out what this browser can do. Nothing is downloaded and no model is needed; where nothing can run (under
 * Node, say) the report says so.
 */
export async function probe(): Promise<DeviceReport> {
  const features = wasmFeatures();
  const isolated = globalThis.crossOriginIsolated === true;
  const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
  const [webgpu, files] = await Promise.all([adapter(), storage()]);
  const blocked = obstacle(features);
  const reasons: string[] = [];
  if (blocked !== undefined) reasons.push(blocked);
  if (features.simd && !features.relaxedSimd) {
    reasons.push("this browser's WebAssembly has no relaxed SIMD: the slower baseline build will run");
  }
  const unthreaded = noThreads(features) ?? (cores === 1 ? "there is one processor" : undefined);
  if (unthreaded !== undefined) reasons.push(`one thread will compute: ${unthreaded}`);
  if (webgpu.reason !== undefined) reasons.push(`the processor will compute: ${webgpu.reason}`);
  if (!files.available) {
    reasons.push("there is no private file system (it needs a secure page): models are downloaded every time");
  }
  return {
    device: blocked !== undefined ? null : webgpu.reason === undefined ? "webgpu" : "wasm",
    wasm: { features: featureNames(features, unthreaded === undefined), threads: features.threads && isolated },
    webgpu,
    crossOriginIsolated: isolated,
    cores,
    storage: files,
    reasons,
  };
}

/** The features of the build that runs. */
export function featureNames({ simd, relaxedSimd }: WasmFeatures, shared: boolean): string[] {
  if (!simd) return [];
  return ["simd128", ...(relaxedSimd ? ["relaxed-simd"] : []), ...(shared ? ["threads"] : [])];
}
