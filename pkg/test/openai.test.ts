import assert from "node:assert/strict";
import { test } from "node:test";
import { WispError, type Generation, type GenerationEvent, type GenerationResult, type Model } from "../src/index.js";
import { APIError, createOpenAI } from "../src/openai/index.js";
import type { ChatCompletionCreateParams, CompletionCreateParams } from "../src/openai/index.js";

const TIMINGS = { promptMs: 1, firstTokenMs: 1, decodeMs: 1, promptTokensPerSecond: 1, tokensPerSecond: 1 };
const USAGE = { promptTokens: 5, cachedTokens: 2, completionTokens: 3 };
const FINISH = { type: "finish", finishReason: "stop", usage: USAGE, timings: TIMINGS } as const;
const TEXT: GenerationEvent[] = [{ type: "text", text: "Hello" }, { type: "text", text: " there" }, FINISH];
const CALLS: GenerationEvent[] = [
  { type: "reasoning", text: "hm" },
  { type: "tool-call", call: { id: "one", name: "sum", arguments: { a: 1 } } },
  { type: "tool-call", call: { id: "two", name: "sum", arguments: { a: 2 } } },
  { ...FINISH, finishReason: "tool-calls" },
];
const LOGPROBS = [
  { token: 7, text: "Hello", logprob: -0.1, top: [{ token: 7, text: "Hello", logprob: -0.1 }, { token: 8, text: "\uFFFD", logprob: -2 }] },
  { token: 9, text: " é", logprob: -0.2, top: [{ token: 9, text: " é", logprob: -0.2 }] },
];

/** Says its events, waiting before the last one if `slow`; fails with `error` instead of them. */
function generation(events: GenerationEvent[], signal: AbortSignal, extra: object, slow: boolean, error?: WispError): Generation {
  const pick = (type: string): unknown[] => events.flatMap((event) => (event.type === type ? [event] : []));
  const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  const joined = (type: string): string => (pick(type) as { text: string }[]).map(({ text }) => text).join("");
  const settle = async (): Promise<GenerationResult> => {
    if (error) throw error;
    if (slow) await stopped;
    const { type: _, ...end } = { ...(events.at(-1) as typeof FINISH), ...(signal.aborted && { finishReason: "abort" as const }) };
    const toolCalls = (pick("tool-call") as { call: GenerationResult["toolCalls"][number] }[]).map(({ call }) => call);
    return { text: joined("text"), reasoning: joined("reasoning"), tokens: [7, 9], toolCalls, ...end, ...extra };
  };
  const result = settle();
  result.catch(() => {});
  async function* read(): AsyncGenerator<GenerationEvent> {
    if (error) throw error;
    for (const event of events) {
      if (slow && event.type === "finish") await stopped;
      if (signal.aborted) throw new WispError("aborted", "the operation was aborted");
      yield event;
    }
  }
  return { result, events: read } as unknown as Generation;
}

function fake({ events = TEXT, extra = {}, slow = false, error }: { events?: GenerationEvent[]; extra?: object; slow?: boolean; error?: WispError } = {}) {
  const calls: { input: unknown; options: Record<string, unknown>; signal: AbortSignal }[] = [];
  const start = (input: unknown, { signal, ...options }: Record<string, unknown>): Generation => {
    calls.push({ input, options, signal: signal as AbortSignal });
    return generation(events, signal as AbortSignal, extra, slow, error);
  };
  const model = {
    info: { name: "Tiny", architecture: "llama" },
    chat: start,
    generate: start,
    embed: async (texts: string[], options: { dimensions?: number }) => texts.map((text) => new Float32Array([text.length, 0.5, -1]).slice(0, options.dimensions)),
    countTokens: async (text: string) => text.length,
    detokenize: async (tokens: number[]) => String.fromCharCode(...tokens),
  } as unknown as Model;
  return { client: createOpenAI(model), calls, model };
}

