// llama.cpp itself, in a process of its own: told what to do by messages, it answers each with what it measured.

import { memory } from "../memory.mjs";
import { measure, open } from "./llama.mjs";

const llama = await open(false);
let opened;

const requests = {
  version: () => llama.llamaCppRelease.release,

  /** For each length, a stretch of the text that has exactly so many tokens, and starts elsewhere than the others. */
  async prompts({ path, text, lengths }) {
    const model = await llama.loadModel({ modelPath: path, vocabOnly: true });
    const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
    const prompts = lengths.map((length, i) => {
      // Cut after a token, a text need not have the same tokens again: then the next word is tried.
      for (let start = 1000 * i; ; start = text.indexOf(" ", start + 1)) {
        const all = model.tokenize(text.slice(start, start + 12 * length));
        const cut = model.detokenize(all.slice(0, length - begin.length));
        const tokens = [...begin, ...model.tokenize(cut)];
        if (tokens.length === length) return { text: cut, tokens };
      }
    });
    await model.dispose();
    return prompts;
  },

  async open({ path, threads, context }) {
    const before = memory("self").now;
    const began = performance.now();
    const model = await llama.loadModel({ modelPath: path });
    // A whole prompt of 512 in one batch, and flash attention where llama.cpp finds it good, as by default.
    const held = await model.createContext({ contextSize: context, batchSize: 512, threads, performanceTracking: true });
    opened = { before, sequence: held.getSequence() };
    return { loadMs: performance.now() - began, runs: { threads: held.idealThreads } };
  },

  async measure({ prompt: { tokens }, steps }) {
    const { sequence } = opened;
    await sequence.clearHistory();
    return measure(sequence, tokens, steps);
  },

  /** By how much the process has grown, at its highest; the model's mapped file counts once it has been read. */
  memory: () => ({ peak: memory("self").peak - opened.before }),
};

process.on("message", async ({ request, argument }) => {
  try {
    process.send({ value: await requests[request](argument) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on("disconnect", () => process.exit());
