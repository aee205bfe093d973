// Labels by wisplm's classifier, and the plain way: the model's own score of a whole prompt for each label.

import { load } from "/pkg/index.js";

export async function open({ url, threads, labels }) {
  const model = await load(url, { device: "wasm", threads });
  const classifier = model.classifier({ labels, calibrate: false });
  const before =
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
    "<|im_start|>user\nWhich label fits the text best? Answer with the label only.\n" +
    `Labels: ${labels.join(", ")}\n\nText: `;
  const after = "<|im_end|>\n<|im_start|>assistant\n";

  return {
    runs: { threads: model.info.device.threads },
    count: async (text) => (await model.tokenize(text)).length,

    async ours(texts) {
      const began = performance.now();
      const scores = await classifier.classify(texts);
      return { ms: performance.now() - began, best: scores.map(([best]) => best.label) };
    },

    async plain(texts) {
      const began = performance.now();
      const best = [];
      for (const text of texts) {
        const prompt = await model.tokenize(before + text + after, { special: true, bos: false });
        const sums = [];
        for (const label of labels) {
          const answer = await model.tokenize(label, { bos: false });
          const { logprobs } = await model.score([...prompt, ...answer]);
          sums.push(logprobs.slice(-answer.length).reduce((sum, one) => sum + one, 0));
        }
        best.push(labels[sums.indexOf(Math.max(...sums))]);
      }
      return { ms: performance.now() - began, best };
    },

    close: () => model.close(),
  };
}
