// llama.cpp itself, in a process of its own: told what to do by messages, it answers each with what it measured.

import { readFileSync } from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

// With any other number than 0 of threads it may take fewer than a context asks for.
const llama = await getLlama({ gpu: false, build: "never", maxThreads: 0, logLevel: LlamaLogLevel.info, logger });
let opened;

// llama.cpp tells its timings in two lines of its log.
const TIMING = /(prompt )?eval time =\s*([\d.]+) ms \/\s*(\d+)/;
let timed = () => {};

function logger(level, message) {
  const [, prompt, ms, count] = TIMING.exec(message) ?? [];
  if (ms !== undefined) timed(prompt ? "prefill" : "decode", { ms: Number(ms), count: Number(count) });
  else if (level === LlamaLogLevel.error || level === LlamaLogLevel.fatal) console.error(message);
}

/** What llama.cpp spent computing since it was last asked: `{ prefill, decode }`, each `{ ms, count }`. */
function timings(context) {
  return new Promise((resolve) => {
    const told = {};
    timed = (what, time) => {
      told[what] = time;
      if (told.prefill && told.decode) resolve(told);
    };
    void context.printTimings();
  });
}

const resident = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))[1]);

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
    const before = resident("VmRSS");
    const began = performance.now();
    const model = await llama.loadModel({ modelPath: path });
    // A whole prompt of 512 in one batch, and flash attention where llama.cpp finds it good, as by default.
    const held = await model.createContext({ contextSize: context, batchSize: 512, threads, performanceTracking: true });
    opened = { before, sequence: held.getSequence() };
    return { loadMs: performance.now() - began, runs: `CPU, ${held.currentThreads || threads} threads` };
  },

  // The clock is llama.cpp's own, and stands still while a token is sampled: node-llama-cpp, which does that, would slow
  // the decode by a fifteenth.
  async measure({ prompt: { tokens }, steps }) {
    const { sequence } = opened;
    await sequence.clearHistory();
    const began = performance.now();
    // The likeliest token, at temperature 0.
    const generated = sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true });
    await generated.next();
    const firstTokenMs = performance.now() - began;
    for (let step = 0; step < steps; step++) await generated.next();
    await generated.return();
    const { prefill, decode } = await timings(sequence.context);
    return { read: prefill.count, made: 1 + decode.count, prefillMs: prefill.ms, decodeMs: decode.ms, firstTokenMs };
  },

  /** By how much the process has grown, at its highest; the model's mapped file counts once it has been read. */
  memory: () => ({ peak: resident("VmHWM") - opened.before }),
};

process.on("message", async ({ request, argument }) => {
  try {
    process.send({ value: await requests[request](argument) });
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on("disconnect", () => process.exit());
