// The worker's message loop: one load, then requests one after the other.

import { aborted, toWire, WispError } from "../errors.js";
import type {
  Answers,
  FromWorker,
  ToWorker,
  WireDelta,
  WireLoad,
  WireMemory,
  WireModule,
  WirePlace,
  WireRequest,
  WireSource,
  WireThreads,
} from "../protocol.js";
import { Refusals } from "../refusals.js";
import type { WebGpuReport } from "../webgpu.js";
import type { Binding } from "./binding.js";
import { breathe } from "./breath.js";
import { bring, type Ready, type Setting } from "./device.js";
import { classify, embed, head, type Told } from "./encode.js";
import { call, translated, Trap } from "./fault.js";
import { type Constraint, Forms } from "./form.js";
import type { Report } from "./loading.js";
import { PumpDesk } from "./pumps.js";
import { openRemote, type Surroundings } from "./remote.js";
import { abortedGeneration, chat, generation, score } from "./run.js";
import { Sessions } from "./sessions.js";
import { isReadOnce, type Opened, openBlob, openPump, openStream, sourceName } from "./source.js";
import type { Helpers } from "./threads.js";
import { tunings } from "./tuning.js";

/** How often the GPU may be lost in a request without a token between. */
const MOST_LOSSES = 3;

/** How long there has to be nothing to do before that is taken for idle time: a request waits for what was begun then. */
const IDLE_MS = 500;

/** The worker's ties to the browser. */
export interface Outside extends Pick<Surroundings, "storage" | "locks" | "fetch" | "pause"> {
  post(message: FromWorker, transfer?: Transferable[]): void;
  /** Starts the best of the builds; `hire` starts workers to help it, where it can have some. */
  start(
    modules: WireModule[],
    threads: WireThreads,
    signal: AbortSignal,
    notice: (text: string) => void,
  ): Promise<{ binding: Binding; features: string[]; hire?: () => Helpers }>;
  /** Starts the module that follows answers of a given form. */
  startConstraint(url: string, signal: AbortSignal): Promise<Constraint>;
  /** Looks for a GPU. */
  adapter(): Promise<WebGpuReport>;
}

interface Job {
  id: number;
  request: WireRequest;
  controller: AbortController;
}

export class Service {
  readonly #outside: Outside;
  readonly #loading = new AbortController();
  readonly #pumps: PumpDesk;
  readonly #notices: string[] = [];
  #load: Promise<void> = Promise.resolve();
  #setting: Setting | undefined;
  readonly #forms: Forms;
  readonly #sessions = new Sessions();
  #ready: Ready | undefined;
  #dead: WispError | undefined;
  #dismiss: () => Promise<void> = async () => {};
  #queue: Job[] = [];
  #current: Job | undefined;
  /** How often there was nothing to do. */
  #idles = 0;

