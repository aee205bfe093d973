// The rounds: in each, every contestant in its turn does the same.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { modelsFolder } from "../www/serve.mjs";
import * as native from "./contestants/native.mjs";
import * as page from "./contestants/page.mjs";
import { absentOnnx } from "./onnx.mjs";
import { STEPS, WARM } from "./plan.mjs";

// Any long text would do. Some of its stretches are the prompts.
const TEXT = readFileSync(new URL("../LICENSE-APACHE", import.meta.url), "utf8").replace(/\s+/g, " ").repeat(5);

const home = ({ engine }) => (engine === "native" ? native : page);
const path = ({ file }) => join(modelsFolder(), file);

/** The prompts of a model, by their lengths. */
async function prompts(model, passes) {
  const lengths = [WARM.prompt, ...new Set(passes.flatMap(({ prompts }) => prompts))];
  const child = new native.Child();
  try {
    const found = await child.ask("prompts", { path: path(model), text: TEXT, lengths });
    return new Map(lengths.map((length, i) => [length, found[i]]));
  } finally {
    await child.close();
  }
}

/** Has every engine that runs in a browser download the model, so that all loads measured are from its private files. */
async function download(stage, contestants, model, say) {
  const own = contestants.filter((one) => home(one) === page && one.onnx === undefined);
  const engines = new Set(own.map(({ engine }) => engine));
  for (const engine of engines) {
    say(`${model.name}: ${engine} downloads it`);
    const loaded = await page.open(stage, { engine, threads: 1 }, model, 1024);
    await loaded.close();
  }
}

function checked(prompt, steps, { read, made, ...times }) {
  // A contestant that still knew a part of the prompt, or stopped early, would have been measured at less.
  if (read !== prompt.tokens.length || made !== steps + 1) {
    throw new Error(`read ${read} of ${prompt.tokens.length} tokens, made ${made} of ${steps + 1}`);
  }
  return times;
}

/** One contestant's turn. */
async function turn(stage, contestant, model, pass, given) {
  const { steps = STEPS, warm = WARM } = pass;
  const loaded = await home(contestant).open(stage, contestant, model, pass.context);
  try {
    const { loadMs, bytesMs, runs } = loaded;
    if (runs.threads !== contestant.threads) throw new Error(`runs on ${runs.threads} threads, not ${contestant.threads}`);
    const loadMemory = await loaded.memory();
    const began = performance.now();
    do await loaded.measure(given.get(warm.prompt), warm.steps);
    while (performance.now() - began < warm.ms);
    const speeds = {};
    for (const length of pass.prompts) {
      const prompt = given.get(length);
      speeds[length] = checked(prompt, steps, await loaded.measure(prompt, steps));
    }
    const memory = await loaded.memory();
    // Linux forgets a peak of shared pages that a process gives back, as a browser's buffers are.
    memory.peak = Math.max(memory.peak, loadMemory.peak);
    return { runs, loadMs, bytesMs, loadMemory, memory, steps, speeds };
  } finally {
    await loaded.close();
  }
}

const shown = ({ steps, speeds }) =>
  Object.entries(speeds)
    .map(([length, { prefillMs, decodeMs }]) => `${length}: ${perSecond(+length, prefillMs)} / ${perSecond(steps, decodeMs)}`)
    .join(",  ");

export const perSecond = (tokens, ms) => ((1000 * tokens) / ms).toFixed(tokens / ms < 0.1 ? 1 : 0);

/** How likely wisplm, on the CPU, finds what each contestant wrote: who computes something else writes what is not likely. */
async function judge(stage, model, pass, { given, contestants }) {
  const loaded = await page.open(stage, { engine: "wisplm", threads: 1 }, model, pass.context);
  try {
    for (const turn of contestants.flatMap(({ passes }) => passes[pass.id] ?? [])) {
      for (const [length, speed] of Object.entries(turn.speeds)) {
        const text = speed.text.split(" ").map(Number);
        speed.likelihood = await loaded.likelihood(given.get(+length), speed.start, text);
      }
    }
  } finally {
    await loaded.close();
  }
}

const takesPart = ({ passes = ["short"], models }, model, pass) =>
  passes.includes(pass.id) && (models?.includes(model.id) ?? true);

/** All turns of all rounds: for each model its contestants, each with a list of turns for each pass. */
export async function race(stage, { rounds, models, contestants, passes, signal }, say) {
  const results = [];
  if (passes.length === 0) return results;
  for (const model of models) {
    const given = await prompts(model, passes);
    const racing = contestants.filter((one) => passes.some((pass) => takesPart(one, model, pass)));
    await download(stage, racing, model, say);
    const entries = contestants.map(({ id, name, threads }) => ({ id, name, threads, passes: {} }));
    for (const { id, onnx } of racing.filter(({ onnx }) => onnx)) {
      entries.find((entry) => entry.id === id).absent = absentOnnx(onnx, say);
    }
    results.push({ id: model.id, name: model.name, bytes: statSync(path(model)).size, given, contestants: entries });
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, model] of models.entries()) {
      for (const pass of passes) {
        // Each round begins with another one: whoever comes first after a slow one has no lasting advantage.
        const order = contestants.map((_, k) => (k + round) % contestants.length);
        for (const k of order) {
          const contestant = contestants[k];
          const entry = results[i].contestants[k];
          if (entry.absent || round >= (pass.rounds ?? rounds) || !takesPart(contestant, model, pass)) continue;
          const title = `round ${round + 1} of ${rounds}  ${model.name}  ${contestant.id}`;
          try {
            const turned = await turn(stage, contestant, model, pass, results[i].given);
            (entry.passes[pass.id] ??= []).push(turned);
            say(`${title}  ${shown(turned)}`);
          } catch (error) {
            // Everything fails once the browser is being closed.
            signal.throwIfAborted();
            entry.absent = error.message.split("\n")[0].replace(/^page\.evaluate: (\w*Error: )?/, "");
            say(`${title}  absent: ${entry.absent}`);
          }
        }
      }
    }
  }
  for (const pass of passes.filter(({ judged }) => judged)) {
    for (const [i, model] of models.entries()) await judge(stage, model, pass, results[i]);
  }
  return results.map(({ given: _, ...result }) => result);
}
