// Embeddings by wisplm, as a page makes them.

import { load } from "/pkg/index.js";

export async function open({ url, threads, tokens }) {
  const model = await load(url, { device: "wasm", threads });
  return {
    runs: { threads: model.info.device.threads },

    async vectors(texts) {
      for (const text of texts) {
        const { length } = await model.tokenize(text);
        if (length !== tokens) throw new Error(`"${text}" has ${length} tokens, not ${tokens}`);
      }
      return (await model.embed(texts)).map((vector) => [...vector]);
    },

    /** Milliseconds of all. */
    async time(texts) {
      const began = performance.now();
      await model.embed(texts);
      return performance.now() - began;
    },

    close: () => model.close(),
  };
}
