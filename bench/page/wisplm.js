// wisplm as a page uses it: the public package, tokens given as they are.

import { load } from "/pkg/index.js";

export async function open({ url, threads, context, device = "wasm" }) {
  let first, last;
  const onProgress = ({ phase }) => {
    first ??= performance.now();
    if (phase === "download") last = performance.now();
  };
  const on = device === "webgpu" ? { device } : { device, threads };
  const model = await load(url, { ...on, contextLength: context, onProgress });
  let round = 0;
  return {
    runs: { threads: model.info.device.threads, features: model.info.device.features, on: model.info.device.description },
    /** The file's bytes, from where they are kept to packed weights: without the worker's start and the calibration. */
    bytesMs: last - first,

    // The engine's own clock, in its worker: from when it turns to the prompt to the first token, and from there on.
    async measure({ tokens }, steps) {
      // Another beginning each time: keys and values of a known one would be taken from the last round.
      const prompt = [1000 + (round++ % 1000), ...tokens.slice(1)];
      const began = performance.now();
      const generation = model.generate(prompt, { maxTokens: steps + 1, temperature: 0, ignoreEos: true });
      let firstTokenMs;
      const text = [];
      for await (const event of generation.events()) {
        if (event.type !== "token") continue;
        firstTokenMs ??= performance.now() - began;
        text.push(event.id);
      }
      const { timings, usage } = await generation.result;
      const read = usage.promptTokens - usage.cachedTokens;
      const { promptMs: prefillMs, decodeMs } = timings;
      return { read, made: usage.completionTokens, prefillMs, decodeMs, firstTokenMs, start: prompt[0], text: text.join(" ") };
    },

    /** The mean log-probability of what others made of a prompt of `measure`. */
    async likelihood({ tokens }, start, text) {
      const { logprobs } = await model.score([start, ...tokens.slice(1), ...text]);
      return logprobs.slice(-text.length).reduce((sum, one) => sum + one, 0) / text.length;
    },

    /** Bytes that the engine has taken at most. */
    memory: () => model.info.memory.peak,

    close: () => model.close(),
  };
}
