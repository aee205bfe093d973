// The files beside this module: the worker and the engine's builds.

import { WispError } from "./errors.js";
import type { WireModule } from "./protocol.js";
import { featureNames, type WasmFeatures } from "./probe.js";

/**
 * The builds that this browser can run, the best first, where `base` (or this module) says they lie. `shared`: those whose
 * memory threads can share come before the others.
 */
export function modules(features: WasmFeatures, base: URL | undefined, shared: boolean): WireModule[] {
  // Each address is written as bundlers look for it: a literal, one level, resolved on the page.
  const here =
    base === undefined
      ? {
          simd: new URL("./wisplm-simd.wasm", import.meta.url),
          relaxed: new URL("./wisplm-relaxed.wasm", import.meta.url),
          threads: new URL("./wisplm-threads.wasm", import.meta.url),
          relaxedThreads: new URL("./wisplm-relaxed-threads.wasm", import.meta.url),
        }
      : {
          simd: new URL("wisplm-simd.wasm", base),
          relaxed: new URL("wisplm-relaxed.wasm", base),
          threads: new URL("wisplm-threads.wasm", base),
          relaxedThreads: new URL("wisplm-relaxed-threads.wasm", base),
        };
  const builds = [
    { url: here.relaxedThreads, relaxed: true, shared: true },
    { url: here.threads, relaxed: false, shared: true },
    { url: here.relaxed, relaxed: true, shared: false },
    { url: here.simd, relaxed: false, shared: false },
  ];
  return builds
    .filter((build) => (shared || !build.shared) && (features.relaxedSimd || !build.relaxed))
    .map((build) => ({
      url: build.url.href,
      features: featureNames({ ...features, relaxedSimd: build.relaxed }, build.shared),
      shared: build.shared,
    }));
}

/** Where the module lies that follows answers of a given form. */
export function constraintModule(base: URL | undefined): string {
  return (base === undefined ? new URL("./wisplm-constraint.wasm", import.meta.url) : new URL("wisplm-constraint.wasm", base)).href;
}

export function startWorker(base: URL | undefined): Worker {
  if (base !== undefined) return workerAt(new URL("worker.js", base));
  // `import.meta.url` by another name, so that no bundler takes this for a second asset.
  const here = import.meta.url;
  if (isForeign(here)) return workerAt(new URL("worker.js", here));
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}

function workerAt(url: URL): Worker {
  if (!isForeign(url.href)) return new Worker(url, { type: "module" });
  // A worker's script must come from the page's own origin; what that script imports may come from anywhere.
  const script = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  const address = URL.createObjectURL(script);
  const worker = new Worker(address, { type: "module" });
  const revoke = (): void => URL.revokeObjectURL(address);
  worker.addEventListener("message", revoke, { once: true });
  worker.addEventListener("error", revoke, { once: true });
  return worker;
}

function isForeign(url: string): boolean {
  const own = globalThis.location?.origin;
  return /^https?:/.test(url) && own !== undefined && new URL(url).origin !== own;
}

/** `assets.baseUrl` as an absolute folder address. */
export function assetFolder(baseUrl: string | URL | undefined): URL | undefined {
  if (baseUrl === undefined) return undefined;
  const text = String(baseUrl);
  try {
    return new URL(text.endsWith("/") ? text : `${text}/`, pageAddress());
  } catch (cause) {
    throw new WispError("invalid-argument", `assets.baseUrl is not an address: ${text}`, {
      details: { option: "assets.baseUrl" },
      cause,
    });
  }
}

/** What relative addresses are relative to. */
export function pageAddress(): string | undefined {
  return globalThis.document?.baseURI ?? globalThis.location?.href;
}
