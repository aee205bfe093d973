// A stream of chunks, used as OpenAI's is.

import { APIError } from "./error.js";

const END = { value: undefined, done: true } as const;

/**
 * Chunks as they come; it can be read once. Leaving the loop, or `controller.abort()`, stops the model; the loop of one
 * that was aborted ends without an error.
 */
export class Stream<Item> implements AsyncIterable<Item> {
  readonly controller: AbortController;
  readonly #items: AsyncIterator<Item>;
  #read = false;

  constructor(items: AsyncIterator<Item>, controller: AbortController) {
    this.#items = items;
    this.controller = controller;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Item> {
    if (this.#read) throw new APIError("invalid-argument", "a stream can be read once: use tee() for two readers");
    this.#read = true;
    const { controller } = this;
    const items = this.#items;
    return {
      async next() {
        try {
          return await items.next();
        } catch (error) {
          if (controller.signal.aborted) return END;
          throw APIError.of(error);
        }
      },
      async return() {
        await items.return?.();
        return END;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Two streams of the same chunks, each read at its own speed. The model stops when both are left. */
  tee(): [Stream<Item>, Stream<Item>] {
    const items = this[Symbol.asyncIterator]();
    const queues: Promise<IteratorResult<Item>>[][] = [];
    const branch = (): Stream<Item> => {
      const mine: Promise<IteratorResult<Item>>[] = [];
      queues.push(mine);
      return new Stream<Item>(
        {
          next() {
            if (mine.length === 0) {
              const item = items.next();
              // Who reads it sees its failure.
              item.catch(() => {});
              for (const queue of queues) queue.push(item);
            }
            return mine.shift()!;
          },
          async return() {
            queues.splice(queues.indexOf(mine), 1);
            if (queues.length === 0) await items.return?.();
            return END;
          },
        },
        this.controller,
      );
    };
    return [branch(), branch()];
  }

  /** The chunks as lines of JSON. */
  toReadableStream(): ReadableStream<Uint8Array> {
    const items = this[Symbol.asyncIterator]();
    const encoder = new TextEncoder();
    return new ReadableStream({
      async pull(control) {
        const { value, done } = await items.next();
        if (done) control.close();
        else control.enqueue(encoder.encode(`${JSON.stringify(value)}\n`));
      },
      async cancel() {
        await items.return?.();
      },
    });
  }
}

/**
 * A stream of items whose first one is there: what fails before it fails the request. Leaving the stream aborts
 * `controller`.
 */
export async function opened<Item>(items: AsyncGenerator<Item>, controller: AbortController): Promise<Stream<Item>> {
  let first: IteratorResult<Item> | undefined = await items.next();
  return new Stream(
    {
      next() {
        if (first === undefined) return items.next();
        const result = first;
        first = undefined;
        return Promise.resolve(result);
      },
      return() {
        controller.abort();
        return items.return(undefined);
      },
    },
    controller,
  );
}
