// transformers.js 4.3.1, which runs ONNX files by onnxruntime: its public API, tokens
// given as they are.

import { settings } from "/bench/transformers-env.js";
import { AutoModelForCausalLM, Tensor } from "/transformers/transformers.min.js";

// What reaches the GPU, counted where it does: a model that silently ran elsewhere would send nothing.
let submits = 0;
const { submit } = globalThis.GPUQueue?.prototype ?? {};
if (submit !== undefined) {
  GPUQueue.prototype.submit = function (...commands) {
    submits++;
    return submit.apply(this, commands);
  };
}

const ids = (tokens) => new Tensor("int64", BigInt64Array.from(tokens, BigInt), [1, tokens.length]);

export async function open({ onnx, threads, device = "wasm" }) {
  settings.numThreads = threads;
  const model = await AutoModelForCausalLM.from_pretrained(onnx, { dtype: "q4", device });

  let round = 0;

  /** Token by token; `told` gets each as it comes. */
  const generate = (tokens, count, told) =>
    model.generate({
      inputs: ids(tokens),
      attention_mask: ids(tokens.map(() => 1)),
      max_new_tokens: count,
      do_sample: false,
      streamer: { put: told, end() {} },
    });

  return {
    runs: { threads: settings.numThreads, on: `transformers.js 4.3.1 on ${device}` },

    async measure({ tokens }, steps) {
      // Another beginning each time, as in `wisplm.js`: so both read the same, and their answers can be compared.
      const prompt = [1000 + (round++ % 1000), ...tokens.slice(1)];
      const times = [];
      const told = [];
      const before = submits;
      const began = performance.now();
      await generate(prompt, steps + 1, ([[token]]) => {
        times.push(performance.now());
        told.push(Number(token));
      });
      if (device === "webgpu" && submits === before) throw new Error("nothing was sent to the GPU");
      // The first thing told is the prompt.
      const [, first] = times;
      const prefillMs = first - began;
      const decodeMs = times.at(-1) - first;
      return { read: tokens.length, made: told.length - 1, prefillMs, decodeMs, firstTokenMs: prefillMs, text: told.slice(1).join(" ") };
    },

    close: () => model.dispose(),
  };
}
