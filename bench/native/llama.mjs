// llama.cpp by node-llama-cpp, and its own clock.

import { getLlama, LlamaLogLevel } from "node-llama-cpp";

// llama.cpp tells its timings in two lines of its log.
const TIMING = /(prompt )?eval time =\s*([\d.]+) ms \/\s*(\d+)/;
let timed = () => {};

function logger(level, message) {
  const [, prompt, ms, count] = TIMING.exec(message) ?? [];
  if (ms !== undefined) timed(prompt ? "prefill" : "decode", { ms: Number(ms), count: Number(count) });
  else if (level === LlamaLogLevel.error || level === LlamaLogLevel.fatal) console.error(message);
}

/** llama.cpp on a GPU ("vulkan"), or on none (false). */
export function open(gpu) {
  // With any other number than 0 of threads it may take fewer than a context asks for.
  return getLlama({ gpu, build: "never", maxThreads: 0, logLevel: LlamaLogLevel.info, logger });
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

/**
 * Has a sequence without history read `tokens` and make `steps` tokens more than one, each the likeliest. The clock is
 * llama.cpp's own, and stands still while a token is sampled: node-llama-cpp, which does that, would slow the decode by a
 * fifteenth.
 */
export async function measure(sequence, tokens, steps) {
  const began = performance.now();
  // The likeliest token, at temperature 0.
  const generated = sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true });
  await generated.next();
  const firstTokenMs = performance.now() - began;
  for (let step = 0; step < steps; step++) await generated.next();
  await generated.return();
  const { prefill, decode } = await timings(sequence.context);
  return { read: prefill.count, made: 1 + decode.count, prefillMs: prefill.ms, decodeMs: decode.ms, firstTokenMs };
}
