// wisplm's answers with a form and without.

import { load } from "/pkg/index.js";

export async function open({ url, threads }) {
  const model = await load(url, { device: "wasm", threads });
  return {
    runs: { threads: model.info.device.threads },

    /** Milliseconds of a token, of so many. At temperature 1 without limits every token is drawn from the whole vocabulary. */
    async token(maxTokens, format) {
      const sampling = { temperature: 1, seed: 1, topK: 0, topP: 1, minP: 0 };
      const { usage, timings } = await model.generate("A list:", { maxTokens, ignoreEos: true, format, ...sampling }).result;
      if (usage.completionTokens !== maxTokens) throw new Error(`made ${usage.completionTokens} of ${maxTokens} tokens`);
      return timings.decodeMs / (maxTokens - 1);
    },

    close: () => model.close(),
  };
}
