// wisplm beside its peers, on this machine, one after the other in each of several rounds.

import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { measureBatches } from "./batches.mjs";
import { measureKernels } from "./kernels.mjs";
import { machine, versions } from "./machine.mjs";
import { CONTESTANTS, MODELS, OTHER_PASSES, PASSES, ROUNDS } from "./plan.mjs";
import { race } from "./race.mjs";
import { Record } from "./record.mjs";
import { Stage } from "./stage.mjs";
import { summary } from "./summary.mjs";
import { asText } from "./table.mjs";
import { measureClasses, measureEmbeddings, measureForms } from "./tasks.mjs";

const ALL_PASSES = [...PASSES, ...OTHER_PASSES.map((id) => ({ id }))];

const HELP = `node main.mjs [OPTION ...], or make bench ARGS="OPTION ..."
  --rounds N        how often everything is measured; ${ROUNDS} by default
  --models A,B      of ${MODELS.map(({ id }) => id).join(", ")}
  --only A,B        contestants, by the beginning of their names: ${CONTESTANTS.map(({ id }) => id).join(", ")}
  --passes A,B      of ${ALL_PASSES.map(({ id }) => id).join(", ")}
  --out FILE        where the record goes; by default results/latest.json for a run without any option, which is the one
                    that the README quotes (npm run readme), and results/partial.json for another
  --into FILE       an older record, in which what is measured takes the place of its own; --out is that one then

A look of half a minute: --rounds 1 --models smollm2 --passes short --only wisplm-1,native-1`;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
/** Those of a table whose ids begin with one of the given words; all without words. */
function chosen(table, words, option) {
  if (words === undefined) return table;
  const prefixes = words.split(",");
  const lost = prefixes.find((prefix) => !table.some(({ id }) => id.startsWith(prefix)));
  if (lost !== undefined) {
    throw new Error(`--${option}: nothing begins with "${lost}"; there are ${table.map(({ id }) => id).join(", ")}`);
  }
  return table.filter(({ id }) => prefixes.some((prefix) => id.startsWith(prefix)));
}

function options() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: String(ROUNDS) },
      models: { type: "string" },
      only: { type: "string" },
      passes: { type: "string" },
      out: { type: "string" },
      into: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return undefined;
  const rounds = Number(values.rounds);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error(`--rounds must be a positive number, not ${values.rounds}`);
  const ids = chosen(ALL_PASSES, values.passes, "passes").map(({ id }) => id);
  const whole = process.argv.length === 2;
  return {
    rounds,
    models: chosen(MODELS, values.models, "models"),
    contestants: chosen(CONTESTANTS, values.only, "only"),
    passes: PASSES.filter(({ id }) => ids.includes(id)),
    others: ids.filter((id) => OTHER_PASSES.includes(id)),
    into: values.into,
    out: values.out ?? values.into ?? here(whole ? "results/latest.json" : "results/partial.json"),
  };
}

async function main() {
  const set = options();
  if (set === undefined) return console.log(HELP);
  const began = performance.now();
  const date = new Date().toISOString();
  const stage = await Stage.open();
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => {
      stop.abort(new Error(`stopped by ${signal}`));
      void stage.close().finally(() => process.exit(128 + constants.signals[signal]));
    });
  }
  try {
    const say = (line) => console.error(`${String(Math.round((performance.now() - began) / 1000)).padStart(5)} s  ${line}`);
    const run = { date, rounds: set.rounds, machine: machine(), versions: await versions(stage) };
    const record = new Record(set.out, run, set.into);
    // The short ones first: what is wrong with them should not show after half an hour.
    if (set.others.includes("forms")) record.keep({ forms: await measureForms(stage, set.rounds, say) });
    if (set.others.includes("classes")) record.keep({ classes: await measureClasses(stage, set.rounds, say) });
    if (set.others.includes("embeddings")) record.keep({ embeddings: await measureEmbeddings(stage, set.rounds, say) });
    if (set.others.includes("batches")) record.keep({ batches: await measureBatches(stage, set.models, set.rounds, say) });
    if (set.others.includes("kernels")) record.keep({ kernels: await measureKernels(stage, set.rounds, say) });
    const models = await race(stage, { ...set, signal: stop.signal }, say);
    record.keep({ models }, set.passes.map(({ id }) => id));
    console.log(asText(summary(record.values)));
    say(`written to ${set.out}`);
  } finally {
    if (!stop.signal.aborted) await stage.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
