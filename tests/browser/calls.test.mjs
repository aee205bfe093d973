// Answers whose form is that of a call, or comes after reasoning, by a tiny model that draws its tokens at random.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { KIND, number, parse, write } from "./gguf.mjs";
import { openBrowser, run } from "./harness.mjs";
import { fixture, openSite } from "./site.mjs";

/** Tokens that the tiny model has to spare, and what they become. */
const MARKS = {
  think: ["<think>", "</think>", "<tool_call>"],
  channel: ["<|channel>", "<channel|>", "<|tool_call>"],
};
const FAMILIES = {
  tags: { marks: MARKS.think, signs: "</think> <tool_call> <function=" },
  bare: { marks: MARKS.channel, signs: "<channel|> <|tool_call> <tool_call|>" },
};
const USER_DEFINED = 4;

const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: {
        type: "object",
        properties: {
          city: { type: "string", maxLength: 5 },
          unit: { enum: ["C", "F"] },
          days: { type: "array", items: { type: "integer", minimum: 1, maximum: 9 }, minItems: 1, maxItems: 3 },
        },
        required: ["city", "days"],
        additionalProperties: false,
      },
    },
  },
];

let site, browser, page;

before(async () => {
  site = await openSite({ isolate: false });
  for (const [name, { marks, signs }] of Object.entries(FAMILIES)) {
    const { keys, tensors } = parse(fixture("tiny/llama-0.gguf"));
    const key = (name) => keys.find((key) => key.name === `tokenizer.${name}`);
    const { items } = key("ggml.tokens").value;
    for (const [index, mark] of marks.entries()) {
      const token = items.indexOf(`<x${index + 1}>`);
      items[token] = mark;
      key("ggml.token_type").value.items[token] = number(USER_DEFINED, 4);
    }
    key("chat_template").value += `{# ${signs} #}{% if tools %}{% endif %}`;
    assert.equal(key("chat_template").kind, KIND.string);
    site.put(`/${name}.gguf`, write({ keys, tensors }));
  }
  browser = await openBrowser();
  page = await browser.open(site);
});

after(async () => {
  await browser?.close();
  await site?.close();
});

/** What a model of the family answers by each of the options, at temperature 1; `more` and `never` are texts of tokens. */
function answers(family, asked) {
  return run(
    page,
    async ({ load }, { url, asked }) => {
      const model = await load(url, { device: "wasm" });
      const answers = [];
      for (const { more = [], never = [], ...options } of asked) {
        const logitBias = {};
        for (const [texts, bias] of [[more, 100], [never, -100]]) {
          for (const text of texts) logitBias[(await model.tokenize(text, { special: true })).at(-1)] = bias;
        }
        const all = { temperature: 1, topK: 0, topP: 1, minP: 0, maxTokens: 300, logitBias, ...options };
        answers.push(await model.chat([{ role: "user", content: "Well?" }], all).result);
      }
      await model.close();
      return answers;
    },
    { url: `/${family}.gguf`, asked },
  );
}

test("calls have the form of their schema, in tags and with bare keys", async () => {
  for (const [family, { marks }] of Object.entries(FAMILIES)) {
    const asked = [1, 2, 3, 4].map((seed) => ({ tools, toolChoice: { name: "weather" }, seed, never: [marks[0]] }));
    for (const { finishReason, toolCalls, text } of await answers(family, asked)) {
      assert.equal(finishReason, "tool-calls", text);
      assert.deepEqual(toolCalls.map(({ name }) => name), ["weather"]);
      const { city, unit = "C", days, ...others } = toolCalls[0].arguments;
      assert.ok(typeof city === "string" && [...city].length <= 5 && "CF".includes(unit), JSON.stringify(toolCalls));
      assert.ok(days.length > 0 && days.every((day) => day >= 1 && day <= 9), JSON.stringify(toolCalls));
      assert.deepEqual(others, {});
    }
  }
});

test("a form comes after the reasoning, if the model reasons", async () => {
  const format = { choices: ["left", "right"] };
  for (const [family, { marks: [open, close] }] of Object.entries(FAMILIES)) {
    const reasons = { format, more: [open, close] };
    const asked = [{ ...reasons, seed: 1 }, { ...reasons, seed: 2, logprobs: 1 }, { format, never: [open], seed: 3 }];
    const [one, other, plain] = await answers(family, asked);
    for (const { text, finishReason } of [one, other, plain]) {
      assert.match(text, /^(left|right)$/);
      assert.equal(finishReason, "stop");
    }
    assert.ok(one.tokens.length > plain.tokens.length, "it has reasoned");
    assert.equal(other.logprobs.length, other.tokens.length);
  }
});

test("with a format beside tools an answer has the form, or is a call", async () => {
  const both = { tools, format: { schema: { type: "object", properties: { a: { type: "boolean" } }, required: ["a"], additionalProperties: false } } };
  for (const [family, { marks: [open, , call] }] of Object.entries(FAMILIES)) {
    // A mark that is no control token can be spelled, too.
    const asked = [{ ...both, seed: 1, never: [open, call, "<"] }, { ...both, seed: 1, never: [open, "{"], maxTokens: 900 }];
    const [answer, called] = await answers(family, asked);
    assert.equal(typeof JSON.parse(answer.text).a, "boolean");
    assert.deepEqual(answer.toolCalls, []);
    assert.equal(called.toolCalls?.[0].name, "weather", JSON.stringify(called));
  }
});

test("a call is told once it is complete, not at the end", async () => {
  const several = await run(
    page,
    async ({ load }, { url, tools }) => {
      const model = await load(url, { device: "wasm" });
      for (let seed = 1; ; seed++) {
        const options = { tools, toolChoice: "required", temperature: 1, topK: 0, topP: 1, minP: 0, maxTokens: 300, seed };
        const generation = model.chat([{ role: "user", content: "Well?" }], options);
        const types = [];
        for await (const { type } of generation.events()) types.push(type);
        const { toolCalls, finishReason, text } = await generation.result;
        if (toolCalls.length < 2 && seed < 20) continue;
        await model.close();
        return { types, calls: toolCalls.length, finishReason, text };
      }
    },
    { url: "/bare.gguf", tools },
  );
  const { types, calls, text } = several;
  assert.ok(calls >= 2, JSON.stringify(several));
  assert.equal(types.filter((type) => type === "tool-call").length, calls);
  assert.ok(types.indexOf("tool-call") < types.lastIndexOf("token"), types.join(" "));
  assert.equal(text, "");
});
