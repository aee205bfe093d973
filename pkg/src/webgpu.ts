// The graphics adapter that the browser offers, as the page and the worker see it.

/** What of WebGPU there is. */
export interface WebGpuReport {
  /** Whether the browser offers an adapter. `device: "webgpu"` takes any. */
  readonly available: boolean;
  /** The adapter's vendor, architecture and description, as far as the browser tells. */
  readonly description: string;
  /** What it can do beyond what every adapter can, such as `"subgroups"` and `"shader-f16"`. */
  readonly features: readonly string[];
  /** Bytes: of a buffer, and of what a kernel sees of one; larger tables of a model are split. */
  readonly limits: { readonly maxBufferSize: number; readonly maxStorageBufferBindingSize: number };
  /** Why `device: "auto"` does not take it, in a sentence without its end; absent where it does. */
  readonly reason?: string;
}

interface Adapter {
  info?: { vendor?: string; architecture?: string; description?: string; isFallbackAdapter?: boolean };
  features: Iterable<string>;
  limits: WebGpuReport["limits"];
}

interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<Adapter | null>;
}

/** Adapters that are programs: the engine's own code for the processor is several times as fast. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bwarp\b|software/i;

/** How long the browser may look for one: its GPU process may be compiling what another page wants. */
const PATIENCE_MS = 15_000;

/** Looks for the fastest adapter, as the engine does. Nothing is opened. */
export async function inspectWebGpu(): Promise<WebGpuReport> {
  const gpu = (globalThis.navigator as { gpu?: Gpu } | undefined)?.gpu;
  if (gpu === undefined) {
    const secure = globalThis.isSecureContext !== false;
    return without(secure ? "there is no WebGPU in this browser" : "WebGPU needs a secure page (https or localhost)");
  }
  let adapter: Adapter | null | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
  });
  try {
    adapter = await Promise.race([gpu.requestAdapter({ powerPreference: "high-performance" }), silence]);
  } catch (error) {
    return without(`the browser's WebGPU gives no adapter: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    clearTimeout(timer);
  }
  if (adapter === undefined) return without("the browser's WebGPU does not answer");
  if (adapter === null) return without("WebGPU is there, but offers no adapter on this machine");
  const { vendor, architecture, description, isFallbackAdapter = false } = adapter.info ?? {};
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const name = [vendor, architecture, description].filter(Boolean).join(" ");
  const software = isFallbackAdapter || SOFTWARE.test(name);
  return {
    available: true,
    description: name,
    features: [...adapter.features].sort(),
    limits: { maxBufferSize, maxStorageBufferBindingSize },
    ...(software && { reason: `the graphics adapter is a program (${name}), slower than the engine's own code` }),
  };
}

function without(reason: string): WebGpuReport {
  return { available: false, description: "", features: [], limits: { maxBufferSize: 0, maxStorageBufferBindingSize: 0 }, reason };
}