  constructor(outside: Outside) {
    this.#outside = outside;
    this.#forms = new Forms((signal) => outside.startConstraint(this.#setting!.load.constraint, signal));
    this.#pumps = new PumpDesk((message) => outside.post(message), this.#loading.signal);
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case "load":
        this.#load = this.#begin(message.load);
        break;
      case "abandon":
        this.#loading.abort();
        // Helpers take a while to go: they do so while files are closed.
        void this.#dismiss();
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
    const { post, adapter } = this.#outside;
    const { signal } = this.#loading;
    const report = rising((phase, loaded, total) => post({ type: "progress", phase, loaded, total }));
    try {
      report("compile", 0, 1);
      const notice = (text: string): void => void (this.#notices.includes(text) || this.#notices.push(text));
      const { binding, features, hire } = await this.#outside.start(load.modules, load.threads, signal, notice);
      let crew: Helpers | undefined;
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
      const storage = load.cache ? this.#outside.storage : undefined;
      const setting: Setting = {
        ...{ load, binding, features, adapter, hire: () => (crew ??= hire?.()), open, report, signal, notice },
        tunings: load.autotune ? tunings(storage) : undefined,
        refusals: storage && new Refusals(storage),
      };
      this.#setting = setting;
      this.#ready = await bring(setting);
      post({ type: "loaded", info: this.#ready.info, place: this.#place() });
      if (this.#current === undefined) void this.#idle();
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
    if (["generate", "chat", "send"].includes(job.request.kind)) this.#answer(id, abortedGeneration());
    else this.#refuse(id, aborted());
  }

  async #work(): Promise<void> {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      this.#current = job;
      await this.#serve(job);
    }
    this.#current = undefined;
    void this.#idle();
  }

  /** Has the engine make ready what later requests may take, until there is one. */
  async #idle(): Promise<void> {
    const idle = ++this.#idles;
    const engine = this.#ready?.engine;
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    try {
      while (engine !== undefined && this.#current === undefined && this.#dead === undefined && idle === this.#idles) {
        const making = call(() => engine.makeReady());
        if (making === undefined) return;
        await making;
        await breathe();
      }
    } catch (thrown) {
      this.#die(translated(thrown));
    }
  }

  async #serve({ id, request, controller }: Job): Promise<void> {
    try {
      if (this.#dead !== undefined) throw this.#dead;
      this.#answer(id, await this.#do(id, request, controller.signal));
    } catch (thrown) {
      const error = translated(thrown);
      if (error instanceof Trap) {
        this.#die(error);
      } else {
        this.#refuse(id, error);
      }
    }
  }

  #die(trap: WispError): void {
    this.#dead = trap;
    this.#queue = [];
    this.#outside.post({ type: "dead", error: toWire(trap) });
  }

  async #do(id: number, request: WireRequest, signal: AbortSignal): Promise<Answers[keyof Answers]> {
    let losses = 0;
    const run = task(request, this.#sessions, this.#setting!.binding.Sha256, this.#forms, signal, (delta) => {
      losses = 0;
      this.#outside.post({ type: "delta", id, delta });
    }, (done, total) => this.#outside.post({ type: "step", id, done, total }));
    for (;;) {
      const ready = this.#ready;
      if (ready === undefined) throw new WispError("internal", "a request came before the model");
      try {
        const answer = await run(ready);
        // An engine that takes the place of this one has them so, too.
        if (request.kind === "adapters") this.#setting = withAdapters(this.#setting!, request.scales);
        return answer;
      } catch (error) {
        if (!(error instanceof WispError) || error.code !== "device-lost") throw error;
        losses++;
        await this.#recover(ready, error, losses > MOST_LOSSES);
      }
    }
  }

  /**
   * Has another engine take the place of one whose GPU is lost: on the GPU again, unless it has been lost too often, else
   * where `"auto"` may go. The old one still splits text into tokens until the other has come.
   */
  async #recover(before: Ready, lost: WispError, tooOften: boolean): Promise<void> {
    const setting = this.#setting!;
    const { load, notice } = setting;
    const stuck = tooOften && load.device === "webgpu";
    if (stuck) throw gone("it is lost again and again", lost);
    if (load.sources.some(isReadOnce)) throw gone("a stream cannot be read once more for its weights", lost);
    const again: WireLoad = tooOften ? { ...load, device: "wasm" } : load;
    try {
      this.#ready = await bring({ ...setting, load: again, report: () => {} });
    } catch (error) {
      if (error instanceof Trap) throw error;
      throw gone(translated(error).message, lost);
    }
    call(() => before.engine.free());
    const onGpu = this.#ready.info.device === "webgpu";
    notice(`the GPU was lost: ${onGpu ? "it was opened anew" : "the processor has taken over"}`);
    this.#outside.post({ type: "moved", place: this.#place() });
  }

  #answer(id: number, answer: Answers[keyof Answers]): void {
    const memory = memoryOf(this.#ready!);
    this.#outside.post({ type: "done", id, answer, memory }, buffersOf(answer));
  }

  #place(): WirePlace {
    const { info, threads, adapter, gpuFeatures } = this.#ready!;
    const features = gpuFeatures ?? this.#setting!.features;
    const place = { device: info.device, memory: memoryOf(this.#ready!), features, threads, notices: this.#notices };
    return adapter === undefined ? place : { ...place, adapter };
  }

  #refuse(id: number, error: WispError): void {
    this.#outside.post({ type: "error", id, error: toWire(error) });
  }
}

