// Where and with what the figures were taken.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Child } from "./contestants/native.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

/** The vector instructions that matter here, as Linux names them. */
const FEATURES = ["avx2", "avx_vnni", "avx512f", "avx512_vnni", "asimd", "asimddp", "i8mm"];

function features() {
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1].split(" ") ?? [];
  return FEATURES.filter((feature) => flags.includes(feature));
}

export function machine() {
  const cores = cpus();
  return {
    cpu: cores[0].model.trim(),
    cores: cores.length,
    features: features(),
    memory: totalmem(),
    system: `${type()} ${release()}`,
  };
}

function packaged(name) {
  return JSON.parse(readFileSync(join(here, `node_modules/${name}/package.json`), "utf8")).version;
}

function commit() {
  const git = (...args) => execFileSync("git", args, { cwd: here, encoding: "utf8" }).trim();
  return git("describe", "--always", "--dirty", "--exclude=*");
}

export async function versions(stage) {
  const child = new Child();
  try {
    return {
      wisplm: commit(),
      chromium: stage.browserVersion,
      node: process.versions.node,
      "wllama 2": packaged("wllama-2"),
      "wllama 3": packaged("wllama-3"),
      "transformers.js": packaged("@huggingface/transformers"),
      "node-llama-cpp": packaged("node-llama-cpp"),
      "llama.cpp": await child.ask("version"),
    };
  } finally {
    await child.close();
  }
}
