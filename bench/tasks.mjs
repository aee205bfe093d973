// What people do with a model besides letting it write: answers in a form, labels, embeddings.

import { CLASSES, EMBEDDINGS, FORMS } from "./plan.mjs";
import { absentOnnx } from "./onnx.mjs";

// Common words, each of which is one token for all models here.
const WORDS =
  `the of time people water number way could find long down day did get come made may part over new sound take only
  little work know place year live me back give most very after thing our just name good sentence man think say great
  where help through much before line right too mean old any same tell boy follow came want show also around form three
  small set put end`.split(/\s+/);

/** Texts of so many words, none like another. */
const texts = (count, words) =>
  Array.from({ length: count }, (_, i) =>
    Array.from({ length: words }, (_, k) => WORDS[(7 * i + 13 * k + ((i * k) % 11)) % WORDS.length]).join(" "),
  );

/** Runs `use(ask)` with a module of `page/` opened in a page; `ask(method, ...)` calls what it opened. */
async function inPage(stage, module, how, use) {
  const page = await stage.page(module);
  try {
    const runs = await page.evaluate(
      async ({ module, how }) => {
        const { open } = await import(`/bench/${module}.js`);
        globalThis.opened = await open(how);
        return opened.runs;
      },
      { module, how },
    );
    if (runs.threads !== how.threads) throw new Error(`runs on ${runs.threads} threads, not ${how.threads}`);
    const ask = (method, ...given) => page.evaluate(([method, given]) => opened[method](...given), [method, given]);
    const answer = await use(ask);
    await ask("close");
    return answer;
  } finally {
    await page.close();
  }
}

/** For each form, the milliseconds of a token without and with it, in pairs that were measured one after the other. */
export function measureForms(stage, rounds, say) {
  const { url, threads, tokens, pairs, forms } = FORMS;
  say("forms");
  return inPage(stage, "forms", { url, threads }, async (ask) => {
    const results = [];
    for (const { name, format } of forms) {
      const [free, formed] = [[], []];
      await ask("token", tokens, format);
      for (let pair = 0; pair < rounds * pairs; pair++) {
        free.push(await ask("token", tokens));
        formed.push(await ask("token", tokens, format));
      }
      results.push({ name, free, formed });
    }
    return results;
  });
}

/** Milliseconds of an input: by `classifier`, and with a prompt for each label, in each round. */
export function measureClasses(stage, rounds, say) {
  const { url, threads, labels, words, inputs, plain } = CLASSES;
  say("classification");
  return inPage(stage, "classes", { url, threads, labels }, async (ask) => {
    const given = texts(inputs, words);
    const tokens = await ask("count", given[0]);
    await ask("ours", given.slice(0, 2));
    const result = { tokens, ours: [], plain: [] };
    for (let round = 0; round < rounds; round++) {
      const ours = await ask("ours", given);
      const theirs = await ask("plain", given.slice(0, plain));
      // Both have the same answers, or one of them computes something else.
      const other = theirs.best.findIndex((label, i) => label !== ours.best[i]);
      if (other >= 0) throw new Error(`"${given[other]}" is ${ours.best[other]}, and with a prompt for each label ${theirs.best[other]}`);
      result.ours.push(ours.ms / inputs);
      result.plain.push(theirs.ms / plain);
    }
    return result;
  });
}

const cosine = (a, b) => {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

/** Milliseconds of a text for each contestant in each round, and how far its vectors agree with the first one's. */
export async function measureEmbeddings(stage, rounds, say) {
  const { inputs, words, compared, contestants } = EMBEDDINGS;
  const given = texts(inputs, words);
  const results = contestants.map(({ id }) => ({ id, ms: [] }));
  let reference;
  for (let round = 0; round < rounds; round++) {
    for (const [i, { id, module, how, agrees }] of contestants.entries()) {
      const result = results[i];
      result.absent ??= how.onnx && absentOnnx(how.onnx, say);
      if (result.absent) continue;
      try {
        await inPage(stage, module, how, async (ask) => {
          const vectors = await ask("vectors", given.slice(0, compared));
          reference ??= vectors;
          result.cosine = Math.min(...vectors.map((vector, k) => cosine(vector, reference[k])));
          if (!(result.cosine >= agrees)) throw new Error(`other vectors: the lowest cosine is ${result.cosine.toFixed(4)}`);
          await ask("time", given);
          result.ms.push((await ask("time", given)) / inputs);
        });
        say(`round ${round + 1} of ${rounds}  embeddings, ${id}  ${(1000 / result.ms.at(-1)).toFixed(0)} a second`);
      } catch (error) {
        result.absent = error.message.split("\n")[0].replace(/^page\.evaluate: (\w*Error: )?/, "");
        say(`embeddings, ${id}  absent: ${result.absent}`);
      }
    }
  }
  return results;
}
