// What is measured, and what has to come out: tables only.

export const ROUNDS = 5;

/** `id` is the name in `scripts/models.py`. */
export const MODELS = [
  { id: "smollm2", name: "SmolLM2-135M Q4_1", short: "SmolLM2", file: "SmolLM2-135M-Instruct.Q4_1.gguf" },
  { id: "gemma3", name: "Gemma 3 270M Q4_K_M", short: "Gemma 3", file: "gemma-3-270m-q4_k_m.gguf" },
];

/**
 * `engine`: a module of `page/`, or `native`. `variant: "simd"`: in a browser without relaxed SIMD. `passes`: what it takes
 * part in, if not in `short` alone; in the long one on one thread, where there is nothing but the attention to slow it
 * down. `onnx`: the folder of the ONNX file that it reads, of `models`. On WebGPU, without a graphics card, a program plays
 * it (SwiftShader): its figures say little about a card.
 */
export const CONTESTANTS = [
  { id: "wisplm-1", name: "wisplm", engine: "wisplm", threads: 1, passes: ["short", "long"] },
  { id: "wisplm-2", name: "wisplm", engine: "wisplm", threads: 2 },
  { id: "wisplm-simd-1", name: "wisplm, plain SIMD", engine: "wisplm", threads: 1, variant: "simd" },
  { id: "wisplm-webgpu", name: "wisplm, WebGPU", engine: "wisplm", device: "webgpu", threads: 1, passes: ["webgpu"] },
  { id: "transformers-webgpu", name: "transformers.js, WebGPU", engine: "transformers", onnx: "smollm2-q4", models: ["smollm2"], device: "webgpu", threads: 1, passes: ["webgpu"] },
  { id: "native-1", name: "llama.cpp, native", engine: "native", threads: 1, passes: ["short", "long"] },
  { id: "native-2", name: "llama.cpp, native", engine: "native", threads: 2 },
  { id: "wllama-2.3.1-1", name: "wllama 2.3.1", engine: "wllama-2", threads: 1 },
  { id: "wllama-2.3.1-2", name: "wllama 2.3.1", engine: "wllama-2", threads: 2 },
  { id: "wllama-3.8.1-1", name: "wllama 3.8.1", engine: "wllama-3", threads: 1 },
  { id: "wllama-3.8.1-2", name: "wllama 3.8.1", engine: "wllama-3", threads: 2 },
];

/** Whichever of these is the faster, figure by figure. */
export const BETTER = { id: "native", name: "llama.cpp, native, the better of 1 and 2", of: ["native-1", "native-2"] };

/** Tokens generated after the one that comes with the prompt, if the pass does not say another number. */
export const STEPS = 64;

/**
 * A contestant is loaded anew for each pass. `context`: the context asked for, and so the same memory for everyone. Minutes
 * go by while transformers.js makes a few tokens on a GPU that is a program: fewer `steps` there, one round at most, and a
 * `warm` of its own. `judged`: what was written is compared. The other kinds of passes: answers in a form, labels, embeddings, several sequences at once, and the
 * micro-benchmarks.
 */
export const PASSES = [
  { id: "short", context: 1024, prompts: [128, 512] },
  { id: "long", context: 4608, prompts: [128, 4096] },
  { id: "webgpu", context: 512, prompts: [128], steps: 16, rounds: 1, warm: { prompt: 32, steps: 1, ms: 0 }, judged: true },
];
export const OTHER_PASSES = ["forms", "classes", "embeddings", "batches", "kernels"];

/**
 * Before anything is timed: this much of a prompt and so many steps, over and over for so long. V8 compiles a hot
 * function again, and better, while it already runs.
 */
export const WARM = { prompt: 32, steps: 8, ms: 1000 };

