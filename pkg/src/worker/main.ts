// The module worker: ties the service to the browser. The same script is the engine's and its helpers'.

import type { FromWorker, ToWorker } from "../protocol.js";
import type { Storage } from "../storage.js";
import { inspectWebGpu } from "../webgpu.js";
import type { Enlistment, Resignation } from "./crew.js";
import { Service } from "./service.js";
import { help, start, startConstraint } from "./start.js";

const scope = globalThis as unknown as {
  postMessage(message: FromWorker | Resignation, transfer?: Transferable[]): void;
  onmessage: (event: MessageEvent<ToWorker | Enlistment>) => void;
  navigator: Navigator;
};

const storage = scope.navigator.storage as unknown as Storage | undefined;

let service: Service | undefined;

scope.onmessage = ({ data }) => {
  if (data.type === "help") {
    void help(data, (message) => scope.postMessage(message));
    return;
  }
  service ??= new Service({
    post: (message, transfer = []) => scope.postMessage(message, transfer),
    storage: typeof storage?.getDirectory === "function" ? storage : undefined,
    locks: scope.navigator.locks,
    start,
    startConstraint,
    adapter: inspectWebGpu,
  });
  service.receive(data);
};
