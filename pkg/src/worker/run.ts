// One run of the engine, in slices between which messages come in.

import { named } from "../chat.js";
import { aborted, WispError } from "../errors.js";
import type { WireDelta, WireGenerate, WireGenerated, WireScore, WireText } from "../protocol.js";
import type { Begun, Engine, Slice } from "./binding.js";
import { breathe } from "./breath.js";
import { call, Trap } from "./fault.js";
import type { Forms, Guide } from "./form.js";

/** How long the engine works before cancelling is possible. */
const SLICE_MS = 30;
/** The same until there is a first token, which is then not held back, and whose time is so exact. */
const FIRST_SLICE_MS = 8;

type Finished = Extract<Slice, { state: "finished" }>;

// Advances the run that was begun to its end. `budget` says how long the next slice may take.
export async function complete(
  engine: Engine,
  signal: AbortSignal,
  see: (slice: Slice) => void = () => {},
  budget: () => number = () => SLICE_MS,
): Promise<Finished> {
  for (;;) {
    await breathe();
    if (signal.aborted) {
      call(() => engine.cancel());
      throw aborted(signal);
    }
    const slice = advance(engine, budget());
    see(slice);
    if (slice.state === "finished") return slice;
    await call(() => engine.waiting());
  }
}

function advance(engine: Engine, budget: number): Slice {
  try {
    return JSON.parse(call(() => engine.advance(budget))) as Slice;
  } catch (error) {
    // What failed is over; the engine must be ready for the next run, if it still can be called at all.
    if (!(error instanceof Trap)) call(() => engine.cancel());
    throw error;
  }
}

function tokensOf(engine: Engine, text: WireText): Uint32Array {
  return typeof text === "string" ? call(() => engine.tokenize(text, undefined, false)) : text;
}

export type Tell = (delta: WireDelta) => void;
/** Begins an answer, or goes on with one of which some tokens are there. */
export type Begin = (engine: Engine, answered: Uint32Array, options: string) => Begun;
export type Run = (engine: Engine) => Promise<WireGenerated>;

/** A generation, as what to do with an engine. If that is lost in the middle, the next engine goes on where it was. */
export function generation(prompt: WireText, options: WireGenerate, signal: AbortSignal, tell: Tell = () => {}, forms?: Forms): Run {
  const begin: Begin = (engine, answered, options) => {
    const tokens = tokensOf(engine, prompt);
    return JSON.parse(call(() => engine.generate(tokens, answered, options))) as Begun;
  };
  return answer(begin, options, signal, tell, forms);
}

/** An answer to a conversation, in the same way. Where no form is asked for, calls of tools have their own. */
export function chat(conversation: string, options: WireGenerate, signal: AbortSignal, tell: Tell, forms?: Forms): Run {
  const begin: Begin = (engine, answered, options) => {
    return JSON.parse(call(() => engine.chat(conversation, answered, options))) as Begun;
  };
  return answer(begin, options, signal, tell, forms, (engine, led) => call(() => engine.callForm(conversation, led)));
}

