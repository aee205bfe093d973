// What a record comes to: medians, ratios and bars, as tables of text.

import { median } from "../tests/browser/harness.mjs";
import {
  BARS,
  BATCH_BAR,
  BETTER,
  CLASSES,
  CONTESTANTS,
  EMBEDDINGS,
  FORMS,
  KERNELS,
  LIMITS,
  MODELS,
  PASSES,
  STEPS,
  WEBGPU_BAR,
} from "./plan.mjs";

const MISSED = " ✗";

const byLength = (lengths, value) => Object.fromEntries(lengths.map((length) => [length, value(length)]));

/** The lengths of the prompts. */
const lengthsOf = (all) => Object.keys([...all].find(Boolean)?.prefill ?? {});

/** Speeds and times of one contestant with one model: medians over the rounds. */
function figures(contestant) {
  const short = contestant?.passes.short;
  if (short === undefined) return undefined;
  const of = (pick) => median(short.map(pick));
  const lengths = Object.keys(short[0].speeds);
  const each = (pick) => byLength(lengths, (length) => of((turn) => pick(turn.speeds[length], +length)));
  return {
    prefill: each(({ prefillMs }, length) => (1000 * length) / prefillMs),
    decode: each(({ decodeMs }) => (1000 * STEPS) / decodeMs),
    firstTokenMs: of(({ speeds }) => speeds[lengths[0]].firstTokenMs),
    loadMs: of(({ loadMs }) => loadMs),
    bytesMs: of(({ bytesMs }) => bytesMs),
    loadMemory: of(({ loadMemory }) => loadMemory.peak),
    memory: of(({ memory }) => memory.peak),
    engineMemory: short[0].loadMemory.engine === undefined ? undefined : of(({ loadMemory }) => loadMemory.engine),
  };
}

/** The better figures of several. */
function better(all) {
  if (all.includes(undefined)) return undefined;
  const best = (what) => byLength(lengthsOf(all), (length) => Math.max(...all.map((one) => one[what][length])));
  return { prefill: best("prefill"), decode: best("decode") };
}

function byContestant(model) {
  const all = new Map(model.contestants.map((one) => [one.id, figures(one)]));
  all.set(BETTER.id, better(BETTER.of.map((id) => all.get(id))));
  return all;
}

const rate = (value) => value.toFixed(value < 100 ? 1 : 0);
const slow = (value) => value.toFixed(value < 1 ? 3 : 1);
const mb = (bytes) => (bytes === undefined ? "" : (bytes / 1e6).toFixed(0));
const ratio = (value, bar) => `${value.toFixed(2)}${value < bar ? MISSED : ""}`;
const known = new Map([...CONTESTANTS, BETTER].map((one) => [one.id, one]));
const titled = (id) => {
  const { name, threads } = known.get(id);
  return threads === undefined ? name : `${name}, ${threads} thread${threads > 1 ? "s" : ""}`;
};

/** A row of `cells` for each contestant, or the reason for its absence. */
function rows(model, cells) {
  return [...byContestant(model)].flatMap(([id, found]) => {
    if (found !== undefined) return [[titled(id), ...cells(found)]];
    const { passes = ["short"] } = known.get(id);
    const absent = passes.includes("short") ? model.contestants.find((one) => one.id === id)?.absent : undefined;
    return absent === undefined ? [] : [[titled(id), `absent: ${absent}`]];
  });
}

function speeds(model) {
  const lengths = lengthsOf(byContestant(model).values());
  return {
    title: `${model.name}, tokens per second`,
    header: [
      "",
      ...lengths.map((length) => `prefill ${length}`),
      ...lengths.map((length) => `decode after ${length}`),
      "first token, ms",
    ],
    rows: rows(model, ({ prefill, decode, firstTokenMs }) => [
      ...lengths.map((length) => rate(prefill[length])),
      ...lengths.map((length) => rate(decode[length])),
      firstTokenMs === undefined ? "" : rate(firstTokenMs),
    ]),
  };
}

function loads(model) {
  const from = "in a tab from its private file system, natively from the disk's cache";
  return {
    title: `${model.name}, loading its ${mb(model.bytes)} MB: ${from}`,
    header: ["", "ms", "GB/s", "memory of the load, MB", "after 512 tokens, MB"],
    rows: rows(model, ({ loadMs, loadMemory, memory }) =>
      loadMs === undefined ? [] : [rate(loadMs), (model.bytes / loadMs / 1e6).toFixed(2), mb(loadMemory), mb(memory)],
    ).filter((row) => row.length > 2),
  };
}

