// A contestant in a process of its own.

import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { modelsFolder } from "../../www/serve.mjs";

const CHILD = fileURLToPath(new URL("../native/child.mjs", import.meta.url));

/** A process that answers requests, one at a time. */
export class Child {
  #process = fork(CHILD, { stdio: ["ignore", "inherit", "inherit", "ipc"] });

  async ask(request, argument) {
    const ended = new AbortController();
    const answer = once(this.#process, "message", { signal: ended.signal });
    const end = once(this.#process, "exit", { signal: ended.signal }).then(([code, signal]) => {
      throw new Error(`llama.cpp's process ended with ${signal ?? code}`);
    });
    this.#process.send({ request, argument });
    try {
      const [{ value, error }] = await Promise.race([answer, end]);
      if (error !== undefined) throw new Error(error);
      return value;
    } finally {
      answer.catch(() => {});
      end.catch(() => {});
      ended.abort();
    }
  }

  async close() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.disconnect();
    await once(this.#process, "exit");
  }
}

/** A loaded model: `loadMs`, `runs` (what computes, in words), `measure(prompt, steps)`, `memory()`, `close()`. */
export async function open(_, { threads }, model, context) {
  const child = new Child();
  try {
    const opened = await child.ask("open", { path: join(modelsFolder(), model.file), threads, context });
    return {
      ...opened,
      measure: (prompt, steps) => child.ask("measure", { prompt, steps }),
      memory: () => child.ask("memory"),
      close: () => child.close(),
    };
  } catch (error) {
    await child.close();
    throw error;
  }
}
