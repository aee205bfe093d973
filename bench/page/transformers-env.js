// transformers.js without a network: models and runtime from this site.

import { env } from "/transformers/transformers.min.js";

// The build that it takes on its own, from elsewhere.
const RUNTIME = "/onnxruntime/ort-wasm-simd-threaded.asyncify";

env.allowLocalModels = true;
env.allowRemoteModels = false;
env.localModelPath = "/models/onnx/";
export const settings = env.backends.onnx.wasm;
settings.wasmPaths = { mjs: `${RUNTIME}.mjs`, wasm: `${RUNTIME}.wasm` };