function ratios(models) {
  const found = models.map((model) => ({ model, all: byContestant(model) }));
  const columns = found.flatMap(({ model, all }) => {
    const { short } = MODELS.find(({ id }) => id === model.id);
    return lengthsOf(all.values()).map((length) => ({ title: `${short}, ${length}`, all, length }));
  });
  const rows = BARS.flatMap(({ of, over, ...bars }) =>
    ["prefill", "decode"].map((what) => {
      const cells = columns.map(({ all, length }) => {
        const [one, other] = [all.get(of), all.get(over)];
        return one && other ? ratio(one[what][length] / other[what][length], bars[what]) : "";
      });
      return [`${titled(of)}, over ${titled(over)}`, what, `≥ ${bars[what]}`, ...cells];
    }),
  ).filter(([, , , ...cells]) => cells.some((cell) => cell !== ""));
  return { title: "Ratios", header: ["", "", "bar", ...columns.map(({ title }) => title)], rows };
}

function long(models) {
  const rows = models.flatMap((model) =>
    model.contestants.flatMap(({ id, passes: { long } }) => {
      if (long === undefined) return [];
      const lengths = Object.keys(long[0].speeds).sort((a, b) => a - b);
      const of = (pick) => median(long.map(({ speeds }) => pick(speeds)));
      const [near, far] = lengths.map((length) => of((speeds) => (1000 * STEPS) / speeds[length].decodeMs));
      const prefill = of((speeds) => (1000 * lengths[1]) / speeds[lengths[1]].prefillMs);
      return [[model.name, titled(id), rate(near), rate(far), ratio(far / near, LIMITS.longDecode), rate(prefill)]];
    }),
  );
  return {
    title: "A long context, tokens per second",
    header: ["", "", "decode after 128", "decode after 4096", `share (bar ${LIMITS.longDecode})`, "prefill 4096"],
    rows,
  };
}

function webgpu(models) {
  const rows = models.flatMap(({ name, contestants }) => {
    const found = contestants.flatMap(({ id, absent, passes: { webgpu: turns } }) => {
      if (turns === undefined) return absent && known.get(id).passes?.includes("webgpu") ? [{ id, absent }] : [];
      const [[length]] = Object.entries(turns[0].speeds);
      const of = (count, ms) => median(turns.map((turn) => (1000 * count(turn)) / ms(turn.speeds[length])));
      const prefill = of(() => length, ({ prefillMs }) => prefillMs);
      const decode = of(({ steps = STEPS }) => steps, ({ decodeMs }) => decodeMs);
      return [{ id, on: turns[0].runs.on, likelihood: turns[0].speeds[length].likelihood, prefill, decode }];
    });
    const [one, other] = [WEBGPU_BAR.of, WEBGPU_BAR.over].map((id) => found.find((each) => each.id === id && !each.absent));
    const lines = found.map(({ id, on, absent, prefill, decode, likelihood }) =>
      absent
        ? [name, `${known.get(id).name}, absent: ${absent}`]
        : [name, on === undefined ? known.get(id).name : `${known.get(id).name} (${on.replace(/^WebGPU, /, "")})`, rate(prefill), slow(decode), likelihood?.toFixed(1) ?? ""],
    );
    if (!one || !other) return lines;
    const over = ["prefill", "decode"].map((what) => `${ratio(one[what] / other[what], WEBGPU_BAR[what])} (bar ${WEBGPU_BAR[what]})`);
    return [...lines, [name, "the one over the other", ...over]];
  });
  const header = ["", "", "prefill 128", "decode after 128", "mean log-probability of what it wrote"];
  return { title: "WebGPU, tokens per second", header, rows };
}

function forms(found) {
  const rows = found.map(({ name, free, formed }) => {
    // Pair by pair: both halves of one meet the machine in the same mood.
    const more = median(formed.map((ms, i) => ms / free[i])) - 1;
    return [name, median(free).toFixed(2), median(formed).toFixed(2), `${(100 * more).toFixed(1)} %${more > FORMS.bar ? MISSED : ""}`];
  });
  const header = ["", "without", "with", `more (bar ${100 * FORMS.bar} %)`];
  return { title: `A form's cost: milliseconds of a token, SmolLM2, ${FORMS.threads} thread`, header, rows };
}

function classes(found) {
  const rows = [];
  if (found !== undefined) {
    const [ours, plain] = [found.ours, found.plain].map((all) => 1000 / median(all));
    rows.push([`${found.tokens} tokens, ${CLASSES.labels.length} labels`, rate(ours), plain.toFixed(2), ratio(ours / plain, CLASSES.bar)]);
  }
  const header = ["", "classifier", "a prompt for each label", `ratio (bar ${CLASSES.bar})`];
  return { title: `Classification: texts per second, SmolLM2, ${CLASSES.threads} thread`, header, rows };
}

function embeddings(found) {
  const rows = found.map(({ id, ms, cosine, absent }) => {
    const { name, how } = EMBEDDINGS.contestants.find((one) => one.id === id);
    const title = `${name}, ${how.threads} thread${how.threads > 1 ? "s" : ""}`;
    if (absent) return [title, `absent: ${absent}`];
    const each = 1000 / median(ms) / how.threads;
    const missed = how.url && each < EMBEDDINGS.bar ? MISSED : "";
    return [title, rate(each * how.threads), `${rate(each)}${missed}`, cosine.toFixed(5)];
  });
  const header = ["", "in all", `per thread (bar of wisplm ${EMBEDDINGS.bar})`, "lowest cosine with the first"];
  return { title: "Embeddings by all-MiniLM-L6-v2: texts of 20 tokens per second", header, rows };
}