const messages = [{ role: "user", content: "Hi" }];
const chat = (params: object): ChatCompletionCreateParams => ({ model: "Tiny", messages, ...params });

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test("a chat is a chat completion", async () => {
  const { client, calls } = fake();
  const { id, created, ...answer } = await client.chat.completions.create({ messages });
  assert.match(id, /^chatcmpl-[0-9a-f]{32}$/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 5);
  assert.deepEqual(answer, {
    object: "chat.completion",
    model: "Tiny",
    choices: [{ index: 0, finish_reason: "stop", logprobs: null, message: { role: "assistant", content: "Hello there", refusal: null } }],
    usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8, prompt_tokens_details: { cached_tokens: 2 } },
  });
  assert.deepEqual(calls.map(({ input, options }) => ({ input, options })), [{ input: messages, options: {} }]);
});

test("parameters become the model's options", async () => {
  const { client, calls } = fake();
  const tool = { type: "function", function: { name: "sum", description: "adds", parameters: { type: "object" } } };
  const schema = { type: "object", properties: {} };
  await client.chat.completions.create(
    chat({
      ...{ temperature: 0, top_p: 0.5, top_k: 3, min_p: 0.1, repetition_penalty: 1.1, frequency_penalty: 1, presence_penalty: 2 },
      ...{ logit_bias: { 5: -100 }, seed: 2 ** 32 - 1, stop: "x", n: 2, max_completion_tokens: 9, max_tokens: 9, user: null, store: false },
      ...{ logprobs: true, top_logprobs: 2, tools: [{ ...tool, function: { ...tool.function, strict: true } }], modalities: ["text"] },
      tool_choice: { type: "function", function: { name: "sum" } },
      ...{ response_format: { type: "json_schema", json_schema: { name: "x", schema, strict: true } }, reasoning_effort: "none" },
      messages: [
        { role: "developer", content: [{ type: "text", text: "be brief" }] },
        { role: "assistant", content: null, refusal: null, tool_calls: [] },
      ],
    }),
  );
  const options = {
    ...{ temperature: 0, topP: 0.5, topK: 3, minP: 0.1, repeatPenalty: 1.1, frequencyPenalty: 1, presencePenalty: 2 },
    ...{ logitBias: { 5: -100 }, stop: ["x"], maxTokens: 9, logprobs: 2, tools: [tool], toolChoice: { name: "sum" } },
    ...{ format: { schema }, reasoning: false },
  };
  assert.deepEqual(calls.map((call) => call.options), [{ ...options, seed: 2 ** 32 - 1 }, { ...options, seed: 0 }]);
  assert.deepEqual(calls[0]!.input, [
    { role: "system", content: [{ type: "text", text: "be brief" }] },
    { role: "assistant", content: null, tool_calls: [] },
  ]);
  await client.chat.completions.create(chat({ response_format: { type: "json_object" }, tool_choice: "required" }));
  assert.deepEqual(calls.at(-1)!.options, { format: { schema: { type: "object" } }, toolChoice: "required" });
});