/** A request, as what to do with whatever engine there is. */
function task(
  request: WireRequest,
  sessions: Sessions,
  Sha256: Binding["Sha256"],
  forms: Forms,
  signal: AbortSignal,
  tell: (delta: WireDelta) => void,
  told: Told,
): (ready: Ready) => Promise<Answers[keyof Answers]> {
  switch (request.kind) {
    case "generate": {
      const run = generation(request.prompt, request.options, signal, tell, forms);
      return ({ engine }) => run(engine);
    }
    case "chat": {
      const run = chat(request.conversation, request.options, signal, tell, forms);
      return ({ engine }) => run(engine);
    }
    case "send": {
      const run = sessions.send(request, signal, tell, forms);
      return ({ engine }) => run(engine);
    }
    case "openSession":
      return async () => (sessions.begin(request.session, request), null);
    case "cloneSession":
      return async ({ engine }) => sessions.clone(engine, request.session, request.clone);
    case "saveSession":
      return (ready) => sessions.save(ready, Sha256, request.session, request.defaults, signal);
    case "restoreSession":
      return (ready) => sessions.restore(ready, Sha256, request.session, request.blob);
    case "closeSession":
      return async ({ engine }) => (sessions.close(engine, request.session), null);
    case "adapters":
      return async ({ engine }) => {
        call(() => engine.setAdapters(Float32Array.from(request.scales)));
        return null;
      };
    case "countPrompt":
      return async ({ engine }) => call(() => engine.countPrompt(request.conversation));
    case "score":
      return ({ engine }) => score(engine, request.text, signal);
    case "embed":
      return ({ engine, info }) => embed(engine, info, request.texts, request.options, request.long, signal, told);
    case "head":
      return ({ engine, info }) => head(engine, info, request.inputs, request.long, signal, told);
    case "classify":
      return ({ engine }) => classify(engine, request.task, request.texts, request.long, signal, told);
    case "tokenize":
      return async ({ engine }) => call(() => engine.tokenize(request.text, request.bos, request.special));
    case "detokenize":
      return async ({ engine }) => call(() => engine.detokenize(request.tokens));
  }
}

function withAdapters({ load, ...others }: Setting, adapters: number[]): Setting {
  return { ...others, load: { ...load, model: { ...load.model, adapters } } };
}

function gone(why: string, cause: WispError): WispError {
  return new WispError("device-lost", `the GPU was lost, and the model cannot go on: ${why}. Load it again`, { cause });
}

/** A load that begins once more reports nothing that was reported before. */
function rising(report: Report): Report {
  const highest = new Map<string, number>();
  return (phase, loaded, total) => {
    if (loaded < (highest.get(phase) ?? 0)) return;
    highest.set(phase, loaded);
    report(phase, loaded, total);
  };
}

// The engine counts keys and values as they come; a full context's are what a model has to have room for in any case.
function memoryOf({ engine, info }: Ready): WireMemory {
  const { kv, peak } = JSON.parse(call(() => engine.memory())) as WireMemory;
  return { ...info.memory, kv: Math.max(info.memory.kv, kv), peak };
}

function buffersOf(answer: Answers[keyof Answers]): Transferable[] {
  if (answer instanceof Uint32Array) return [answer.buffer as ArrayBuffer];
  if (typeof answer !== "object" || answer === null || !("vectors" in answer)) return [];
  return answer.vectors.map((vector) => vector.buffer as ArrayBuffer);
}
