// What a model runs on: the GPU where it is one, computes rightly, has room and is not slow; else the CPU.

import { aborted, WispError } from "../errors.js";
import type { WireInfo, WireLoad, WireSource } from "../protocol.js";
import type { Refusals } from "../refusals.js";
import type { WebGpuReport } from "../webgpu.js";
import type { Binding, Engine, Gpu } from "./binding.js";
import type { Tunings } from "./tuning.js";
import { embed, head } from "./encode.js";
import { call, translated, Trap } from "./fault.js";
import { loadEngine, type Report } from "./loading.js";
import { generation } from "./run.js";
import { isReadOnce, type Opened } from "./source.js";
import { employ, type Helpers } from "./threads.js";

/**
 * How long a step may take on a GPU that `"auto"` takes: this, and the time in which one old core reads the weights. The
 * same step on the CPU would be the better measure, but for that a model would have to be in memory twice, and its file,
 * which may be a stream, to be read twice.
 */
const STEP_MS = 100;
const BYTES_PER_MS = 4e6;
const TIMED_TOKENS = 4;

/** What says nothing of the device. */
const OF_THE_SOURCE = ["aborted", "network", "not-found", "integrity", "invalid-model"];

/** What a model is loaded with, and loaded again if its GPU is lost. */
export interface Setting {
  load: WireLoad;
  binding: Binding;
  features: string[];
  adapter(): Promise<WebGpuReport>;
  hire(): Helpers | undefined;
  open(source: WireSource, index: number): Promise<Opened>;
  report: Report;
  signal: AbortSignal;
  notice(text: string): void;
  /** Where what trials find on a GPU is kept; without it there are none. */
  tunings: Tunings | undefined;
  /** Where it is kept that a GPU was refused. */
  refusals: Refusals | undefined;
}

/** A model that is ready. */
export interface Ready {
  engine: Engine;
  info: WireInfo;
  threads: number;
  /** The GPU's name and what its kernels use of it, where that computes. */
  adapter?: string;
  gpuFeatures?: string[];
}

interface OpenGpu {
  gpu: Gpu;
  name: string;
  features: string[];
}

/** Loads a model where it is to run; with `"auto"`, where it can. */
export async function bring(setting: Setting): Promise<Ready> {
  const { load, notice } = setting;
  const gpu = load.device === "wasm" ? undefined : await openGpu(setting);
  try {
    return await loadOn(setting, gpu);
  } catch (thrown) {
    const error = translated(thrown);
    const elsewhere = gpu !== undefined && load.device === "auto" && !OF_THE_SOURCE.includes(error.code);
    if (!elsewhere || error instanceof Trap || load.sources.some(isReadOnce)) throw error;
    notice(without(error.message));
    return loadOn(setting, undefined);
  }
}

async function openGpu({ load, binding, adapter, notice, tunings, refusals }: Setting): Promise<OpenGpu | undefined> {
  const any = load.device === "webgpu";
  try {
    const { available, description, reason, features: offered } = await adapter();
    if (!available || (reason !== undefined && !any)) throw new WispError("unsupported-device", reason ?? "there is no adapter");
    const subgroups = offered.includes("subgroups") && addSubgroups();
    const tuning = await tunings?.of(description);
    const opening = binding.Gpu.open(JSON.stringify({ subgroups, tuning }));
    const gpu = await opening.catch(async (thrown: unknown) => {
      const error = translated(thrown);
      if (error.code === "unsupported-device") await refusals?.keep(description, error.message);
      throw error;
    });
    await refusals?.forget(description);
    return { gpu, name: description, features: call(() => gpu.features()) };
  } catch (thrown) {
    const error = translated(thrown);
    if (any || error instanceof Trap) throw error;
    notice(without(error.message));
    return undefined;
  }
}

interface Adapters {
  prototype: { features: Set<string>; requestDevice(of?: { requiredFeatures?: string[] }): Promise<unknown> };
}

/** Has adapters open with subgroups where they have some, which wgpu would not ask for: whether that could be done. */
let addSubgroups = (): boolean => {
  const { prototype } = (globalThis as { GPUAdapter?: Adapters }).GPUAdapter ?? {};
  if (prototype === undefined) return false;
  const { requestDevice } = prototype;
  prototype.requestDevice = function (of = {}) {
    const more = this.features.has("subgroups") ? ["subgroups"] : [];
    return requestDevice.call(this, { ...of, requiredFeatures: [...(of.requiredFeatures ?? []), ...more] });
  };
  addSubgroups = () => true;
  return true;
};

function without(reason: string): string {
  return `WebGPU is not used: ${reason}`;
}

async function loadOn(setting: Setting, gpu: OpenGpu | undefined): Promise<Ready> {
  const { load, binding, hire, open, report, signal, notice, tunings } = setting;
  // They come while the model is being downloaded.
  if (gpu === undefined) hire();
  const keep = gpu && tunings && ((found: string) => tunings.keep(gpu.name, found));
  const engine = await loadEngine(binding, load, gpu?.gpu, open, report, signal, keep);
  try {
    const info = JSON.parse(call(() => engine.info())) as WireInfo;
    report("warmup", 0, 1);
    if (info.device === "wasm") {
      if (info.refusal !== null) notice(without(info.refusal));
      const helpers = hire();
      const threads = helpers === undefined ? 1 : await employ(engine, helpers, load.threads, signal, notice);
      await warmUp(engine, info, signal);
      report("warmup", 1, 1);
      return { engine, info, threads };
    }
    await warmUp(engine, info, signal);
    // What cannot be read again has no other place to go.
    if (load.device === "auto" && !load.sources.some(isReadOnce)) await keepsPace(engine, info, signal);
    report("warmup", 1, 1);
    return { engine, info, threads: 1, adapter: gpu?.name ?? "", gpuFeatures: gpu?.features ?? [] };
  } catch (error) {
    if (!(error instanceof Trap)) call(() => engine.free());
    throw error;
  }
}

// The first run compiles the engine's hot code and touches the weights; it also shows that the model runs at all.
async function warmUp(engine: Engine, info: WireInfo, signal: AbortSignal): Promise<void> {
  await step(engine, info, 1, signal);
  if (signal.aborted) throw aborted(signal);
}

async function keepsPace(engine: Engine, info: WireInfo, signal: AbortSignal): Promise<void> {
  const ms = await step(engine, info, TIMED_TOKENS, signal);
  if (signal.aborted) throw aborted(signal);
  const most = STEP_MS + info.memory.weights / BYTES_PER_MS;
  if (ms <= most) return;
  throw new WispError(
    "unsupported-device",
    `a step of this model takes ${ms.toFixed(0)} ms there, and the processor needs less than ${most.toFixed(0)}`,
  );
}

/** Milliseconds of a step, the mean of some: a GPU has several under way at once. */
async function step(engine: Engine, info: WireInfo, steps: number, signal: AbortSignal): Promise<number> {
  const start = performance.now();
  if (info.generates) {
    await generation(Uint32Array.of(0), { maxTokens: steps, temperature: 0, ignoreEos: true }, signal)(engine);
  } else {
    const text = (): Promise<unknown> =>
      info.labels === null ? embed(engine, info, ["a"], { normalize: false }, "error", signal) : head(engine, info, ["a"], "error", signal);
    for (let k = 0; k < steps; k++) await text();
  }
  return (performance.now() - start) / steps;
}
