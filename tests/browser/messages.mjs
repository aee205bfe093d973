// Support messages of six classes: `tune` to fit with, `test` to judge by.

import { readFileSync } from "node:fs";

export function messages() {
  const [, ...lines] = readFileSync(new URL("../fixtures/classify/messages.tsv", import.meta.url), "utf8").trimEnd().split("\n");
  const rows = lines.map((line) => line.split("\t")).map(([split, label, text]) => ({ split, label, text }));
  return { tune: rows.filter(({ split }) => split === "tune"), test: rows.filter(({ split }) => split === "test") };
}

/** The first `count` rows of each label. */
export function each(rows, count) {
  const seen = {};
  return rows.filter(({ label }) => (seen[label] = (seen[label] ?? 0) + 1) <= count);
}
