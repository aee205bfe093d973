// The module worker: ties the service to the browser.

import init, { Loader, Sha256 } from "wisplm-glue";
import { WispError } from "../errors.js";
import type { FromWorker, ToWorker } from "../protocol.js";
import type { Storage } from "./cache.js";
import { compile } from "./module.js";
import { Service } from "./service.js";

const scope = globalThis as unknown as {
  postMessage(message: FromWorker, transfer: Transferable[]): void;
  onmessage: (event: MessageEvent<ToWorker>) => void;
  navigator: Navigator;
};

const storage = scope.navigator.storage as unknown as Storage | undefined;

const service = new Service({
  post: (message, transfer = []) => scope.postMessage(message, transfer),
  storage: typeof storage?.getDirectory === "function" ? storage : undefined,
  locks: scope.navigator.locks,
  async start(modules, signal) {
    const { module, features } = await compile(modules, signal);
    try {
      await init({ module_or_path: module });
    } catch (cause) {
      const code = cause instanceof RangeError || /memory/i.test(String(cause)) ? "out-of-memory" : "internal";
      throw new WispError(code, `the engine does not start: ${String(cause)}`, { cause });
    }
    return { binding: { Loader, Sha256 }, features };
  },
});

scope.onmessage = ({ data }) => service.receive(data);
