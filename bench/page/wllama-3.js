// wllama 3.8.1, which has llama.cpp's server inside and tells the server's own timings. A completion takes text only, not
// tokens: each prompt is a text that has exactly as many tokens as were asked for, and they are counted again here.

import { LoggerWithoutDebug, Wllama } from "/wllama-3/esm/index.js";

export async function open({ url, threads, context }) {
  const wllama = new Wllama(
    { default: "/wllama-3/esm/wasm/wllama.wasm" },
    { suppressNativeLog: true, logger: LoggerWithoutDebug },
  );
  // Otherwise a browser that it does not know makes it fetch another build from a content network.
  wllama.setCompat(null);
  await wllama.loadModelFromUrl(new URL(url, location.href).href, {
    n_gpu_layers: 0,
    n_threads: threads,
    n_ctx: context,
    n_batch: 512,
    n_ubatch: 512,
    n_parallel: 1,
    flash_attn: true,
  });
  return {
    runs: `wasm, ${wllama.getNumThreads()} threads`,

    async measure({ text: prompt }, steps) {
      const began = performance.now();
      let firstTokenMs;
      let timings;
      await wllama.createCompletion({
        prompt,
        max_tokens: steps + 1,
        temperature: 0,
        // The likeliest token, and no other step over the whole vocabulary.
        samplers: ["top_k"],
        top_k: 1,
        ignore_eos: true,
        cache_prompt: false,
        stream: true,
        onData(chunk) {
          firstTokenMs ??= performance.now() - began;
          timings = chunk.timings ?? timings;
        },
      });
      const { prompt_n: read, predicted_n: made, prompt_ms: prefillMs, predicted_ms: decodeMs } = timings;
      return { read, made, prefillMs, decodeMs, firstTokenMs };
    },

    close: () => wllama.exit(),
  };
}
