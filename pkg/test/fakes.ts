// Stand-ins for what the browser and the engine do, at the seams of the modules under test.

import type { Binding, Engine, Gpu, Slice } from "../src/worker/binding.js";
import type { Constraint, Follower, Tokens } from "../src/worker/form.js";
import type { Bytes } from "../src/worker/source.js";
import type { WebGpuReport } from "../src/webgpu.js";
import type { FileHandle, Folder, Storage, SyncFile } from "../src/storage.js";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

/** A model file of the fake engine: "MODEL", its length in 8 digits, then filling. */
export function modelFile(length: number): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 31) & 255);
  bytes.set(new TextEncoder().encode(`MODEL${String(length).padStart(8, "0")}`));
  return bytes;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function typed(code: string, message: string, details: object = {}): object {
  return { code, message, details };
}

/** What an answer begins with. */
export function begins(promptTokens: number, cachedTokens = 0, gone = { messages: 0, tokens: 0 }): string {
  return JSON.stringify({ promptTokens, cachedTokens, gone });
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return length;
}

/** Tokens are UTF-16 units; a generation says "one two three …", one word a slice, then stops after `words`. */
export class FakeEngine implements Engine {
  static contextLength = 4096;
  calls: string[] = [];
  freed = false;
  words = 1e6;
  generates = true;
  labels: string[] | null = null;
  adapters: { name: string; scale: number }[] = [];
  device: "wasm" | "webgpu" = "wasm";
  refusal: string | null = null;
  identity = "fake";
  /** Of each session, as many characters of its conversation as it holds. */
  sessions = new Map<number, string>();
  /** Words until the GPU is lost. */
  life = Infinity;
  /** Milliseconds of a word. */
  wordMs = 0;
  /** What the next token may be, where the answer has a form. */
  #permit: Uint32Array | undefined;
  #forced: number[] = [];
  #complete = false;
  #run: ((budget: number) => Slice) | undefined;
  #vectors = new Float32Array();

  info(): string {
    return JSON.stringify({
      ...{ architecture: "fake", name: "Fake", parameters: 1, quantization: "F32", contextLength: FakeEngine.contextLength },
      ...{ trainedContextLength: 8192, vocabSize: 65536, embeddingLength: 4, generates: this.generates, labels: this.labels, adapters: this.adapters },
      ...{ device: this.device, refusal: this.refusal, identity: this.identity },
      memory: { weights: 10, kv: 20 },
    });
  }

  memory(): string {
    return JSON.stringify({ weights: 10, kv: 20, peak: 30 + this.calls.length });
  }

  tokenize(text: string, bos: boolean | undefined): Uint32Array {
    const units = Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
    return Uint32Array.from(bos === false ? units : [1, ...units]);
  }

  detokenize(tokens: Uint32Array): string {
    return String.fromCharCode(...tokens);
  }

