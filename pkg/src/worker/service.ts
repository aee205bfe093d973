// The worker's message loop: one load, then requests one after the other.

import { aborted, toWire, WispError } from "../errors.js";
import type {
  Answers,
  FromWorker,
  ToWorker,
  WireDelta,
  WireInfo,
  WireLoad,
  WireMemory,
  WireModule,
  WireRequest,
  WireSource,
  WireThreads,
} from "../protocol.js";
import type { Binding, Engine, Gpu } from "./binding.js";
import { call, translated, Trap } from "./fault.js";
import { loadEngine } from "./loading.js";
import { PumpDesk } from "./pumps.js";
import { openRemote, type Surroundings } from "./remote.js";
import { abortedGeneration, chat, embed, generate, score } from "./run.js";
import { type Opened, openBlob, openPump, openStream, sourceName } from "./source.js";
import { employ, type Helpers } from "./threads.js";

/** The worker's ties to the browser. */
export interface Outside extends Pick<Surroundings, "storage" | "locks" | "fetch" | "pause"> {
  post(message: FromWorker, transfer?: Transferable[]): void;
  /** Starts the best of the builds, and workers to help it if it can have some. */
  start(
    modules: WireModule[],
    threads: WireThreads,
    signal: AbortSignal,
    notice: (text: string) => void,
  ): Promise<{ binding: Binding; features: string[]; crew?: Helpers }>;
}

interface Job {
  id: number;
  request: WireRequest;
  controller: AbortController;
}

interface Loaded {
  engine: Engine;
  info: WireInfo;
}

export class Service {
  readonly #outside: Outside;
  readonly #loading = new AbortController();
  readonly #pumps: PumpDesk;
  readonly #notices: string[] = [];
  #load: Promise<void> = Promise.resolve();
  #loaded: Loaded | undefined;
  #dead: WispError | undefined;
  #dismiss: () => Promise<void> = async () => {};
  #queue: Job[] = [];
  #current: Job | undefined;

