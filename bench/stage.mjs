// The browser, and a site for each engine: an origin of its own, and so a private file system of its own.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openBrowser } from "../tests/browser/harness.mjs";
import { openSite } from "../tests/browser/site.mjs";
import { memory } from "./memory.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** All folders of this run lie in one, which goes at the end, however that comes. */
function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "wisplm-bench-"));
  process.env.TMPDIR = folder;
  process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
}

export class Stage {
  #browser;
  #sites = new Map();

  static async open() {
    scratch();
    const stage = new Stage();
    stage.#browser = await openBrowser();
    return stage;
  }

  get browserVersion() {
    return this.#browser.context.browser().version();
  }

  /** An empty page, cross-origin isolated, on the site of that name. */
  async page(name, variant) {
    if (!this.#sites.has(name)) {
      const mounts = {
        "/bench/": here("page"),
        "/kernels/": here("../target/pkg"),
        "/transformers/": here("node_modules/@huggingface/transformers/dist"),
        "/onnxruntime/": here("node_modules/onnxruntime-web/dist"),
        "/wllama-2/": here("node_modules/wllama-2"),
        "/wllama-3/": here("node_modules/wllama-3"),
      };
      this.#sites.set(name, await openSite({ mounts }));
    }
    return this.#browser.open(this.#sites.get(name), { variant });
  }

  /** Bytes of memory that each page process holds, and has held at most, by its number. */
  async processes() {
    const session = await this.#browser.context.browser().newBrowserCDPSession();
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    await session.detach();
    const pages = processInfo.filter(({ type }) => type === "renderer");
    return new Map(pages.map(({ id }) => [id, memory(id)]).filter(([, found]) => found !== undefined));
  }

  async close() {
    await this.#browser.close();
    for (const site of this.#sites.values()) await site.close();
  }
}