  generate(prompt: Uint32Array, answered: Uint32Array, options: string): string {
    const { maxTokens = Infinity, temperature = 1, formed } = JSON.parse(options) as {
      maxTokens?: number;
      temperature?: number;
      formed?: "answer" | "calls";
    };
    this.calls.push(`generate ${prompt.length} ${options}`);
    if (temperature < 0) throw typed("invalid-argument", "temperature is below 0", { key: "temperature" });
    if (prompt.length > FakeEngine.contextLength) throw typed("context-overflow", "the prompt is too long");
    let read = 0;
    let made = answered.length;
    [this.#permit, this.#forced, this.#complete] = [undefined, [], false];
    this.#run = () => {
      if (this.life <= 0) throw typed("device-lost", "the GPU was lost: gone");
      if (read < prompt.length) {
        read = Math.min(prompt.length, read + 64);
        return { state: "prefill", done: read, total: prompt.length };
      }
      const usage = { promptTokens: prompt.length, cachedTokens: 0, completionTokens: made };
      if (made >= maxTokens) return { state: "finished", finishReason: "length", usage };
      if (made >= this.words) return { state: "finished", finishReason: "stop", usage };
      this.life--;
      if (formed !== undefined) {
        made += this.#forced.splice(0).length;
        if (this.#complete) return { state: "finished", finishReason: "stop", usage: { ...usage, completionTokens: made } };
        if (this.#permit === undefined) return { state: "decode", text: "", tokens: [], awaitsPermit: true };
        const token = 31 - Math.clz32(this.#permit[0]!);
        [this.#permit, made] = [undefined, made + 1];
        return { state: "decode", text: String.fromCharCode(64 + token), tokens: [token], formed: [token], awaitsPermit: true };
      }
      for (const end = performance.now() + this.wordMs; performance.now() < end; );
      return { state: "decode", text: `w${made} `, tokens: [made++] };
    };
    return begins(prompt.length);
  }

  callForm(conversation: string, led: boolean): string | undefined {
    const forced = conversation.includes('"toolChoice":"required"');
    return forced || (led && conversation.includes('"tools"')) ? JSON.stringify({ grammar: "CALL", begins: "answer" }) : undefined;
  }

  /** The prompt is the JSON; a conversation with `reasoning` is thought about for a word, one with tools calls one with a word, and another at its end. */
  chat(conversation: string, answered: Uint32Array, options: string): string {
    const prompt = this.#prompt(conversation);
    this.generate(prompt, answered, options);
    this.calls.push(`chat ${conversation}`);
    const answer = this.#run!;
    if (conversation.includes('"tools":')) {
      const toolCalls = [{ name: "sum", arguments: { a: 1 } }, { id: "given", name: "sum", arguments: {} }];
      this.#run = (budget) => {
        const slice = answer(budget);
        if (slice.state === "prefill") return slice;
        const call = { ...slice, toolCalls: toolCalls.splice(0, 1) };
        return call.state === "finished" ? { ...call, finishReason: "tool-calls" } : call;
      };
    }
    const begun = begins(prompt.length);
    if (!conversation.includes('"reasoning":true')) return begun;
    let thought = false;
    this.#run = (budget) => {
      const slice = answer(budget);
      if (thought || slice.state !== "decode") return slice;
      thought = true;
      return { ...slice, text: "", reasoning: "hm" };
    };
    return begun;
  }

  /** `"drop-oldest"` leaves out one message more each time. */
  send(session: number, conversation: string, answered: Uint32Array, options: string, overflow: string, gone: string): string {
    const before = JSON.parse(gone) as { messages: number; tokens: number };
    const cached = commonLength(this.sessions.get(session) ?? "", conversation);
    this.chat(conversation, answered, options);
    this.sessions.set(session, conversation);
    this.calls.push(`send ${session} ${overflow}`);
    return begins(conversation.length, cached, overflow.includes("drop") ? { ...before, messages: before.messages + 1 } : before);
  }

  layout(): string {
    return this.device;
  }

  cloneSession(session: number, clone: number): void {
    this.sessions.set(clone, this.sessions.get(session) ?? "");
  }

  closeSession(session: number): void {
    this.sessions.delete(session);
  }

  #saved = new Uint8Array();

  saveSession(session: number): void {
    this.#run = () => {
      this.#saved = new TextEncoder().encode(this.sessions.get(session) ?? "");
      return { state: "finished" };
    };
  }

  takeSaved(): Uint8Array {
    return this.#saved;
  }

  restoreSession(session: number, bytes: Uint8Array): void {
    this.sessions.set(session, new TextDecoder().decode(bytes));
  }

  force(tokens: Uint32Array): string {
    this.#forced.push(...tokens);
    const text = String.fromCharCode(...Array.from(tokens, (token) => 64 + token));
    return JSON.stringify({ state: "decode", text, tokens: [...tokens], awaitsPermit: true });
  }

  allow(tokens: Uint32Array): void {
    this.#permit = tokens;
  }

  complete(): void {
    this.#complete = true;
  }

  tokenBytes(): Uint8Array {
    return Uint8Array.from({ length: 32 }, (_, token) => 64 + token);
  }

  tokenLengths(): Uint32Array {
    return new Uint32Array(32).fill(1);
  }

  endTokens(): Uint32Array {
    return Uint32Array.of(0);
  }

  tokenizeWithin(text: string): Uint32Array {
    return Uint32Array.from(text, (letter) => letter.charCodeAt(0) - 64);
  }

  countPrompt(conversation: string): number {
    return this.#prompt(conversation).length;
  }

  #prompt(conversation: string): Uint32Array {
    if (conversation.includes("{{")) throw typed("invalid-argument", "the template refuses the messages");
    return this.tokenize(conversation, undefined);
  }