test("calls of tools, reasoning and log-probabilities", async () => {
  const { client } = fake({ events: CALLS });
  const [choice] = (await client.chat.completions.create({ messages })).choices;
  const call = (id: string, a: number) => ({ id, type: "function", function: { name: "sum", arguments: `{"a":${a}}` } });
  assert.deepEqual(choice!.message, {
    ...{ role: "assistant", content: null, refusal: null, reasoning_content: "hm" },
    tool_calls: [call("one", 1), call("two", 2)],
  });
  assert.equal(choice!.finish_reason, "tool_calls");
  const one = await client.chat.completions.create(chat({ parallel_tool_calls: false }));
  assert.deepEqual((one as typeof one & { choices: typeof choice[] }).choices[0]!.message.tool_calls, [call("one", 1)]);
  const chunks = await all(await client.chat.completions.create({ messages, stream: true }));
  assert.deepEqual(chunks.map(({ choices }) => choices[0]!.delta), [
    { role: "assistant", content: "" },
    { reasoning_content: "hm" },
    { tool_calls: [{ index: 0, ...call("one", 1) }] },
    { tool_calls: [{ index: 1, ...call("two", 2) }] },
    {},
  ]);

  const likely = fake({ extra: { logprobs: LOGPROBS.map((logprob) => ({ ...logprob, top: [] })) } });
  const { choices } = await likely.client.chat.completions.create({ messages, logprobs: true });
  assert.deepEqual(choices[0]!.logprobs, {
    content: [
      { token: "Hello", logprob: -0.1, bytes: [72, 101, 108, 108, 111], top_logprobs: [] },
      { token: " é", logprob: -0.2, bytes: [32, 195, 169], top_logprobs: [] },
    ],
    refusal: null,
  });
  assert.deepEqual(likely.calls[0]!.options, { logprobs: 0 });
  const topped = fake({ extra: { logprobs: LOGPROBS } });
  const top = await topped.client.chat.completions.create({ messages, logprobs: true, top_logprobs: 2 });
  assert.deepEqual(top.choices[0]!.logprobs!.content[0]!.top_logprobs[1], { token: "\uFFFD", logprob: -2, bytes: null });
  const tokens = LOGPROBS.map((logprob) => ({ type: "token" as const, id: logprob.token, logprob }));
  const streamed = fake({ events: [tokens[0]!, TEXT[0]!, tokens[1]!, TEXT[1]!, FINISH] }).client;
  const parts = await all(await streamed.chat.completions.create({ messages, logprobs: true, stream: true }));
  assert.deepEqual(parts.map(({ choices }) => choices[0]!.logprobs?.content.map(({ token }) => token)), [undefined, ["Hello"], [" é"], undefined]);
  const texts = await all(await streamed.completions.create({ prompt: "a", logprobs: 1, stream: true }));
  assert.deepEqual(texts.map(({ choices }) => choices[0]!.logprobs?.text_offset), [[0], [5], undefined]);
  const completion = await topped.client.completions.create({ prompt: "a", logprobs: 2 });
  assert.deepEqual(topped.calls.map(({ options }) => options), [{ logprobs: 2 }, { maxTokens: 16, logprobs: 2 }]);
  assert.deepEqual(completion.choices[0]!.logprobs, {
    tokens: ["Hello", " é"],
    token_logprobs: [-0.1, -0.2],
    top_logprobs: [{ Hello: -0.1, "token_id:8": -2 }, { " é": -0.2 }],
    text_offset: [0, 5],
  });
});

test("tokens that look the same have names of their own", async () => {
  const part = (token: number, logprob: number, text = "\uFFFD") => ({ token, text, logprob });
  const logprobs = [
    { ...part(3, -2), top: [part(1, -0.5), part(3, -2), part(4, -3, "a"), part(5, -4, "a")] },
    { ...part(5, -4, "a"), top: [part(4, -3, "a"), part(5, -4, "a")] },
    { ...part(6, -9, "b"), top: [] },
  ];
  const { choices } = await fake({ extra: { logprobs } }).client.completions.create({ prompt: "a", logprobs: 4 });
  const { tokens, top_logprobs } = choices[0]!.logprobs!;
  assert.deepEqual(tokens, ["token_id:3", "token_id:5", "b"]);
  assert.deepEqual(top_logprobs, [{ "token_id:1": -0.5, "token_id:3": -2, a: -3, "token_id:5": -4 }, { a: -3, "token_id:5": -4 }, {}]);
});

test("a stream has chunks as OpenAI's", async () => {
  const { client } = fake();
  const stream = await client.chat.completions.create({ messages, stream: true, n: 2, stream_options: { include_usage: true } });
  const chunks = await all(stream);
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.ok(chunks.every(({ object, model }) => object === "chat.completion.chunk" && model === "Tiny"));
  assert.deepEqual(
    chunks.map(({ choices: [choice], usage }) => [choice?.index, choice?.delta, choice?.finish_reason, usage]),
    [
      ...[0, 1].flatMap((index) => [
        [index, { role: "assistant", content: "" }, null, null],
        [index, { content: "Hello" }, null, null],
        [index, { content: " there" }, null, null],
        [index, {}, "stop", null],
      ]),
      [undefined, undefined, undefined, { prompt_tokens: 5, completion_tokens: 6, total_tokens: 11, prompt_tokens_details: { cached_tokens: 2 } }],
    ],
  );
  assert.throws(() => stream[Symbol.asyncIterator](), { code: "invalid-argument" });

  const [left, right] = (await client.chat.completions.create({ messages, stream: true })).tee();
  const [first, second] = await Promise.all([all(left), all(right)]);
  assert.equal(first.length, 4);
  assert.deepEqual(first, second);
  const [leaving, staying] = (await client.chat.completions.create({ messages, stream: true })).tee();
  for await (const _ of leaving) break;
  assert.equal((await all(staying)).length, 4);

  const lines = (await client.chat.completions.create({ messages, stream: true })).toReadableStream();
  const text = await new Response(lines).text();
  assert.deepEqual(text.trim().split("\n").map((line) => (JSON.parse(line) as typeof chunks[0]).choices[0]!.delta.content ?? ""), ["", "Hello", " there", ""]);
});

