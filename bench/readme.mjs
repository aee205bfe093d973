// Writes the last full run's tables into the README, between its markers: `npm --prefix bench run readme`.

import { readFileSync, writeFileSync } from "node:fs";
import { summary } from "./summary.mjs";
import { asMarkdown } from "./table.mjs";

const README = new URL("../README.md", import.meta.url);
const BETWEEN = /(<!-- bench: begin -->\n)[^]*(<!-- bench: end -->)/;

const record = JSON.parse(readFileSync(new URL("results/latest.json", import.meta.url), "utf8"));
const text = readFileSync(README, "utf8");
if (!BETWEEN.test(text)) throw new Error("the README has lost its markers, bench: begin and bench: end");
writeFileSync(README, text.replace(BETWEEN, (_, begin, end) => `${begin}\n${asMarkdown(summary(record))}\n\n${end}`));
