// Many mixed requests to two tiny models, sessions among them, with aborts and errors at random among them.
// `node soak.mjs 20000` runs so many, and says what became of them and of the memory.

import { fileURLToPath } from "node:url";
import { openSite } from "../site.mjs";
import { MB, openBrowser, run } from "../harness.mjs";

/**
 * Runs `requests` of them. Gives `{ outcomes, work, memory, seconds }`: how often each request came to what, whether both
 * models still do what they did before, and bytes of the page's processes after the first quarter and at the end.
 */
export async function soak(requests, seed = 1) {
  const site = await openSite();
  const browser = await openBrowser();
  try {
    const page = await browser.open(site);
    await run(page, begin, { seed });
    const began = Date.now();
    const quarter = Math.ceil(requests / 4);
    const outcomes = {};
    const memory = [];
    for (const count of [quarter, requests - quarter]) {
      const part = await run(page, async (_, { count }) => globalThis.soak(count), { count });
      for (const [name, times] of Object.entries(part)) outcomes[name] = (outcomes[name] ?? 0) + times;
      await page.requestGC();
      memory.push((await browser.resident()).own);
    }
    const seconds = (Date.now() - began) / 1000;
    const work = await run(page, async () => globalThis.stillWork());
    return { outcomes, work, memory, seconds, problems: page.problems };
  } finally {
    await browser.close();
    await site.close();
  }
}

/** In the page: loads the models, and leaves there what makes requests. */
async function begin({ load }, { seed }) {
  const llama = await load("/tiny/llama-0.gguf");
  const bert = await load("/tiny/bert-0.gguf");
  let state = seed;
  const random = (below) => (state = (state * 48271) % 2147483647) % below;
  const text = (words) => Array.from({ length: words }, () => "ab cd e f".split(" ")[random(4)]).join(" ");
  const schema = { type: "object", properties: { a: { type: "integer" }, b: { enum: ["x", "y"] } }, required: ["a", "b"] };
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const generate = (options) => llama.generate(text(1 + random(30)), { maxTokens: 1 + random(150), ignoreEos: true, ...options }).result;

  const idle = [];
  // A session is in one request at a time. Those that are left of it are for others, or closed if there are many.
  const talk = async (use) => {
    const left = idle.splice(0, 1);
    if (left.length === 0) left.push(llama.session({ overflow: ["slide", "drop-oldest"][random(2)] }));
    try {
      return await use(left[0], left);
    } finally {
      for (const session of left) await (idle.length < 4 ? idle.push(session) : session.close());
    }
  };

  const requests = {
    generate: (signal) => generate({ signal, seed: random(1000) }),
    greedy: (signal) => generate({ signal, temperature: 0, stop: ["ab"], repeatPenalty: 1.1 }),
    logprobs: (signal) => generate({ signal, logprobs: 3 }),
    schema: (signal) => llama.generate("ab", { signal, maxTokens: 60, format: { schema } }).result,
    choices: (signal) => llama.generate("ab", { signal, format: { choices: ["left", "right"] } }).result,
    async leave() {
      for await (const _ of llama.generate(text(5), { maxTokens: 150, ignoreEos: true })) if (random(4) === 0) break;
    },
    score: (signal) => llama.score(text(1 + random(60)), { signal }),
    embed: (signal) => bert.embed(Array.from({ length: 1 + random(6) }, () => text(1 + random(20))), { signal }),
    rerank: (signal) => bert.rerank(text(3), [text(4), text(9)], { signal }),
    classify: (signal) => llama.classify([text(4), text(6), text(9)], ["ab", "cd"], { signal }),
    extract: (signal) => llama.extract(text(5), schema, { signal, maxTokens: 60 }),
    tokenize: async () => llama.detokenize(await llama.tokenize(text(20))),
    option: () => generate({ topP: 7 }),
    overflow: () => llama.score("ab ".repeat(5000)),
    chat: (signal) => llama.chat([{ role: "user", content: text(5) }], { signal, maxTokens: 30 }).result,
    send: (signal) => talk((session) => session.send(text(1 + random(12)), { signal, maxTokens: 1 + random(40) }).result),
    clone: (signal) => talk((session, left) => {
      left.push(session.clone());
      return left[1].send(text(4), { signal, maxTokens: 10 }).result;
    }),
    restore: (signal) => talk(async (session, left) => {
      const blob = await session.save();
      await session.close();
      left[0] = await llama.restore(blob);
      return left[0].send(text(4), { signal, maxTokens: 10 }).result;
    }),
    writes: () => bert.generate("ab").result,
    unsatisfiable: () => llama.generate("ab", { format: { regex: "(" } }).result,
  };
  const names = Object.keys(requests);

  globalThis.soak = async (count) => {
    const outcomes = {};
    for (let done = 0; done < count; ) {
      // Up to four at once, half of which may be aborted, some before they begin.
      const together = Array.from({ length: Math.min(1 + random(4), count - done) }, async () => {
        const name = names[random(names.length)];
        const controller = new AbortController();
        const kept = random(2) === 0;
        if (!kept) void pause(random(12)).then(() => controller.abort());
        const result = await requests[name](controller.signal).catch((error) => error);
        const outcome = result instanceof Error ? (result.code ?? String(result)) : (result?.finishReason ?? "done");
        outcomes[`${name}: ${outcome}`] = (outcomes[`${name}: ${outcome}`] ?? 0) + 1;
      });
      await Promise.all(together);
      done += together.length;
    }
    return outcomes;
  };
  const sample = async () => {
    const { tokens } = await llama.generate("ab cd", { maxTokens: 20, temperature: 0, ignoreEos: true }).result;
    return JSON.stringify([tokens, Array.from(await bert.embed("ab cd"))]);
  };
  const before = await sample();
  globalThis.stillWork = async () => {
    const after = await sample();
    await llama.close();
    await bert.close();
    return after === before;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { outcomes, work, memory, seconds, problems } = await soak(Number(process.argv[2] ?? 1000), Number(process.argv[3] ?? 1));
  for (const [name, times] of Object.entries(outcomes).sort()) console.log(String(times).padStart(6), name);
  console.log(`${seconds} s; ${memory.map((bytes) => (bytes / MB).toFixed(1)).join(" and then ")} MB; the models ${work ? "work" : "do NOT work"}`, problems);
  process.exitCode = work && problems.length === 0 ? 0 : 1;
}
