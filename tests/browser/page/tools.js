// What tests use inside a page.

import { WispError } from "/pkg/index.js";

/** The error that a promise ends with, as data; an error of the test's own where it does not fail. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    const { name, message, code, details, cause } = error;
    return { typed: error instanceof WispError, name, message, code, details, cause: cause && String(cause) };
  }
  throw new Error("it should have failed, and did not");
}

/** All of a generation's deltas. */
export async function deltas(generation) {
  const texts = [];
  for await (const text of generation) texts.push(text);
  return texts;
}

/** Resolves when a generation says its first word, or at its end. */
export async function begun(generation) {
  await generation[Symbol.asyncIterator]().next();
}

/** Watches how busy the page's main thread is. */
export class Pulse {
  #tasks = [];
  #observer = new PerformanceObserver((list) => this.#keep(list));
  #worst = 0;
  #last = performance.now();
  #timer = setInterval(() => this.#beat(), 10);

  constructor() {
    this.#observer.observe({ entryTypes: ["longtask"] });
  }

  #keep(list) {
    this.#tasks.push(...list.getEntries().map(({ duration, startTime }) => ({ duration, startTime })));
  }

  #beat() {
    const now = performance.now();
    this.#worst = Math.max(this.#worst, now - this.#last - 10);
    this.#last = now;
  }

  /** Ends it: tasks over 50 ms, and by how much a timer was late at worst. */
  async stop() {
    // A task is reported in a later one.
    await new Promise((resolve) => setTimeout(resolve, 200));
    this.#keep({ getEntries: () => this.#observer.takeRecords() });
    this.#observer.disconnect();
    clearInterval(this.#timer);
    return { tasks: this.#tasks, worst: this.#worst };
  }
}