  setAdapters(scales: Float32Array): void {
    this.calls.push(`adapters ${scales}`);
    this.adapters = this.adapters.map(({ name }, i) => ({ name, scale: scales[i]! }));
  }

  score(tokens: Uint32Array): void {
    this.calls.push("score");
    this.#run = () => ({ state: "finished", logprobs: Array.from(tokens, (_, i) => (i === 0 ? null : -i)) });
  }

  tokenizePair(query: string, document: string): Uint32Array {
    return Uint32Array.of(...this.tokenize(query, undefined), ...this.tokenize(document, false));
  }

  embed(_: Uint32Array, lengths: Uint32Array, options: string): void {
    this.calls.push(`embed ${options}`);
    this.#encode(lengths, (length) => [3, 4, length, 0]);
  }

  head(_: Uint32Array, lengths: Uint32Array): void {
    this.calls.push("head");
    this.#encode(lengths, (length) => this.labels!.map((_, label) => length * label));
  }

  /** Labels that a text has in it are likelier. */
  classify(task: string, texts: string[], first: number): void {
    this.calls.push(`classify ${first} ${task}`);
    const { labels } = JSON.parse(task) as { labels: string[] };
    if (labels.length < 2) throw typed("invalid-argument", "labels must be 2 at least");
    const long = texts.findIndex((text) => task.length + text.length > FakeEngine.contextLength);
    if (long >= 0) throw typed("context-overflow", `text ${first + long}: it is too long`);
    const logits = texts.map((text) => labels.map((label) => (text.includes(label) ? 5 : 0)));
    const lengths = Uint32Array.from(texts, (_, index) => index);
    this.#encode(lengths, (index) => logits[index]!);
  }

  // Half of the texts, then the others.
  #encode(lengths: Uint32Array, vector: (length: number) => number[]): void {
    let done = 0;
    this.#run = () => {
      done = done === 0 && lengths.length > 1 ? lengths.length >> 1 : lengths.length;
      if (done < lengths.length) return { state: "prefill", done, total: lengths.length };
      this.#vectors = Float32Array.from(Array.from(lengths).flatMap(vector));
      return { state: "finished" };
    };
  }

  advance(budget: number): string {
    if (this.#run === undefined) throw new Error("nothing is running");
    const slice = this.#run(budget);
    if (slice.state === "finished") this.#run = undefined;
    return JSON.stringify(slice);
  }

  /** What a slice has to wait for. */
  work: Promise<unknown> | undefined;

  /** What there is to make ready, and takes a moment each. */
  unready = 0;

  makeReady(): Promise<unknown> | undefined {
    if (this.unready === 0) return undefined;
    this.unready--;
    this.calls.push("make ready");
    return new Promise((resolve) => setTimeout(resolve, 1));
  }

  waiting(): Promise<unknown> | undefined {
    return this.work;
  }

  takeVectors(): Float32Array {
    return this.#vectors;
  }

  /** Helpers that have come. */
  joined = 0;
  threads = 1;
  /** Milliseconds of a step on so many threads. */
  stepMs: (threads: number) => number = () => 1;

  helpers(): number {
    return this.joined;
  }

  setThreads(threads: number): void {
    if (threads > 1 + this.joined) throw typed("invalid-argument", "there are not so many threads");
    this.threads = threads;
  }

  dismissOthers(): void {
    this.joined = this.threads - 1;
  }

  trial(): number {
    return this.stepMs(this.threads);
  }

  cancel(): void {
    this.calls.push("cancel");
    this.#run = undefined;
  }

  /** As wasm does when Rust panics. */
  trap(): void {
    this.#run = () => {
      throw new WebAssembly.RuntimeError("unreachable");
    };
    this.generate = () => begins(0);
  }

  free(): void {
    this.freed = true;
  }
}