function limits(models) {
  const rows = models.flatMap((model) => {
    const found = figures(model.contestants.find(({ id }) => id === "wisplm-1"));
    if (found === undefined) return [];
    const speed = (1000 * model.bytes) / found.bytesMs;
    const most = LIMITS.loadMemory(model.bytes);
    const cell = (bytes) => `${mb(bytes)}${bytes > most ? MISSED : ""}`;
    return [
      [model.name, "load from the private file system, GB/s", ratio(speed / 1e9, LIMITS.loadGbps), `≥ ${LIMITS.loadGbps}`],
      [model.name, "memory of the load, by the system's count, MB", cell(found.loadMemory), `≤ ${mb(most)}`],
      [model.name, "memory of the load, by the engine's count, MB", cell(found.engineMemory), `≤ ${mb(most)}`],
    ];
  });
  return { title: "wisplm, 1 thread", header: ["", "", "", "bar"], rows };
}

function batched(batches) {
  const rows = batches.map(({ name, sequences, ms }) => {
    const rates = sequences.map((count, i) => (1000 * count) / median(ms[i]));
    return [name, ...rates.map(rate), ratio(rates.at(-1) / rates[0], BATCH_BAR)];
  });
  const counts = batches[0]?.sequences ?? [];
  return {
    title: "Several sequences at once, decoded tokens per second of all, one thread",
    header: ["", ...counts.map((count) => `${count}`), `${counts.at(-1)} over 1 (bar ${BATCH_BAR})`],
    rows,
  };
}

/** What a case of the micro-benchmarks is counted in, and how much of it one iteration has. */
const UNITS = {
  "mat-vec": { unit: "GB/s", amount: "bytes" },
  matmul: { unit: "Gop/s", amount: "ops" },
  stream: { unit: "GB/s", amount: "bytes" },
  dot: { unit: "Gop/s", amount: "ops" },
};

function kernels({ variant, cases }) {
  const kind = (one) => (one.kind === "ceiling" ? one.name : one.kind);
  const speed = (one) => one[UNITS[kind(one)].amount] / median(one.seconds) / 1e9;
  const ceilings = new Map(cases.filter((one) => one.kind === "ceiling").map((one) => [one.name, speed(one)]));
  const rows = cases.map((one) => {
    const most = ceilings.get(KERNELS.ceilings[one.kind]);
    const share = most === undefined ? "" : ratio(speed(one) / most, KERNELS.bar);
    return [one.name, `${speed(one).toFixed(1)} ${UNITS[kind(one)].unit}`, share];
  });
  const header = ["", "speed", `share of the tab's ceiling (bar ${KERNELS.bar})`];
  return { title: `Kernels, ${variant} SIMD, one thread`, header, rows };
}

/** The tables of a record: `{ about, sections: [{ title, header, rows }] }`. */
export function summary(record) {
  const { date, rounds, machine, versions, models, batches = [], kernels: builds = [], parts = {} } = record;
  // What was measured at another time says so.
  const dated = (pass, section) => {
    const part = parts[pass];
    if (part === undefined || part.date === date) return section;
    const count = Math.min(part.rounds, PASSES.find(({ id }) => id === pass)?.rounds ?? part.rounds);
    const when = `${part.date.slice(0, 10)}, wisplm at ${part.wisplm}, ${count} round${count > 1 ? "s" : ""}`;
    return { ...section, title: `${section.title} (${when})` };
  };
  const { cpu, cores, features } = machine;
  const about =
    `${date.slice(0, 10)}, ${cpu} (${cores} cores; ${features.join(", ")}), Chromium ${versions.chromium}; ` +
    `wisplm at ${versions.wisplm}, transformers.js ${versions["transformers.js"]}, wllama ${versions["wllama 3"]} and ${versions["wllama 2"]}, ` +
    `llama.cpp ${versions["llama.cpp"]} by node-llama-cpp ${versions["node-llama-cpp"]}. ` +
    `Medians of ${rounds} round${rounds > 1 ? "s" : ""}.`;
  const short = models.filter(({ contestants }) => contestants.some(({ passes }) => passes.short));
  const sections = [
    ...short.map((model) => dated("short", speeds(model))),
    ratios(short),
    ...short.map((model) => dated("short", loads(model))),
    dated("long", long(models)),
    dated("short", limits(short)),
    dated("webgpu", webgpu(models)),
    dated("forms", forms(record.forms ?? [])),
    dated("classes", classes(record.classes)),
    dated("embeddings", embeddings(record.embeddings ?? [])),
    dated("batches", batched(batches)),
    ...builds.map((build) => dated("kernels", kernels(build))),
  ];
  return { about, sections: sections.filter(({ rows }) => rows.length > 0) };
}
