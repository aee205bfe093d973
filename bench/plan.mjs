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
 * down. On WebGPU, without a graphics card, a program plays it (SwiftShader): its figures say little about a card.
 */
export const CONTESTANTS = [
  { id: "wisplm-1", name: "wisplm", engine: "wisplm", threads: 1, passes: ["short", "long"] },
  { id: "wisplm-2", name: "wisplm", engine: "wisplm", threads: 2 },
  { id: "wisplm-simd-1", name: "wisplm, plain SIMD", engine: "wisplm", threads: 1, variant: "simd" },
  { id: "wisplm-webgpu", name: "wisplm, WebGPU", engine: "wisplm", device: "webgpu", threads: 1, passes: ["webgpu"] },
  { id: "native-1", name: "llama.cpp, native", engine: "native", threads: 1, passes: ["short", "long"] },
  { id: "native-2", name: "llama.cpp, native", engine: "native", threads: 2 },
  { id: "wllama-2.3.1-1", name: "wllama 2.3.1", engine: "wllama-2", threads: 1 },
  { id: "wllama-2.3.1-2", name: "wllama 2.3.1", engine: "wllama-2", threads: 2 },
  { id: "wllama-3.8.1-1", name: "wllama 3.8.1", engine: "wllama-3", threads: 1 },
  { id: "wllama-3.8.1-2", name: "wllama 3.8.1", engine: "wllama-3", threads: 2 },
];

/** Whichever of these is the faster, figure by figure. */
export const BETTER = { id: "native", name: "llama.cpp, native, the better of 1 and 2", of: ["native-1", "native-2"] };

/** Tokens generated after the one that comes with the prompt. */
export const STEPS = 64;

/**
 * A contestant is loaded anew for each pass. `context`: the context asked for, and so the same memory for everyone.
 * `batches` and `kernels` are other kinds of passes: several sequences at once, and the micro-benchmarks.
 */
export const PASSES = [
  { id: "short", context: 1024, prompts: [128, 512] },
  { id: "long", context: 4608, prompts: [128, 4096] },
  { id: "webgpu", context: 512, prompts: [128] },
];
export const OTHER_PASSES = ["batches", "kernels"];

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