test("what is left or aborted stops", async () => {
  const { client, calls } = fake({ slow: true });
  for await (const _ of await client.chat.completions.create({ messages, stream: true, n: 2 })) break;
  assert.deepEqual(calls.map(({ signal }) => signal.aborted), [true, true]);

  const stream = await client.chat.completions.create({ messages, stream: true });
  const seen: string[] = [];
  for await (const { choices } of stream) {
    seen.push(choices[0]!.delta.content!);
    if (seen.length === 3) stream.controller.abort();
  }
  assert.deepEqual(seen, ["", "Hello", " there"]);

  const lines = (await client.chat.completions.create({ messages, stream: true })).toReadableStream();
  await lines.cancel();
  assert.equal(calls.at(-1)!.signal.aborted, true);

  const user = new AbortController();
  const whole = client.chat.completions.create({ messages }, { signal: user.signal });
  user.abort();
  await assert.rejects(whole, (error) => error instanceof APIError && error.code === "aborted" && error.status === undefined);
});

test("errors say what is at fault", async () => {
  const { client } = fake({ error: new WispError("context-overflow", "the prompt is too long", { details: { option: "maxTokens" } }) });
  for (const stream of [false, true]) {
    await assert.rejects(client.chat.completions.create(chat({ stream })), (error) => {
      assert.ok(error instanceof APIError && error instanceof WispError);
      assert.deepEqual(
        [error.name, error.status, error.code, error.param, error.type, error.message],
        ["APIError", 400, "context-overflow", "max_tokens", "invalid_request_error", "the prompt is too long"],
      );
      return true;
    });
  }
});

test("what cannot be honoured is refused by name", async () => {
  const { client, calls } = fake();
  const cases: [object, string][] = [
    [{ user: "me" }, "user"],
    [{ metadata: {} }, "metadata"],
    [{ store: true }, "store"],
    [{ service_tier: "auto" }, "service_tier"],
    [{ functions: [] }, "functions"],
    [{ audio: {} }, "audio"],
    [{ tempurature: 1 }, "tempurature"],
    [{ toString: 1 }, "toString"],
    [{ temperature: "hot" }, "temperature"],
    [{ n: 0 }, "n"],
    [{ n: 129 }, "n"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ logprobs: true, top_logprobs: 21 }, "top_logprobs"],
    [{ max_tokens: 1, max_completion_tokens: 2 }, "max_tokens"],
    [{ stream_options: { include_usage: true } }, "stream_options"],
    [{ stream: true, stream_options: { include_obfuscation: true } }, "stream_options"],
    [{ reasoning_effort: "high" }, "reasoning_effort"],
    [{ modalities: ["text", "audio"] }, "modalities"],
    [{ tools: [{ type: "custom", custom: { name: "x" } }] }, "tools[0]"],
    [{ tool_choice: { type: "allowed_tools" } }, "tool_choice"],
    [{ response_format: { type: "xml" } }, "response_format"],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema"],
    [{ messages: "Hi" }, "messages"],
    [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] }, "messages[0]"],
    [{ messages: [{ role: "function", content: "x" }] }, "messages[0]"],
    [{ messages: [{ role: "assistant", function_call: {} }] }, "messages[0]"],
  ];
  for (const [params, param] of cases) {
    await assert.rejects(client.chat.completions.create(chat(params)), { name: "APIError", status: 400, code: "invalid-argument", param }, param);
  }
  const texts: [object, string][] = [
    [{ suffix: "x" }, "suffix"],
    [{ best_of: 2 }, "best_of"],
    [{ echo: true, logprobs: 1 }, "echo"],
    [{ prompt: [] }, "prompt"],
    [{ prompt: [1, "a"] }, "prompt"],
    [{ prompt: null }, "prompt"],
  ];
  for (const [params, param] of texts) {
    await assert.rejects(client.completions.create({ prompt: "a", ...params } as CompletionCreateParams), { status: 400, param }, param);
  }
  for (const [params, param] of [[{ input: [1, 2] }, "input"], [{ input: [] }, "input"], [{ input: "a", encoding_format: "int8" }, "encoding_format"], [{ input: [""], user: "x" }, "user"]] as const) {
    await assert.rejects(client.embeddings.create(params as never), { status: 400, param }, param);
  }
  await assert.rejects(client.chat.completions.create({ messages }, { timeout: 5 } as never), { status: 400, param: "request" });
  await assert.rejects(client.chat.completions.create(chat({ model: "gpt-4o" })), { status: 404, code: "not-found", param: "model" });
  assert.equal(calls.length, 0);
});

