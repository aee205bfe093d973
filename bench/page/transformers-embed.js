// Embeddings by transformers.js 4.3.1, as its documents make them.

import { settings } from "/bench/transformers-env.js";
import { pipeline } from "/transformers/transformers.min.js";

export async function open({ onnx, dtype, threads, batch }) {
  settings.numThreads = threads;
  const extract = await pipeline("feature-extraction", onnx, { dtype, device: "wasm" });

  const embed = async (texts, told) => {
    for (let first = 0; first < texts.length; first += batch) {
      told(await extract(texts.slice(first, first + batch), { pooling: "mean", normalize: true }));
    }
  };

  return {
    runs: { threads: settings.numThreads },

    async vectors(texts) {
      const vectors = [];
      await embed(texts, (some) => vectors.push(...some.tolist()));
      return vectors;
    },

    /** Milliseconds of all. */
    async time(texts) {
      const began = performance.now();
      await embed(texts, () => {});
      return performance.now() - began;
    },

    close: () => extract.dispose(),
  };
}