export const ADAPTER: WebGpuReport = {
  ...{ available: true, description: "Fake GPU", features: [] },
  limits: { maxBufferSize: 1 << 28, maxStorageBufferBindingSize: 1 << 27 },
};

/** `make` makes the engine of each load. */
export function fakeBinding(
  make: FakeEngine | ((device: "wasm" | "webgpu") => FakeEngine) = new FakeEngine(),
  gpu: () => Gpu = () => ({ features: () => ["shader-f16"], free: () => {}, [Symbol.dispose]: () => {} }),
): Binding & { seen: string[] } {
  const seen: string[] = [];
  class Loader {
    #bytes = 0;
    #head = "";
    readonly #device: "wasm" | "webgpu";
    constructor(options: string, gpu?: Gpu) {
      seen.push(options);
      this.#device = gpu === undefined ? "wasm" : "webgpu";
    }
    #room = new Uint8Array();
    room(bytes: number): Uint8Array {
      return (this.#room = new Uint8Array(bytes));
    }
    push(bytes: number): void {
      const chunk = this.#room.subarray(0, bytes);
      this.#room = new Uint8Array();
      this.#bytes += chunk.length;
      if (this.#head.length >= 13) return;
      this.#head += String.fromCharCode(...chunk.subarray(0, 13 - this.#head.length));
      if (!"MODEL".startsWith(this.#head.slice(0, 5))) throw typed("invalid-model", "this is no model", { offset: 0 });
    }
    expectedBytes(): number | undefined {
      return this.#head.length < 13 ? undefined : Number(this.#head.slice(5));
    }
    nextFile(): void {
      if (this.#bytes < (this.expectedBytes() ?? Infinity)) throw typed("invalid-model", "truncated", { offset: this.#bytes });
      seen.push(`file ${this.#bytes}`);
      this.#bytes = 0;
      this.#head = "";
    }
    async tune(): Promise<string | undefined> {
      seen.push("tune");
      return known.tuning === undefined ? "found" : undefined;
    }

    finish(): Engine {
      this.nextFile();
      if (typeof make !== "function") return make;
      const engine = make(this.#device);
      engine.device = this.#device;
      return engine;
    }
    free(): void {
      seen.push("freed");
    }
  }
  class Sha256 {
    #hash = createHash("sha256");
    update(bytes: Uint8Array): void {
      this.#hash.update(bytes);
    }
    hex(): string {
      return this.#hash.digest("hex");
    }
    free(): void {}
  }
  let known: { tuning?: string } = {};
  const Gpu = {
    open: async (told: string) => {
      known = JSON.parse(told) as { tuning?: string };
      return gpu();
    },
  };
  return { Gpu, Loader, Sha256, seen, help: () => {}, helperLost: () => {}, dismissHelpers: () => {} };
}

/** A private file system in memory. */
export class FakeStorage implements Storage {
  files = new Map<string, Uint8Array>();
  /** Bytes that may be written in all. */
  quota = Infinity;
  estimated = Infinity;
  writes = 0;
  /** Handles that are open, and whether the browser knows no `read-only` ones. */
  open = 0;
  exclusive = false;
  readonly #locked = new Map<string, number>();

  async estimate(): Promise<{ quota?: number; usage?: number }> {
    return Number.isFinite(this.estimated) ? { quota: this.estimated, usage: 0 } : {};
  }

  async getDirectory(): Promise<Folder> {
    return this.#folder("");
  }

  /** The bytes of the only `.data` file. */
  data(): Uint8Array | undefined {
    return [...this.files].find(([name]) => name.endsWith(".data"))?.[1];
  }

  note(): Record<string, unknown> | undefined {
    const bytes = [...this.files].find(([name]) => name.endsWith(".json"))?.[1];
    return bytes && (JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>);
  }

  rename(ending: string, change: (bytes: Uint8Array) => Uint8Array): void {
    for (const [name, bytes] of this.files) if (name.endsWith(ending)) this.files.set(name, change(bytes));
  }

  #folder(prefix: string): Folder {
    return {
      getDirectoryHandle: async (name) => this.#folder(`${prefix}${name}/`),
      getFileHandle: async (name, options) => {
        const path = prefix + name;
        if (!this.files.has(path)) {
          if (!options?.create) throw new DOMException("not there", "NotFoundError");
          this.files.set(path, new Uint8Array());
        }
        return this.#file(path);
      },
      removeEntry: async (name) => {
        if (this.#locked.has(prefix + name)) throw new DOMException("a handle is open", "NoModificationAllowedError");
        this.files.delete(prefix + name);
      },
    };
  }

  #file(path: string): FileHandle {
    return {
      getFile: async () => new Blob([this.files.get(path)! as Uint8Array<ArrayBuffer>]),
      createSyncAccessHandle: async (options): Promise<SyncFile> => {
        const alone = this.exclusive || options?.mode !== "read-only";
        if (alone && this.#locked.has(path)) throw new DOMException("another handle is open", "NoModificationAllowedError");
        this.#locked.set(path, (this.#locked.get(path) ?? 0) + 1);
        this.open++;
        return this.#handle(path);
      },
    };
  }

  #handle(path: string): SyncFile {
    return {
      read: (into, { at }) => {
        const part = this.files.get(path)!.subarray(at, at + into.length);
        into.set(part);
        return part.length;
      },
      write: (bytes, { at }) => {
        this.writes++;
        if (at + bytes.length > this.quota) throw new DOMException("the quota is exceeded", "QuotaExceededError");
        const old = this.files.get(path)!;
        const whole = new Uint8Array(Math.max(old.length, at + bytes.length));
        whole.set(old);
        whole.set(bytes, at);
        this.files.set(path, whole);
        return bytes.length;
      },
      truncate: (size) => {
        const whole = new Uint8Array(size);
        whole.set(this.files.get(path)!.subarray(0, size));
        this.files.set(path, whole);
      },
      getSize: () => this.files.get(path)!.length,
      flush: () => {},
      close: () => {
        this.open--;
        const left = this.#locked.get(path)! - 1;
        if (left > 0) this.#locked.set(path, left);
        else this.#locked.delete(path);
      },
    };
  }
}

/** Locks of one browser, shared by its tabs. */
export class FakeLocks {
  readonly #held = new Map<string, { shared: number; exclusive: boolean }>();

  async request(name: string, options: LockOptions, use: (lock: Lock | null) => unknown): Promise<unknown> {
    const held = this.#held.get(name) ?? { shared: 0, exclusive: false };
    this.#held.set(name, held);
    const mode = options.mode ?? "exclusive";
    if (held.exclusive || (mode === "exclusive" && held.shared > 0)) return use(null);
    if (mode === "shared") held.shared++;
    else held.exclusive = true;
    try {
      return await use({ name, mode });
    } finally {
      if (mode === "shared") held.shared--;
      else held.exclusive = false;
    }
  }
}

/** A file server with one file. */
export class FakeServer {
  file: Uint8Array;
  etag: string | undefined = '"v1"';
  lastModified: string | undefined;
  ranges = true;
  /** Whether the size is told. */
  sized = true;
  /** Statuses for the next requests; then files. */
  statuses: number[] = [];
  /** For each of the next answers: break off after so many bytes. */
  breaks: number[] = [];
  /** Bytes per chunk. */
  chunk = 1000;
  /** Never sends more than this many bytes, and never ends. */
  stall = Infinity;
  down = false;
  requests: { range?: string; ifRange?: string; headers: Record<string, string> }[] = [];

  constructor(file: Uint8Array) {
    this.file = file;
  }

  fetch = (async (_url: string, { headers, signal }: { headers: Record<string, string>; signal: AbortSignal }) => {
    const { range, "if-range": ifRange } = headers;
    this.requests.push({ headers, ...(range && { range }), ...(ifRange && { ifRange }) });
    if (this.down) throw new TypeError("Failed to fetch");
    const status = this.statuses.shift();
    if (status !== undefined) return new Response("an answer", { status });
    let start = 0;
    const wanted = /bytes=(\d+)-/.exec(range ?? "");
    if (wanted && this.ranges) {
      start = Number(wanted[1]);
      if (start >= this.file.length) return new Response(null, { status: 416 });
    }
    const end = this.breaks.length > 0 ? Math.min(this.file.length, start + this.breaks.shift()!) : this.file.length;
    const { file, chunk, stall } = this;
    let at = start;
    let broken: unknown;
    signal.addEventListener("abort", () => (broken = signal.reason));
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (broken !== undefined) return controller.error(broken);
        if (at >= stall) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          return controller.error(signal.reason);
        }
        if (at >= end) return end < file.length ? controller.error(new TypeError("network error")) : controller.close();
        controller.enqueue(file.slice(at, Math.min(at + chunk, end)));
        at += chunk;
      },
    });
    return new Response(body, {
      status: start > 0 ? 206 : 200,
      headers: {
        ...(this.etag !== undefined && { etag: this.etag }),
        ...(this.lastModified !== undefined && { "last-modified": this.lastModified }),
        ...(this.sized && { "content-length": String(file.length - start) }),
        ...(start > 0 && { "content-range": `bytes ${start}-${file.length - 1}/${file.length}` }),
      },
    });
  }) as unknown as typeof fetch;
}

export async function collect(bytes: Bytes): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  if ("read" in bytes) {
    const block = new Uint8Array(70_000);
    for (let at = 0, count; (count = bytes.read(block, at)) > 0; at += count) parts.push(block.slice(0, count));
  } else {
    for await (const chunk of bytes) parts.push(chunk.slice());
  }
  return Uint8Array.from(Buffer.concat(parts));
}

