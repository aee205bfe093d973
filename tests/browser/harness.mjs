// A browser with a page on a site, and code run in that page.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
];

/** What WebAssembly can do in the browsers that tests open. An isolated page can have threads as well. */
export const VARIANTS = { relaxed: ["simd128", "relaxed-simd"], simd: ["simd128"] };

/** The features that a page reports of the build that runs. */
export function featuresOf(variant, isolated) {
  return isolated && cpus().length > 1 ? [...VARIANTS[variant], "threads"] : VARIANTS[variant];
}

/** The build's file. */
export function moduleOf(variant, isolated) {
  const threads = { relaxed: "relaxed-threads", simd: "threads" };
  return `wisplm-${isolated && cpus().length > 1 ? threads[variant] : variant}.wasm`;
}

export function chromiumPath() {
  const { CHROMIUM, PATH = "" } = process.env;
  if (CHROMIUM?.includes("/")) return CHROMIUM;
  for (const name of [...(CHROMIUM ? [CHROMIUM] : []), ...NAMES]) {
    for (const folder of PATH.split(delimiter)) {
      if (existsSync(join(folder, name))) return join(folder, name);
    }
  }
  throw new Error("there is no Chromium on the PATH: install it, or set CHROMIUM to its path");
}

/** Chromium with a profile of its own on the disk, as a user has it. */
export async function openBrowser(flags = []) {
  const profile = mkdtempSync(join(tmpdir(), "wisplm-test-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath(),
    headless: true,
    args: [...FLAGS, ...flags],
  });
  return new Browser(context, profile);
}

class Browser {
  #profile;

  constructor(context, profile) {
    this.context = context;
    this.#profile = profile;
  }

  /**
   * A page of a site. `variant: "simd"` makes it a browser without relaxed SIMD; `stored: false` one without a private
   * file system; `path` another page than the empty one.
   */
  async open(site, { variant = "relaxed", stored = true, path = "" } = {}) {
    const page = await this.context.newPage();
    page.setDefaultTimeout(20_000);
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(`uncaught: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") page.problems.push(`console: ${message.text()}`);
    });
    if (variant === "simd") await page.addInitScript(withoutRelaxedSimd);
    if (!stored) await withoutStorage(page);
    await page.goto(new URL(path, site.url).href);
    return page;
  }

  async close() {
    await this.context.close();
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Workers of all pages, helpers' among them, as the system counts their threads. */
  async workers() {
    let count = 0;
    for (const process of await this.#renderers()) {
      for (const thread of entries(`/proc/${process}/task`)) {
        if (read(`/proc/${process}/task/${thread}/comm`).startsWith("DedicatedWorker")) count++;
      }
    }
    return count;
  }

  /** Bytes of memory that each of the browser's page processes holds, by its number; see `Resident`. */
  async resident() {
    const resident = new Resident();
    for (const process of await this.#renderers()) resident.add(process);
    return resident;
  }

  /** Bytes that the page processes hold once a page's garbage is collected. */
  async held(page) {
    await page.requestGC();
    const samples = [];
    // The system takes memory back a little later, and tells nobody.
    for (let i = 0; i < 6; i++) {
      samples.push((await this.resident()).own);
      await delay(50);
    }
    return Math.min(...samples);
  }

  async #renderers() {
    const session = await this.context.browser().newBrowserCDPSession();
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    await session.detach();
    return processInfo.filter(({ type }) => type === "renderer").map(({ id }) => id);
  }
}

/** `own`: what the processes hold, not counting mapped files. */
class Resident {
  own = 0;
  #processes = new Map();

  add(process) {
    const status = read(`/proc/${process}/status`);
    const bytes = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    this.own += bytes("RssAnon") + bytes("RssShmem");
    this.#processes.set(process, { all: bytes("VmRSS"), peak: bytes("VmHWM") });
  }

  /** By how much the processes of an earlier time have grown: `now`, and at their highest. New ones are spares. */
  growth(before) {
    const growth = { now: 0, peak: 0 };
    for (const [process, { all }] of before.#processes) {
      const after = this.#processes.get(process);
      if (after === undefined) continue;
      growth.now += after.all - all;
      growth.peak += after.peak - all;
    }
    return growth;
  }
}

// What has ended since has nothing to say.
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function entries(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

// Relaxed SIMD can no longer be switched off in Chromium: here its dot product (fd 93 02) does not validate.
function withoutRelaxedSimd() {
  const validate = WebAssembly.validate;
  WebAssembly.validate = (source) => {
    const bytes = new Uint8Array(source.buffer ?? source);
    const relaxed = bytes.some((byte, i) => byte === 0xfd && bytes[i + 1] === 0x93 && bytes[i + 2] === 0x02);
    return !relaxed && validate(source);
  };
}

async function withoutStorage(page) {
  const remove = "delete StorageManager.prototype.getDirectory;\n";
  await page.addInitScript(remove);
  await inWorker(page, remove);
}

/** Tells, when asked, how large the engine's memory is, and what it has made on the GPU. */
export const MEASURED = `{
  let memory, made = 0;
  const { instantiate } = WebAssembly;
  WebAssembly.instantiate = async (source, imports) => {
    const result = await instantiate(source, imports);
    const { exports } = result.instance ?? result;
    memory ??= exports.memory ?? Object.values(imports).map((module) => module.memory).find(Boolean);
    return result;
  };
  const { createBuffer } = GPUDevice.prototype;
  GPUDevice.prototype.createBuffer = function (of) {
    made += of.size;
    return createBuffer.call(this, of);
  };
  const channel = new BroadcastChannel("memory");
  channel.onmessage = () => channel.postMessage({ heap: memory.buffer.byteLength, made });
}`;

/**
 * Has the package's workers run `script` first. A worker has globals of its own, which no page script reaches: the browser
 * prepends the script to the worker's.
 */
export async function inWorker(page, script) {
  await page.route("**/pkg/worker.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: script + "\n" + (await response.text()) });
  });
}

/** For `inWorker`: makes the software adapter pass for a GPU. */
export const DISGUISE = `{
  const say = (name, value) => Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value });
  say("isFallbackAdapter", false);
  say("vendor", "acme");
  say("architecture", "anvil");
  say("description", "");
}`;

/** Runs `action({ ...package, ...tools }, argument)` in the page; what it returns must be plain data. */
export function run(page, action, argument = {}) {
  return page.evaluate(
    async ([source, argument]) => {
      const [wisplm, tools] = await Promise.all([import("/pkg/index.js"), import("/page/tools.js")]);
      return (0, eval)(`(${source})`)({ ...wisplm, ...tools }, argument);
    },
    [action.toString(), argument],
  );
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export const MB = 1e6;

/** For people: what was measured, as a line under its test. */
export function report(t, line) {
  t.diagnostic(line);
}
