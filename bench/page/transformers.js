// transformers.js 4.3.1, which runs ONNX files by onnxruntime: its public API, tokens given as they are.

import { AutoModelForCausalLM, env, Tensor } from "/transformers/transformers.min.js";

const RUNTIME = "/onnxruntime/ort-wasm-simd-threaded.asyncify";

env.allowLocalModels = true;
env.allowRemoteModels = false;
env.localModelPath = "/models/onnx/";
// The build that it takes on its own, from this site instead of a content network.
env.backends.onnx.wasm.wasmPaths = { mjs: `${RUNTIME}.mjs`, wasm: `${RUNTIME}.wasm` };

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
  env.backends.onnx.wasm.numThreads = threads;
  const model = await AutoModelForCausalLM.from_pretrained(onnx, { dtype: "q4", device });

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
    runs: { threads: env.backends.onnx.wasm.numThreads, on: device },

    async measure({ tokens }, steps) {
      const times = [];
      const made = [];
      const before = submits;
      const began = performance.now();
      await generate(tokens, steps + 1, ([[token]]) => {
        times.push(performance.now());
        made.push(Number(token));
      });
      if (device === "webgpu" && submits === before) throw new Error("nothing was sent to the GPU");
      // The first thing told is the prompt.
      const [, first] = times;
      const prefillMs = first - began;
      const [decodeMs, text] = [times.at(-1) - first, made.slice(1)];
      return { read: tokens.length, made: text.length, prefillMs, decodeMs, firstTokenMs: prefillMs, text, submits: submits - before };
    },

    close: () => model.dispose(),
  };
}
