// What a run has measured, part by part; parts can be put into an older run's record, in place of its own.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Turns of the passes in place of older ones of the same passes; other passes and contestants stay. */
function mixed(models, fresh) {
  const older = new Map(models.map((model) => [model.id, model]));
  for (const model of fresh) {
    const into = older.get(model.id);
    if (into === undefined) {
      models.push(model);
      continue;
    }
    for (const contestant of model.contestants) {
      const known = into.contestants.find(({ id }) => id === contestant.id);
      if (known === undefined) into.contestants.push(contestant);
      else Object.assign(known, contestant, { passes: { ...known.passes, ...contestant.passes } });
    }
  }
  return models;
}

export class Record {
  #file;
  #run;
  #began = performance.now();
  values;

  /** `run`: date, rounds, machine, versions. `older`: the file of a record that this one's parts go into. */
  constructor(file, run, older) {
    this.#file = file;
    this.#run = run;
    this.values = older === undefined ? { ...run, seconds: 0 } : JSON.parse(readFileSync(older, "utf8"));
  }

  /** What has been measured is kept whatever comes next. `passes`: those that a part of an older record is told of. */
  keep(part, passes = Object.keys(part)) {
    const { values } = this;
    const { date, rounds, versions } = this.#run;
    Object.assign(values, part, part.models && { models: mixed(values.models ?? [], part.models) });
    values.versions = { ...versions, wisplm: values.versions.wisplm };
    values.parts = { ...values.parts };
    for (const pass of passes) values.parts[pass] = { date, rounds, wisplm: versions.wisplm };
    if (values.date === date) values.seconds = Math.round((performance.now() - this.#began) / 1000);
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, `${JSON.stringify(values, null, 1)}\n`);
  }
}
