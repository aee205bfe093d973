// Sessions: conversations that own their keys and values.

import { conversation, type Message } from "./chat.js";
import { invalidArgument, WispError } from "./errors.js";
import { formatJson } from "./format.js";
import { type Generation, Run } from "./generation.js";
import type { Link } from "./link.js";
import { formed, sendOptions, sessionOptions, type SendOptions, type SessionOptions, wired } from "./options.js";
import type { WireRequest } from "./protocol.js";

/**
 * A conversation that owns its keys and values: each message computes only what is new, whatever else the model answers
 * between. Requests are served in the order in which they were made, on this session and on all others of the model.
 *
 * If the GPU is lost, a session goes on: its conversation is computed anew.
 */
export interface Session extends AsyncDisposable {
  /**
   * What was said, in order: what the session began with, and each message with its answer, once that has ended. An answer
   * that was aborted is there as far as it came; a message whose answer failed, or was aborted before it began, is not.
   */
  readonly messages: readonly Message[];
  /**
   * Says something, as the user or as who the message names (`{ role: "tool", … }` for the result of a call), and has the
   * model answer. Options are those of `chat`, over those of the session.
   *
   * Where the conversation outgrows the context, the session's `overflow` decides, and `result.dropped` says what the model
   * no longer sees.
   */
  send(message: string | Message, options?: SendOptions): Generation;
  /**
   * Another session, which begins as this one is when the requests made before are through. Both share what they have
   * in common: of keys and values only windows are copied, and states. If there is no room, the first use of the clone
   * fails.
   */
  clone(): Session;
  /**
   * The session, to be restored later by `model.restore()`: its messages and options, with its keys and values, so that
   * nothing has to be computed again. A blob is of use to the same model only. Restored on another device, with another
   * `kvType` or (on the GPU) another `contextLength`, its messages are there, and are computed anew when it goes on. Of the
   * session's `tools` it has what JSON has: functions among their properties are not saved.
   */
  save(): Promise<Blob>;
  /** Frees what it has. An answer under way, and every later request, fails with `closed`. */
  close(): Promise<void>;
  /** The same as `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The numbers by which a model's sessions are known. */
export class Numbers {
  #last = 0;

  next(): number {
    return ++this.#last;
  }
}

export class WorkerSession implements Session {
  readonly #link: Link;
  readonly #numbers: Numbers;
  readonly #number: number;
  readonly #defaults: SendOptions;
  readonly #runs = new Set<Run>();
  #messages: readonly Message[];
  #closed: WispError | undefined;

  private constructor(link: Link, numbers: Numbers, number: number, defaults: SendOptions, messages: readonly Message[]) {
    [this.#link, this.#numbers, this.#number] = [link, numbers, number];
    [this.#defaults, this.#messages] = [defaults, messages];
  }

  /** A new one. */
  static begin(link: Link, numbers: Numbers, options?: SessionOptions): WorkerSession {
    const { system, messages = [], overflow = "error", ...defaults } = sessionOptions(options);
    const all = system === undefined ? messages : [{ role: "system", content: system }, ...messages];
    const said = (JSON.parse(conversation(all)) as { messages: Message[] }).messages;
    const session = new WorkerSession(link, numbers, numbers.next(), defaults, said);
    session.#tell({ kind: "openSession", session: session.#number, messages: said, overflow });
    return session;
  }

  /** One that was saved. */
  static async restore(link: Link, numbers: Numbers, blob: Blob): Promise<WorkerSession> {
    if (!(blob instanceof Blob)) throw invalidArgument("a session is restored from a Blob", "blob");
    const number = numbers.next();
    const { messages, defaults } = await link.ask<"restoreSession">({ kind: "restoreSession", session: number, blob });
    const session = new WorkerSession(link, numbers, number, {}, messages as Message[]);
    try {
      return new WorkerSession(link, numbers, number, sendOptions(defaults as SendOptions), session.messages);
    } catch (error) {
      await session.close();
      throw new WispError("integrity", "the saved session has options that are none", { cause: error });
    }
  }

  get messages(): readonly Message[] {
    return this.#messages;
  }

  send(message: string | Message, options?: SendOptions): Generation {
    try {
      if (this.#closed !== undefined) throw this.#closed;
      const { signal, tools, toolChoice, documents, reasoning, ...others } = formed({ ...this.#defaults, ...sendOptions(options) });
      const asked = conversation([messageOf(message)], { tools, toolChoice, documents, reasoning });
      const request = { kind: "send" as const, session: this.#number, conversation: asked, options: wired(others) };
      const run = Run.start(this.#link, request, signal, (said) => {
        this.#messages = [...this.#messages, ...(said as Message[])];
      });
      this.#runs.add(run);
      const settled = (): void => void this.#runs.delete(run);
      run.result.then(settled, settled);
      return run;
    } catch (error) {
      return Run.failed(error as WispError);
    }
  }

  clone(): Session {
    if (this.#closed !== undefined) throw this.#closed;
    const clone = new WorkerSession(this.#link, this.#numbers, this.#numbers.next(), this.#defaults, this.#messages);
    this.#link.send<"cloneSession">(
      { kind: "cloneSession", session: this.#number, clone: clone.#number },
      {
        done: ({ messages }) => {
          clone.#messages = messages as Message[];
        },
        fail: (error) => clone.#end(error),
      },
    );
    return clone;
  }

  async save(): Promise<Blob> {
    if (this.#closed !== undefined) throw this.#closed;
    return this.#link.ask<"saveSession">({ kind: "saveSession", session: this.#number, defaults: written(this.#defaults) });
  }

  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#end(new WispError("closed", "the session is closed: begin another one"));
    await new Promise<void>((resolve) => this.#tell({ kind: "closeSession", session: this.#number }, resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #end(error: WispError): void {
    this.#closed ??= error;
    for (const run of this.#runs) run.end(error);
  }

  // What the worker cannot refuse, unless all is over.
  #tell(request: Extract<WireRequest, { kind: "openSession" | "closeSession" }>, done: () => void = () => {}): void {
    this.#link.send<"openSession" | "closeSession">(request, { done, fail: done });
  }
}

/** Options as JSON has them: of a regular expression its source, of a tool what its model reads. */
function written({ signal: _, format, ...others }: SendOptions): unknown {
  try {
    return JSON.parse(JSON.stringify({ ...others, ...(format && { format: JSON.parse(formatJson(format)) as unknown }) }));
  } catch (error) {
    if (error instanceof WispError) throw error;
    throw invalidArgument(`the session's options cannot be written as JSON: ${(error as Error).message}`);
  }
}

function messageOf(message: unknown): object {
  if (typeof message === "string") return { role: "user", content: message };
  if (typeof message === "object" && message !== null && !Array.isArray(message)) return message;
  throw invalidArgument("message must be a string or { role, content }", "message");
}
