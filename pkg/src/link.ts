// The page's end of the line to a model's worker: which answer belongs to which request.

import { aborted, fromWire, WispError } from "./errors.js";
import type { Answers, FromWorker, ToWorker, WireDelta, WireMemory, WirePlace, WireRequest } from "./protocol.js";

/** What carries messages: a `Worker`. */
export interface Port {
  postMessage(message: ToWorker, transfer?: Transferable[]): void;
  terminate(): void;
}

/** What becomes of a request. */
export interface Handlers<A> {
  delta?(delta: WireDelta): void;
  step?(done: number, total: number): void;
  done(answer: A): void;
  fail(error: WispError): void;
}

export class Link {
  readonly #port: Port;
  readonly #open = new Map<number, Handlers<never>>();
  #next = 1;
  #end: WispError | undefined;
  /** Called with the engine's memory after each request. */
  onMemory: (memory: WireMemory) => void = () => {};
  /** Called when the model has come to run elsewhere. */
  onMoved: (place: WirePlace) => void = () => {};

  constructor(port: Port) {
    this.#port = port;
  }

  /** Sends a request; its number is for `cancel`. A dead or closed link fails it at once. */
  send<K extends WireRequest["kind"]>(
    request: Extract<WireRequest, { kind: K }>,
    handlers: Handlers<Answers[K]>,
  ): number {
    const id = this.#next++;
    if (this.#end !== undefined) {
      handlers.fail(this.#end);
      return id;
    }
    this.#open.set(id, handlers as Handlers<never>);
    this.#port.postMessage({ type: "request", id, request });
    return id;
  }

  /** Asks the worker to stop a request; it is answered all the same. */
  cancel(id: number): void {
    if (this.#open.has(id)) this.#port.postMessage({ type: "cancel", id });
  }

  /** A request with one answer. A signal ends it at once, whatever the worker is at; `step` is told how it goes on. */
  ask<K extends Exclude<WireRequest["kind"], "generate" | "chat" | "send">>(
    request: Extract<WireRequest, { kind: K }>,
    signal?: AbortSignal,
    step?: (done: number, total: number) => void,
  ): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(signal));
      const stop = (): void => {
        this.cancel(id);
        this.#open.delete(id);
        reject(aborted(signal));
      };
      const settled = (): void => signal?.removeEventListener("abort", stop);
      signal?.addEventListener("abort", stop, { once: true });
      const id = this.send<K>(request, {
        done: (answer) => {
          settled();
          resolve(answer);
        },
        fail: (error) => {
          settled();
          reject(error);
        },
        ...(step && { step }),
      });
    });
  }

  receive(message: FromWorker): void {
    switch (message.type) {
      case "delta":
        this.#open.get(message.id)?.delta?.(message.delta);
        break;
      case "step":
        this.#open.get(message.id)?.step?.(message.done, message.total);
        break;
      case "moved":
        this.onMoved(message.place);
        break;
      case "done": {
        this.onMemory(message.memory);
        const handlers = this.#open.get(message.id);
        this.#open.delete(message.id);
        handlers?.done(message.answer as never);
        break;
      }
      case "error": {
        const handlers = this.#open.get(message.id);
        this.#open.delete(message.id);
        handlers?.fail(fromWire(message.error));
        break;
      }
      case "dead":
        this.end(fromWire(message.error));
        break;
    }
  }

  /** Frees the worker; what is open and what comes later fails with `error`. The first end stands. */
  end(error: WispError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#port.terminate();
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const handlers of open) handlers.fail(error);
  }
}
