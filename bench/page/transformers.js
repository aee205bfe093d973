// transformers.js 4.3.1, which runs ONNX files by onnxruntime: its public API, tokens
// given as they are.

import { settings } from "/bench/transformers-env.js";
import { AutoModelForCausalLM, Tensor } from "/transformers/transformers.min.js";

// What reaches the GPU and comes back, counted where it does. A node for which onnxruntime's WebGPU has no kernel runs on the
// CPU, and says nothing: its inputs are read back. Of a step that runs on the GPU, the logits are, and nothing else.
const counts = { submits: 0, reads: 0 };

function counted(prototype, method, count) {
  if (prototype === undefined) return;
  const { [method]: original } = prototype;
  prototype[method] = function (...given) {
    counts[count]++;
    return original.apply(this, given);
  };
}
counted(globalThis.GPUQueue?.prototype, "submit", "submits");
counted(globalThis.GPUBuffer?.prototype, "mapAsync", "reads");

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
    runs: { threads: settings.numThreads },

    async measure({ tokens }, steps) {
      // Another beginning each time, as in `wisplm.js`: so both read the same, and their answers can be compared.
      const prompt = [1000 + (round++ % 1000), ...tokens.slice(1)];
      const times = [];
      const told = [];
      const before = { ...counts };
      const began = performance.now();
      await generate(prompt, steps + 1, ([[token]]) => {
        times.push(performance.now());
        told.push(Number(token));
      });
      const [sent, back] = [counts.submits - before.submits, counts.reads - before.reads];
      if (device === "webgpu" && (sent <= steps || back > steps + 1)) {
        throw new Error(`not on the GPU alone: ${sent} submits, ${back} reads for ${steps + 1} tokens`);
      }
      // The first thing told is the prompt.
      const [, first] = times;
      const prefillMs = first - began;
      const decodeMs = times.at(-1) - first;
      const [read, text] = [tokens.length, told.slice(1)];
      return { read, made: text.length, prefillMs, decodeMs, firstTokenMs: prefillMs, start: prompt[0], text: text.join(" ") };
    },

    close: () => model.dispose(),
  };
}
