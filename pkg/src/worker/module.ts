// The engine's WebAssembly: fetched and compiled, the best build that the browser takes.

import { aborted, WispError } from "../errors.js";
import type { WireModule } from "../protocol.js";

export async function compile(
  modules: WireModule[],
  signal: AbortSignal,
): Promise<{ module: WebAssembly.Module; features: string[] }> {
  let refused: unknown;
  for (const { url, features } of modules) {
    try {
      return { module: await compileOne(url, signal), features };
    } catch (error) {
      if (!(error instanceof WebAssembly.CompileError)) throw error;
      refused = error;
    }
  }
  const message = refused instanceof Error ? refused.message : String(refused);
  const hint = /content security policy|unsafe-eval/i.test(message)
    ? "the page's Content-Security-Policy must allow 'wasm-unsafe-eval'"
    : "the browser does not accept the engine's WebAssembly";
  throw new WispError("unsupported-device", `${hint}: ${message}`, { cause: refused });
}

async function compileOne(url: string, signal: AbortSignal): Promise<WebAssembly.Module> {
  const response = await fetch(url, { signal }).catch((cause: unknown) => {
    if (signal.aborted) throw aborted(signal);
    throw new WispError("network", `cannot fetch the engine from ${url}: ${String(cause)}`, { details: { url }, cause });
  });
  if (!response.ok) {
    const code = response.status === 404 || response.status === 410 ? "not-found" : "network";
    throw new WispError(code, `the engine is not at ${url} (HTTP ${response.status}): set assets.baseUrl`, {
      details: { url, status: response.status },
    });
  }
  const type = response.headers.get("content-type") ?? "";
  // Streaming is refused for any other type, and a plain server may not know this one.
  if (/^application\/wasm\b/.test(type)) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}