/** Speeds of one contestant over another's, at both prompts and for both models: the least that has to come out. */
export const BARS = [
  { of: "wisplm-1", over: "native-1", prefill: 1, decode: 1 },
  { of: "wisplm-2", over: "native", prefill: 1, decode: 1 },
  { of: "wisplm-1", over: "wllama-2.3.1-1", prefill: 6, decode: 3 },
  { of: "wisplm-2", over: "wllama-2.3.1-2", prefill: 6, decode: 3 },
  { of: "wisplm-1", over: "wllama-3.8.1-1", prefill: 12, decode: 6 },
  { of: "wisplm-2", over: "wllama-3.8.1-2", prefill: 12, decode: 6 },
  { of: "wisplm-simd-1", over: "wllama-2.3.1-1", prefill: 3, decode: 2 },
  { of: "wisplm-2", over: "wisplm-1", prefill: 1.8, decode: 1.6 },
];

/** Of wisplm, on one thread. `loadMemory` in bytes, by those of the file. */
export const LIMITS = {
  loadGbps: 0.7,
  loadMemory: (file) => 1.15 * file + 64e6,
  longDecode: 0.85,
};

/** Micro-benchmarks: how long one timing should take, and what share of the tab's own ceiling a kernel has to reach. */
export const KERNELS = { ms: 100, bar: 0.8, ceilings: { "mat-vec": "stream", matmul: "dot" } };

/** Decode of several sequences at once: steps timed together, and what the last number of sequences has to bring. */
export const BATCHES = { sequences: [1, 2, 4, 8], steps: 16, warmMs: 2000 };
export const BATCH_BAR = 4;

/** On WebGPU, the same as in `BARS`. */
export const WEBGPU_BAR = { of: "wisplm-webgpu", over: "transformers-webgpu", prefill: 2, decode: 2 };

const SMOLLM2 = "/models/SmolLM2-135M-Instruct.Q4_1.gguf";

/**
 * What a form costs a token. Little is prescribed in these: nearly each token is drawn from the vocabulary under a mask.
 * `pairs`: answers without and with it, one after the other, in each round. `bar`: the most by which it may take longer.
 */
export const FORMS = {
  url: SMOLLM2,
  threads: 1,
  tokens: 100,
  pairs: 5,
  forms: [
    { name: "JSON Schema: an array of texts", format: { schema: { type: "array", items: { type: "string", minLength: 40, maxLength: 80 }, minItems: 30 } } },
    { name: "regular expression", format: { regex: "[a-zA-Z ,.]{2000}" } },
  ],
  bar: 0.1,
};

/** Labels of `inputs` texts, and of as many as `plain` says with a prompt for each label. */
export const CLASSES = {
  url: SMOLLM2,
  threads: 1,
  labels: ["billing", "shipping", "returns", "account", "praise"],
  words: 20,
  inputs: 40,
  plain: 8,
  bar: 8,
};

const minilm = (format, file, threads, agrees) => ({
  id: `wisplm-${format}-${threads}`,
  name: `wisplm, ${format.toUpperCase()}`,
  module: "wisplm-embed",
  how: { url: `/models/${file}`, threads, tokens: 20 },
  agrees,
});
const transformers = (dtype, threads, agrees) => ({
  id: `transformers-${dtype}-${threads}`,
  name: `transformers.js, ${dtype}`,
  module: "transformers-embed",
  how: { onnx: "minilm", dtype, threads, batch: 32 },
  agrees,
});

/**
 * Embeddings of texts of 18 words, which are 20 tokens. `agrees`: the lowest cosine with the first contestant's vectors, of
 * `compared` texts, with which a contestant is timed at all. transformers.js quantizes activations by whole batches.
 */
export const EMBEDDINGS = {
  words: 18,
  inputs: 192,
  compared: 32,
  contestants: [1, 2].flatMap((threads) => [
    minilm("f16", "all-MiniLM-L6-v2.gguf", threads, 0.999),
    minilm("q8_0", "all-MiniLM-L6-v2.Q8_0.gguf", threads, 0.999),
    transformers("fp32", threads, 0.999),
    transformers("q8", threads, 0.98),
  ]),
  bar: 150,
};