  constructor(outside: Outside) {
    this.#outside = outside;
    this.#pumps = new PumpDesk((message) => outside.post(message), this.#loading.signal);
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case "load":
        this.#load = this.#begin(message.load);
        break;
      case "abandon":
        this.#loading.abort();
        void this.#load.then(() => this.#outside.post({ type: "released" }));
        break;
      case "end":
        void this.#dismiss().finally(() => this.#outside.post({ type: "ended" }));
        break;
      case "chunk":
      case "drained":
        this.#pumps.receive(message);
        break;
      case "request":
        this.#request({ id: message.id, request: message.request, controller: new AbortController() });
        break;
      case "cancel":
        this.#cancel(message.id);
        break;
    }
  }

  async #begin(load: WireLoad): Promise<void> {
    const { post } = this.#outside;
    const { signal } = this.#loading;
    const report = (phase: "download" | "prepare" | "compile" | "warmup", loaded: number, total: number): void =>
      post({ type: "progress", phase, loaded, total });
    try {
      report("compile", 0, 1);
      const notice = (text: string): void => void (this.#notices.includes(text) || this.#notices.push(text));
      const { binding, features, crew } = await this.#outside.start(load.modules, load.threads, signal, notice);
      // Messages come between steps: no helper is at work then.
      this.#dismiss = async () => {
        const ended = crew?.end();
        call(() => binding.dismissHelpers());
        await ended;
      };
      report("compile", 1, 1);
      const around: Surroundings = {
        ...this.#outside,
        cache: load.cache,
        Sha256: binding.Sha256,
        signal,
        notice,
      };
      const open = (source: WireSource, index: number): Promise<Opened> =>
        this.#open(source, sourceName(source, index, load.sources.length), around);
      const gpu = load.device === "webgpu" ? await openGpu(binding) : undefined;
      const adapter = gpu?.name();
      const engine = await loadEngine(binding, load, gpu, open, report, signal);
      const info = JSON.parse(call(() => engine.info())) as WireInfo;
      report("warmup", 0, 1);
      const threads = crew === undefined ? 1 : await employ(engine, crew, load.threads, signal, notice);
      await warmUp(engine, info, signal);
      report("warmup", 1, 1);
      this.#loaded = { engine, info };
      const memory = memoryOf({ engine, info });
      const notices = this.#notices;
      post({ type: "loaded", info, memory, features, threads, ...(adapter !== undefined && { adapter }), notices });
    } catch (error) {
      post({ type: "failed", error: toWire(translated(error)) });
    }
  }

  async #open(source: WireSource, name: string, around: Surroundings): Promise<Opened> {
    switch (source.kind) {
      case "remote":
        return openRemote(source, around);
      case "blob":
        return openBlob(source.blob, name);
      case "stream":
        return openStream(source.stream, name, around.signal);
      case "pump":
        return openPump(source.pump, this.#pumps, name);
    }
  }

  #request(job: Job): void {
    if (this.#dead !== undefined) return this.#refuse(job.id, this.#dead);
    const { request } = job;
    // Splitting text and joining tokens disturb no run: they need not wait for one.
    if (["tokenize", "detokenize", "countPrompt"].includes(request.kind)) {
      void this.#serve(job);
      return;
    }
    this.#queue.push(job);
    if (this.#current === undefined) void this.#work();
  }

  #cancel(id: number): void {
    if (this.#current?.id === id) return this.#current.controller.abort();
    const job = this.#queue.find((queued) => queued.id === id);
    if (job === undefined) return;
    this.#queue = this.#queue.filter((queued) => queued !== job);
    if (job.request.kind === "generate" || job.request.kind === "chat") this.#answer(id, abortedGeneration());
    else this.#refuse(id, aborted());
  }

  async #work(): Promise<void> {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      this.#current = job;
      await this.#serve(job);
    }
    this.#current = undefined;
  }

  async #serve({ id, request, controller }: Job): Promise<void> {
    try {
      if (this.#dead !== undefined) throw this.#dead;
      if (this.#loaded === undefined) throw new WispError("internal", "a request came before the model");
      this.#answer(id, await this.#do(this.#loaded, id, request, controller.signal));
    } catch (thrown) {
      const error = translated(thrown);
      if (error instanceof Trap) {
        this.#dead = error;
        this.#queue = [];
        this.#outside.post({ type: "dead", error: toWire(error) });
      } else {
        this.#refuse(id, error);
      }
    }
  }

  async #do({ engine, info }: Loaded, id: number, request: WireRequest, signal: AbortSignal): Promise<Answers[keyof Answers]> {
    const tell = (delta: WireDelta): void => this.#outside.post({ type: "delta", id, delta });
    switch (request.kind) {
      case "generate":
        return generate(engine, request.prompt, request.options, signal, tell);
      case "chat":
        return chat(engine, request.conversation, request.options, signal, tell);
      case "countPrompt":
        return call(() => engine.countPrompt(request.conversation));
      case "score":
        return score(engine, request.text, signal);
      case "embed":
        return embed(engine, info, request.texts, request.options, signal);
      case "tokenize":
        return call(() => engine.tokenize(request.text, request.bos, request.special));
      case "detokenize":
        return call(() => engine.detokenize(request.tokens));
    }
  }

  #answer(id: number, answer: Answers[keyof Answers]): void {
    const memory = memoryOf(this.#loaded!);
    this.#outside.post({ type: "done", id, answer, memory }, buffersOf(answer));
  }

  #refuse(id: number, error: WispError): void {
    this.#outside.post({ type: "error", id, error: toWire(error) });
  }
}

async function openGpu({ Gpu }: Binding): Promise<Gpu> {
  try {
    return await Gpu.open();
  } catch (error) {
    throw translated(error);
  }
}

// The first run compiles the engine's hot code and touches the weights; it also shows that the model runs at all.
async function warmUp(engine: Engine, info: WireInfo, signal: AbortSignal): Promise<void> {
  if (info.generates) await generate(engine, Uint32Array.of(0), { maxTokens: 1, temperature: 0 }, signal, () => {});
  else await embed(engine, info, ["a"], { normalize: false }, signal);
  if (signal.aborted) throw aborted(signal);
}

// The engine counts the keys and values of the run in progress; the model's are those of a full context.
function memoryOf({ engine, info }: Loaded): WireMemory {
  const { peak } = JSON.parse(call(() => engine.memory())) as WireMemory;
  return { ...info.memory, peak };
}

function buffersOf(answer: Answers[keyof Answers]): Transferable[] {
  if (answer instanceof Uint32Array) return [answer.buffer as ArrayBuffer];
  return Array.isArray(answer) ? answer.map((vector) => vector.buffer as ArrayBuffer) : [];
}