/** Byte equality, with a message one can read. */
export function sameBytes(found: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(found !== undefined, "there are no bytes");
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  assert.ok(found.length === expected.length && at < 0, `${found.length} of ${expected.length} bytes; they differ at ${at}`);
}

/**
 * Knows one form: `{ choices: [text] }`, of capital letters; a grammar is taken for the text, of two forms it takes the other, and of others it says that they
 * are complete. It prescribes a letter after each `A`; a text with `Z` is refused, and one with `X` traps when it is there.
 */
export class FakeConstraint implements Constraint {
  started = 1;
  /** Followers that nobody has freed. */
  static open = 0;

  readonly Tokens = class implements Tokens {
    constructor(bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array, tokenize: (text: string) => Uint32Array) {
      assert.deepEqual([bytes.length, lengths.length, ends[0]], [32, 32, 0]);
      assert.deepEqual(tokenize("AB"), Uint32Array.of(1, 2));
    }

    compile(format: string): Follower {
      interface Known { choices?: [string]; grammar?: string; either?: [Known, Known] }
      const known = JSON.parse(format) as Known;
      const { choices, grammar } = known.either?.[1] ?? known;
      const text = choices?.[0] ?? grammar ?? "";
      if (text.includes("Z")) throw typed("constraint-unsatisfiable", "no Z");
      let at = 0;
      FakeConstraint.open++;
      return {
        mask() {
          if (text[at] === "X") throw new WebAssembly.RuntimeError("unreachable");
          return Uint32Array.of(1 << (text.charCodeAt(at) - 64));
        },
        force() {
          if (text[at - 1] !== "A" || at === text.length) return new Uint32Array();
          return Uint32Array.of(text.charCodeAt(at++) - 64);
        },
        take(tokens) {
          for (const token of tokens) assert.equal(token, text.charCodeAt(at++) - 64);
        },
        isFinished: () => at === text.length,
        free: () => void FakeConstraint.open--,
      };
    }

    free(): void {}
  };

  reset(): void {
    this.started++;
  }
}