test("completions, of several prompts", async () => {
  const { client, calls } = fake();
  const { id, created: _, ...answer } = await client.completions.create({ prompt: ["a", "b"], n: 2, echo: true, seed: 3 });
  assert.match(id, /^cmpl-/);
  const choice = (index: number, text: string) => ({ index, text, finish_reason: "stop", logprobs: null });
  assert.deepEqual(answer, {
    ...{ object: "text_completion", model: "Tiny" },
    choices: [choice(0, "aHello there"), choice(1, "aHello there"), choice(2, "bHello there"), choice(3, "bHello there")],
    usage: { prompt_tokens: 10, completion_tokens: 12, total_tokens: 22, prompt_tokens_details: { cached_tokens: 4 } },
  });
  assert.deepEqual(calls.map(({ input, options }) => [input, options]), [
    ["a", { maxTokens: 16, seed: 3 }],
    ["a", { maxTokens: 16, seed: 4 }],
    ["b", { maxTokens: 16, seed: 3 }],
    ["b", { maxTokens: 16, seed: 4 }],
  ]);
  const parts = await all(await client.completions.create({ prompt: [72, 105], max_tokens: 4, echo: true, stream: true, stream_options: { include_usage: true } }));
  assert.deepEqual(parts.map(({ choices: [choice] }) => choice?.text), ["Hi", "Hello", " there", "", undefined]);
  assert.deepEqual(parts.map(({ choices: [choice] }) => choice?.finish_reason), [null, null, null, "stop", undefined]);
  assert.deepEqual(calls.at(-1)!.input, [72, 105]);
});

test("embeddings", async () => {
  const { client } = fake();
  assert.deepEqual(await client.embeddings.create({ model: "Tiny", input: ["ab", "abc"], dimensions: 2 }), {
    object: "list",
    model: "Tiny",
    data: [{ object: "embedding", index: 0, embedding: [2, 0.5] }, { object: "embedding", index: 1, embedding: [3, 0.5] }],
    usage: { prompt_tokens: 5, total_tokens: 5 },
  });
  const { data } = await client.embeddings.create({ input: "ab", encoding_format: "base64" });
  assert.deepEqual(new Float32Array(Uint8Array.from(Buffer.from(data[0]!.embedding, "base64")).buffer), Float32Array.of(2, 0.5, -1));
});

test("models by name", async () => {
  const { model } = fake();
  const other = fake({ events: [{ type: "text", text: "other" }, FINISH] });
  const client = createOpenAI({ small: model, "gpt-4o-mini": other.model });
  const page = await client.models.list();
  assert.deepEqual(page.data.map(({ id, object, owned_by }) => [id, object, owned_by]), [["small", "model", "wisplm"], ["gpt-4o-mini", "model", "wisplm"]]);
  assert.deepEqual((await all(client.models.list())).map(({ id }) => id), ["small", "gpt-4o-mini"]);
  assert.equal((await client.models.retrieve("small")).id, "small");
  await assert.rejects(client.models.retrieve("toString"), { code: "not-found" });
  const answer = await client.chat.completions.create({ model: "gpt-4o-mini", messages });
  assert.deepEqual([answer.model, answer.choices[0]!.message.content], ["gpt-4o-mini", "other"]);
  await assert.rejects(client.chat.completions.create({ messages }), { status: 400, param: "model" });
  for (const bad of [undefined, null, {}, { a: 1 }, "x"]) assert.throws(() => createOpenAI(bad as never), { code: "invalid-argument" });
});
