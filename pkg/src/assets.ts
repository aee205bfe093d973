// The files beside this module: the worker and the engine's builds.

import { WispError } from "./errors.js";
import type { WireModule } from "./protocol.js";
import type { WasmFeatures } from "./probe.js";

/** The builds that this browser can run, the best first, where `base` (or this module) says they lie. */
export function modules(features: WasmFeatures, base: URL | undefined): WireModule[] {
  // Each address is written as bundlers look for it: a literal, one level, resolved on the page.
  const builds: WireModule[] = [
    {
      url: (base === undefined
        ? new URL("./wisplm-simd.wasm", import.meta.url)
        : new URL("wisplm-simd.wasm", base)
      ).href,
      features: ["simd128"],
    },
  ];
  if (features.relaxedSimd) {
    builds.unshift({
      url: (base === undefined
        ? new URL("./wisplm-relaxed.wasm", import.meta.url)
        : new URL("wisplm-relaxed.wasm", base)
      ).href,
      features: ["simd128", "relaxed-simd"],
    });
  }
  return builds;
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
