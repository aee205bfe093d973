// A model of 8 billion weights, 4.9 GB, on WebGPU: more than WebAssembly's memory could hold. Its weights are made up in
// the page as they are read. By hand, since it takes five minutes and seven gigabytes; LAYERS=1 VOCABULARY=2000 takes less.

import assert from "node:assert/strict";
import { test } from "node:test";
import { header, KIND, number, padded, parse } from "../gguf.mjs";
import { inWorker, MB, MEASURED, report, run } from "../harness.mjs";
import { fixture } from "../site.mjs";
import { browser, site } from "../stage.mjs";

const LAYERS = Number(process.env.LAYERS ?? 32);
const VOCABULARY = Number(process.env.VOCABULARY ?? 128_256);
/** Llama 3.1 8B. */
const SIZES = {
  "llama.block_count": LAYERS,
  "llama.embedding_length": 4096,
  "llama.feed_forward_length": 14_336,
  "llama.attention.head_count": 32,
  "llama.attention.head_count_kv": 8,
  "llama.attention.key_length": 128,
  "llama.attention.value_length": 128,
  "llama.rope.dimension_count": 128,
  "llama.vocab_size": VOCABULARY,
  "llama.context_length": 8192,
};
/** Elements and bytes of a block; where in it numbers stand that must be finite, as f16s unless it is of one element. */
const F32 = { type: 0, elements: 1, bytes: 4, finite: [0] };
const Q4_K = { type: 12, elements: 256, bytes: 144, finite: [0, 2] };
const Q6_K = { type: 14, elements: 256, bytes: 210, finite: [208] };
/** What the whole of the engine's memory may take: a vocabulary's is most of it. */
const HEAP = 32 * MB;

/** The tensors, in the mixture Q4_K_M. */
function tensors() {
  const [dim, inner] = [SIZES["llama.embedding_length"], SIZES["llama.feed_forward_length"]];
  const kv = SIZES["llama.attention.head_count_kv"] * SIZES["llama.attention.key_length"];
  const tensor = (name, dims, format) => {
    const elements = dims.reduce((product, dim) => product * dim, 1);
    return { name: `${name}.weight`, dims, type: format.type, format, bytes: (elements / format.elements) * format.bytes };
  };
  const layer = (_, index) => {
    const more = index % 2 ? Q6_K : Q4_K;
    return [
      ["attn_norm", [dim], F32],
      ["attn_q", [dim, dim], Q4_K],
      ["attn_k", [dim, kv], Q4_K],
      ["attn_v", [dim, kv], more],
      ["attn_output", [dim, dim], Q4_K],
      ["ffn_norm", [dim], F32],
      ["ffn_gate", [dim, inner], Q4_K],
      ["ffn_up", [dim, inner], Q4_K],
      ["ffn_down", [inner, dim], more],
    ].map(([name, dims, format]) => tensor(`blk.${index}.${name}`, dims, format));
  };
  return [
    tensor("token_embd", [dim, VOCABULARY], Q4_K),
    ...Array.from({ length: LAYERS }, layer).flat(),
    tensor("output_norm", [dim], F32),
    tensor("output", [dim, VOCABULARY], Q6_K),
  ];
}

/** The keys of a tiny model with these sizes, and a vocabulary that is filled up. */
function keys() {
  const { keys } = parse(fixture("tiny/llama-0.gguf"));
  return keys.map(({ name, kind, value }) => {
    if (name in SIZES) return { name, kind: KIND.u32, value: number(SIZES[name], 4) };
    if (!["tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"].includes(name)) return { name, kind, value };
    const { of, items } = value;
    const more = (_, i) => (of === KIND.string ? `more ${i}` : number(of === KIND.f32 ? 0 : 1, 4));
    return { name, kind, value: { of, items: [...items, ...Array.from({ length: VOCABULARY - items.length }, more)] } };
  });
}

test("a model larger than WebAssembly's memory runs on WebGPU", { timeout: 1_200_000 }, async (t) => {
  const page = await browser.open(site);
  await inWorker(page, MEASURED);
  const all = tensors();
  const head = header({ keys: keys(), tensors: all });
  const bytes = all.reduce((sum, { bytes }) => sum + padded(bytes), head.length);
  const seen = await run(
    page,
    async ({ load }, { head, plan }) => {
      const some = 1 << 20;
      const junk = new Uint8Array(some);
      let seed = 1;
      for (let i = 0; i < some; i++) junk[i] = (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 24;
      function* parts() {
        yield Uint8Array.from(atob(head), (c) => c.charCodeAt(0));
        for (const { format, bytes, filling } of plan) {
          const chunk = junk.slice(0, Math.floor(some / format.bytes) * format.bytes);
          const view = new DataView(chunk.buffer);
          for (let at = 0; at < chunk.length; at += format.bytes) {
            for (const place of format.finite) {
              if (format.elements === 1) view.setFloat32(at + place, 1, true);
              else view.setUint16(at + place, 0x0a00, true);
            }
          }
          for (let left = bytes; left > 0; left -= chunk.length) yield chunk.slice(0, left);
          if (filling > 0) yield new Uint8Array(filling);
        }
      }
      const read = parts();
      const file = new ReadableStream({
        pull(controller) {
          const { value, done } = read.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
      const began = performance.now();
      const model = await load(file, { device: "webgpu", contextLength: 512, autotune: false });
      const loaded = performance.now();
      const channel = new BroadcastChannel("memory");
      const told = new Promise((resolve) => (channel.onmessage = ({ data }) => resolve(data)));
      channel.postMessage("measure");
      const { heap, made } = await told;
      const { tokens } = await model.generate([1, 5, 9], { temperature: 0, maxTokens: 2, ignoreEos: true }).result;
      const { memory, parameters } = model.info;
      await model.close();
      return { heap, made, memory, parameters, tokens, loadMs: loaded - began, stepsMs: performance.now() - loaded };
    },
    { head: head.toString("base64"), plan: all.map(({ format, bytes }) => ({ format, bytes, filling: padded(bytes) - bytes })) },
  );
  const { heap, made, memory, parameters, tokens, loadMs, stepsMs } = seen;
  const gb = (bytes) => `${(bytes / 1e9).toFixed(3)} GB`;
  report(t, `${(parameters / 1e9).toFixed(2)} billion weights, a file of ${gb(bytes)}, loaded in ${(loadMs / 1000).toFixed(0)} s; heap ${(heap / MB).toFixed(1)} MB`);
  report(t, `told: weights ${gb(memory.weights)}, at most ${gb(memory.peak)}; made on the GPU: ${gb(made)}; 2 tokens in ${(stepsMs / 1000).toFixed(0)} s`);
  assert.equal(tokens.length, 2);
  assert.ok(heap <= HEAP, `${heap} bytes`);
  assert.ok(Math.abs(memory.peak - heap - made) <= 0.05 * made + 10 * MB, `${memory.peak - heap} of ${made}`);
  await page.close();
});
