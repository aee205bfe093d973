// Embeddings by transformers.js 4.3.1, as its documents make them.

import { pipeline } from "/transformers/transformers.min.js";
import { settings } from "/bench/transformers-env.js";

export async function open({ onnx, dtype, threads, batch }) {
  settings.numThreads = threads;
  const extract = await pipeline("feature-extraction", onnx, { dtype, device: "wasm" });
  return {
    runs: { threads: settings.numThreads },

    async embed(texts) {
      const vectors = [];
      for (let first = 0; first < texts.length; first += batch) {
        const output = await extract(texts.slice(first, first + batch), { pooling: "mean", normalize: true });
        vectors.push(...output.tolist());
      }
      return vectors;
    },

    close: () => extract.dispose(),
  };
}
