// Embeddings by wisplm, as a page makes them.

import { load } from "/pkg/index.js";

export async function open({ url, threads }) {
  const model = await load(url, { device: "wasm", threads });
  return {
    runs: { threads: model.info.device.threads },
    count: async (text) => (await model.tokenize(text)).length,
    embed: async (texts) => (await model.embed(texts)).map((vector) => [...vector]),
    close: () => model.close(),
  };
}