/** An answer, as what to do with an engine. */
export function answer(
  begin: Begin,
  { format, ...options }: WireGenerate,
  signal: AbortSignal,
  tell: Tell,
  forms: Forms | undefined,
  callForm: (engine: Engine, led: boolean) => string | undefined = () => undefined,
): Run {
  const watch = new Watch();
  const answered: number[] = [];
  // Drawn here, so that every engine draws the same tokens.
  const seed = crypto.getRandomValues(new Uint32Array(1))[0];
  let guide: Guide | undefined;
  const see = (slice: Slice): void => {
    watch.see(slice);
    if (slice.state === "prefill") return;
    const { text = "", reasoning = "", tokens = [], likelihoods = [], toolCalls = [] } = slice;
    answered.push(...tokens);
    if (text === "" && reasoning === "" && tokens.length === 0 && toolCalls.length === 0) return;
    tell({
      ...{ text, reasoning, tokens },
      ...(likelihoods.length > 0 && { likelihoods }),
      ...(toolCalls.length > 0 && { toolCalls: toolCalls.map(named) }),
    });
  };
  return async (engine) => {
    const [form, formed] = formOf(format, callForm(engine, format !== undefined));
    // Tokens that nobody chooses have no likelihoods that could be told.
    if (form !== undefined) guide ??= await forms?.guide(engine, form, options["logprobs"] === undefined, signal);
    const lead = (slice: Slice): void => {
      if (slice.state === "decode" && slice.awaitsPermit) guide?.lead(engine, slice, see);
    };
    const seeded = JSON.stringify({ seed, ...options, formed });
    let begun: Begun | undefined;
    try {
      begun = begin(engine, Uint32Array.from(answered), seeded);
      if (guide !== undefined) lead(JSON.parse(call(() => engine.force(new Uint32Array()))) as Slice);
      const end = await complete(engine, signal, (slice) => (see(slice), lead(slice)), () => watch.budget());
      guide?.free();
      const { promptTokens, cachedTokens } = begun;
      const usage = end.usage ?? { promptTokens, cachedTokens, completionTokens: watch.tokens };
      return {
        finishReason: end.finishReason ?? "stop",
        ...(end.stop !== undefined && { stop: end.stop }),
        ...(end.slid !== undefined && end.slid > 0 && { slid: end.slid }),
        usage,
        timings: watch.timings(usage.promptTokens - usage.cachedTokens),
      };
    } catch (error) {
      const code = error instanceof WispError ? error.code : undefined;
      // On another engine the answer goes on where it is.
      if (code !== "device-lost") guide?.free();
      if (code !== "aborted") throw error;
      return abortedGeneration(begun?.promptTokens, begun?.cachedTokens, watch);
    }
  };
}

/** The form that an answer follows, and when it begins: what was asked for, that of calls of tools, or either. */
function formOf(format: string | undefined, calls: string | undefined): [form?: string, begins?: string] {
  if (calls === undefined) return format === undefined ? [] : [format, "answer"];
  const { grammar, begins } = JSON.parse(calls) as { grammar: string; begins: string };
  const form = { grammar };
  return [JSON.stringify(format === undefined ? form : { either: [form, JSON.parse(format) as unknown] }), begins];
}

/** The end of a generation that was given up, perhaps before it began. */
export function abortedGeneration(promptTokens = 0, cachedTokens = 0, watch = new Watch()): WireGenerated {
  return {
    finishReason: "abort",
    usage: { promptTokens, cachedTokens, completionTokens: watch.tokens },
    timings: watch.timings(promptTokens - cachedTokens),
  };
}

export async function score(engine: Engine, text: WireText, signal: AbortSignal): Promise<WireScore> {
  const tokens = tokensOf(engine, text);
  call(() => engine.score(tokens));
  const { logprobs = [] } = await complete(engine, signal);
  return { tokens, logprobs };
}

// Reads the clock at the slices. The prompt ends with its last slice, and that one brings the first token.
class Watch {
  tokens = 0;
  readonly #start = performance.now();
  #first: number | undefined;
  #firstTokens = 0;
  #last: number | undefined;

  budget(): number {
    return this.#first === undefined ? FIRST_SLICE_MS : SLICE_MS;
  }

  see(slice: Slice): void {
    const count = slice.state === "prefill" ? 0 : (slice.tokens?.length ?? 0);
    if (count === 0) return;
    this.tokens += count;
    this.#last = performance.now();
    if (this.#first !== undefined) return;
    this.#first = this.#last;
    this.#firstTokens = count;
  }

  timings(promptTokens: number): WireGenerated["timings"] {
    const first = this.#first ?? performance.now();
    const last = this.#last ?? first;
    const promptMs = first - this.#start;
    return {
      promptMs,
      firstTokenMs: promptMs,
      decodeMs: last - first,
      promptTokensPerSecond: rate(promptTokens, promptMs),
      tokensPerSecond: rate(this.tokens - this.#firstTokens, last - first),
    };
  }
}

function rate(count: number, ms: number): number {
  return ms > 0 ? (count * 1000) / ms : 0;
}
