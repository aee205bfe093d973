// Page and worker together, over a message channel instead of a worker, with an engine that is none.

import { MessageChannel } from "node:worker_threads";
import { type LoadWorker, loadWith } from "../src/load.js";
import type { Model } from "../src/model.js";
import type { LoadOptions } from "../src/options.js";
import type { FromWorker, ToWorker, WireThreads } from "../src/protocol.js";
import { type ModelSource, sources } from "../src/source.js";
import { type Outside, Service } from "../src/worker/service.js";
import { ADAPTER, fakeBinding, FakeConstraint, FakeEngine, modelFile } from "./fakes.js";

export interface Options extends Omit<LoadOptions, "threads"> {
  engine?: FakeEngine;
  wanted?: WireThreads;
  outside?: Partial<Outside>;
}

const ALONE: WireThreads = { count: 1, exact: true };

/** Workers that have been ended. */
export const workers = { ended: 0 };

// What `load` does, less the worker.
export function load(source: ModelSource, { engine, outside, wanted = ALONE, ...options }: Options = {}): Promise<Model> {
  const start = (): LoadWorker => {
    const { port1, port2 } = new MessageChannel();
    const service = new Service({
      post: (message, transfer = []) => port2.postMessage(message, transfer as []),
      storage: undefined,
      locks: undefined,
      start: async () => ({ binding: fakeBinding(engine), features: ["simd128"] }),
      startConstraint: async () => new FakeConstraint(),
      adapter: async () => ADAPTER,
      ...outside,
    });
    port2.on("message", (message: ToWorker) => service.receive(message));
    const worker = {
      postMessage: (message: ToWorker, transfer: Transferable[]) => port1.postMessage(message, transfer as []),
      terminate: () => {
        workers.ended++;
        port2.close();
      },
      addEventListener: (type: string, listener: (event: { data: FromWorker }) => void) => {
        if (type === "message") port1.on("message", (data: FromWorker) => listener({ data }));
      },
    };
    return worker as unknown as LoadWorker;
  };
  const modules = [{ url: "https://host.test/x.wasm", features: [], shared: false }];
  return loadWith(start, sources(source), { device: "wasm", ...options, modules, constraint: "https://host.test/c.wasm", threads: wanted });
}

export function blob(length = 5000): Blob {
  return new Blob([modelFile(length) as Uint8Array<ArrayBuffer>]);
}

export async function using<T>(model: Promise<Model>, use: (model: Model) => Promise<T>): Promise<T> {
  const loaded = await model;
  try {
    return await use(loaded);
  } finally {
    await loaded.close();
  }
}

export async function text(deltas: AsyncIterable<string>): Promise<string> {
  let all = "";
  for await (const delta of deltas) all += delta;
  return all;
}
