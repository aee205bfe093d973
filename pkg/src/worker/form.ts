// Answers that have a form. A WebAssembly module of its own says which tokens may come next; it is fetched when the first
// form is asked for, and what it cannot take does not touch the engine.

import { WispError } from "../errors.js";
import type { Engine, Slice } from "./binding.js";
import { call, translated, Trap } from "./fault.js";

/** An answer in progress, as the module follows it. */
export interface Follower {
  /** The tokens that may come next: bit `t % 32` of word `t / 32` for token `t`. */
  mask(): Uint32Array;
  /** Tokens that come next whatever the model would choose; the answer is then taken to go on with them. */
  force(): Uint32Array;
  take(tokens: Uint32Array): void;
  /** Whether nothing can be added. */
  isFinished(): boolean;
  free(): void;
}

/** The tokens of a model, as the module wants them. */
export interface Tokens {
  compile(format: string): Follower;
  free(): void;
}

export interface Constraint {
  Tokens: new (bytes: Uint8Array, lengths: Uint32Array, ends: Uint32Array, tokenize: (text: string) => Uint32Array) => Tokens;
  /** Starts the module anew, after a trap. */
  reset(): void;
}

/** The forms of a model's answers. */
export class Forms {
  readonly #start: (signal: AbortSignal) => Promise<Constraint>;
  #constraint: Constraint | undefined;
  #tokens: Tokens | undefined;
  /** Splits the text that a form prescribes. */
  #engine: Engine | undefined;

  constructor(start: (signal: AbortSignal) => Promise<Constraint>) {
    this.#start = start;
  }

  /** Gets ready to lead an answer of `engine`. */
  async guide(engine: Engine, format: string, forces: boolean, signal: AbortSignal): Promise<Guide> {
    const constraint = (this.#constraint ??= await this.#start(signal));
    this.#engine = engine;
    const guarded = <T>(work: () => T): T => this.#guarded(work);
    const tokens = (this.#tokens ??= guarded(() => {
      const { Tokens } = constraint;
      const tokenize = (text: string): Uint32Array => this.#engine!.tokenizeWithin(text);
      return new Tokens(call(() => engine.tokenBytes()), call(() => engine.tokenLengths()), call(() => engine.endTokens()), tokenize);
    }));
    const follower = guarded(() => tokens.compile(format));
    return new Guide(follower, guarded, (engine) => (this.#engine = engine), forces);
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (thrown) {
      const error = translated(thrown);
      if (!(error instanceof Trap)) throw error;
      // Its memory is lost, with the tokens in it; the next form finds it fresh.
      this.#tokens = undefined;
      this.#constraint?.reset();
      throw new WispError("invalid-argument", `format: it is too much to follow (${String(error.cause)}): simplify it`, { cause: error });
    }
  }
}

/** Leads an answer: says of each token what it may be. */
export class Guide {
  readonly #follower: Follower;
  readonly #guarded: <T>(work: () => T) => T;
  readonly #splitBy: (engine: Engine) => void;
  readonly #forces: boolean;

  constructor(follower: Follower, guarded: <T>(work: () => T) => T, splitBy: (engine: Engine) => void, forces: boolean) {
    this.#follower = follower;
    this.#guarded = guarded;
    this.#splitBy = splitBy;
    this.#forces = forces;
  }

  /** After a slice that ends before a token with the form: what that may be. `see` is told of tokens that it prescribes. */
  lead(engine: Engine, { formed = [], mayReason = false }: Extract<Slice, { state: "decode" }>, see: (slice: Slice) => void): void {
    const follower = this.#follower;
    this.#splitBy(engine);
    if (formed.length > 0) this.#guarded(() => follower.take(Uint32Array.from(formed)));
    if (this.#forces && !mayReason && !this.#guarded(() => follower.isFinished())) {
      const forced = this.#guarded(() => follower.force());
      if (forced.length > 0) {
        const slice = JSON.parse(call(() => engine.force(forced))) as Extract<Slice, { state: "decode" }>;
        see(slice);
        if (!slice.awaitsPermit) return;
      }
    }
    if (this.#guarded(() => follower.isFinished())) return call(() => engine.complete());
    // A GPU computes while the mask is made; on the processor this only begins.
    call(() => engine.advance(0));
    const mask = this.#guarded(() => follower.mask());
    call(() => engine.allow(mask));
  }

  free(): void {
    // A module that was started anew has forgotten it.
    try {
      this.#follower.free();
    } catch {
      return;
    }
  }
}
