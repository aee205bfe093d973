// node peer.mjs FILE PROMPT TOKENS: llama.cpp through Vulkan on a model file: what it takes to read so many tokens, and to make
// so many, as a line of JSON.

import { measure, open } from "../native/llama.mjs";

const [file, prompt, tokens] = process.argv.slice(2);
const llama = await open("vulkan");
const model = await llama.loadModel({ modelPath: file, gpuLayers: "max" });
const context = await model.createContext({ contextSize: 2048, batchSize: 512, performanceTracking: true });
const sequence = context.getSequence();
const numbers = Array.from({ length: Number(prompt) }, (_, k) => (k * 97) % 1000);
// The driver compiles what is used first.
await measure(sequence, numbers, 8);
await sequence.clearHistory();
const { read, made, prefillMs, decodeMs } = await measure(sequence, numbers, Number(tokens));
const devices = (await llama.getGpuDeviceNames()).join(", ");
const { release } = llama.llamaCppRelease;
console.log(JSON.stringify({ devices, release, prefill: (read / prefillMs) * 1e3, decode: ((made - 1) / decodeMs) * 1e3 }));
process.exit();
