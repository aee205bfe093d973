// wllama 2.3.1. Its `createCompletion` takes text only and stops where the model would end; these are the calls that it
// makes for each token, less the text: `decode` of the prompt, then `samplingSample`, `samplingAccept` and `decode`.
// They answer through a worker's messages, which takes 0.1 ms a call; the clock is therefore the page's.

import { LoggerWithoutDebug, Wllama } from "/wllama-2/esm/index.js";

const FOLDER = "/wllama-2/esm";

export async function open({ url, threads, context }) {
  const wllama = new Wllama(
    {
      "single-thread/wllama.wasm": `${FOLDER}/single-thread/wllama.wasm`,
      "multi-thread/wllama.wasm": `${FOLDER}/multi-thread/wllama.wasm`,
    },
    { suppressNativeLog: true, logger: LoggerWithoutDebug },
  );
  // A whole prompt of 512 in one batch. There is no flash attention in this version.
  await wllama.loadModelFromUrl(new URL(url, location.href).href, { n_threads: threads, n_ctx: context, n_batch: 512 });
  return {
    runs: `wasm ${wllama.isMultithread() ? "multi" : "single"}-thread, ${wllama.getNumThreads()} threads`,

    async measure({ tokens }, steps) {
      await wllama.kvClear();
      await wllama.samplingInit({ temp: 0 });
      const began = performance.now();
      await wllama.decode(tokens, {});
      let { token } = await wllama.samplingSample();
      const first = performance.now();
      for (let i = 0; i < steps; i++) {
        await wllama.samplingAccept([token]);
        await wllama.decode([token], {});
        ({ token } = await wllama.samplingSample());
      }
      const prefillMs = first - began;
      return { read: tokens.length, made: steps + 1, prefillMs, decodeMs: performance.now() - first, firstTokenMs: prefillMs };
    },

    close: () => wllama.exit(),
  };
}
