// `chat.completions`: conversations.

import type { ChatOptions, GenerationResult, Message, TokenLogprob, ToolCall } from "../index.js";
import { Batch, head, usageOf } from "./batch.js";
import { APIError, refused } from "./error.js";
import { ofChoice } from "./logprobs.js";
import type { Registry } from "./models.js";
import { fields, flag, nothingElse, nth, requestSignal, type Rule, SAMPLING, settings, text, within } from "./parameters.js";
import { opened, type Stream } from "./stream.js";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionCreateParams,
  ChatCompletionMessageToolCall,
  FinishReason,
  RequestOptions,
} from "./types.js";

const RULES: Record<string, Rule> = {
  ...SAMPLING,
  // Read by itself.
  messages: () => ({}),
  max_tokens: (value, name) => ({ maxTokens: within(value, name, 0, Infinity) }),
  max_completion_tokens: (value, name) => ({ maxTokens: within(value, name, 0, Infinity) }),
  logprobs: (value, name) => (flag(value, name) ? { logprobs: 0 } : {}),
  top_logprobs: (value, name) => ({ top: within(value, name, 0, 20) }),
  response_format: (value, name) => format(fields(value, name)),
  tools: (value) => ({ tools: tools(value) }),
  tool_choice: (value) => ({ toolChoice: toolChoice(value) }),
  parallel_tool_calls: (value, name) => (flag(value, name) ? {} : { firstCallOnly: true }),
  reasoning_effort: (value, name) => {
    if (value !== "none") throw refused(name, `reasoning_effort can only be "none": how much a model reasons is its own matter`);
    return { reasoning: false };
  },
  modalities: (value, name) => {
    if (!Array.isArray(value) || value.some((modality) => modality !== "text")) throw refused(name, `modalities can only be ["text"]`);
    return {};
  },
  store: (value, name) => {
    if (flag(value, name)) throw refused(name, "store cannot be honoured: nothing is stored");
    return {};
  },
  audio: "there is no sound",
  functions: "it has been replaced by tools",
  function_call: "it has been replaced by tool_choice",
  prediction: "nothing is predicted from a text",
  verbosity: "the model takes no such wish; say it in a message",
  web_search_options: "nothing leaves this device",
  moderation: "there is no moderation",
};

type Asked = ReturnType<typeof settings>;

/** `client.chat.completions`. */
export class ChatCompletions {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Answers a conversation. With `stream: true` it resolves when the answer begins. */
  create(params: ChatCompletionCreateParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
  create(params: ChatCompletionCreateParams & { stream: true }, options?: RequestOptions): Promise<Stream<ChatCompletionChunk>>;
  create(params: ChatCompletionCreateParams, options?: RequestOptions): Promise<ChatCompletion | Stream<ChatCompletionChunk>>;
  async create(params: ChatCompletionCreateParams, options?: RequestOptions): Promise<ChatCompletion | Stream<ChatCompletionChunk>> {
    try {
      const asked = settings(params, RULES, "chat.completions.create");
      const { model: name, n = 1, stream, usage: _, firstCallOnly: __, top, ...others } = asked;
      check(asked, params);
      const { id, model } = this.#registry.find(name);
      const sampling: ChatOptions = top === undefined ? others : { ...others, logprobs: top };
      const said = messages(params.messages);
      const signal = requestSignal(options);
      const batch = new Batch(
        Array.from({ length: n }, (_, i) => (signal) => model.chat(said, { ...nth(sampling, i), signal })),
        signal,
      );
      return stream ? await opened(chunks(batch, id, asked), batch.controller) : completion(await batch.results(), id, asked);
    } catch (error) {
      throw APIError.of(error);
    }
  }
}

function check({ top, logprobs, maxTokens }: Asked, { max_tokens, max_completion_tokens }: ChatCompletionCreateParams): void {
  if (top !== undefined && logprobs === undefined) throw refused("top_logprobs", "top_logprobs needs logprobs: true");
  for (const [name, limit] of Object.entries({ max_tokens, max_completion_tokens })) {
    if ((limit ?? maxTokens) !== maxTokens) throw refused(name, "max_tokens and max_completion_tokens differ: give one of them");
  }
}

function completion(results: GenerationResult[], model: string, asked: Asked): ChatCompletion {
  return {
    ...head("chatcmpl", "chat.completion", model),
    choices: results.map((result, index) => {
      const calls = result.toolCalls.slice(0, asked.firstCallOnly ? 1 : Infinity);
      return {
        index,
        finish_reason: reason(result),
        logprobs: result.logprobs === undefined ? null : ofChoice(result.logprobs),
        message: {
          role: "assistant",
          content: result.text === "" && calls.length > 0 ? null : result.text,
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls.map(call) }),
          ...(result.reasoning !== "" && { reasoning_content: result.reasoning }),
        },
      };
    }),
    usage: usageOf(results, results.length),
  };
}

async function* chunks(batch: Batch, model: string, asked: Asked): AsyncGenerator<ChatCompletionChunk> {
  const same = head("chatcmpl", "chat.completion.chunk", model);
  const ended: Pick<GenerationResult, "usage">[] = [];
  const calls = new Map<number, number>();
  const tokens: TokenLogprob[] = [];
  type Choice = ChatCompletionChunk["choices"][number];
  const chunk = (index: number, delta: Choice["delta"], finish_reason: Choice["finish_reason"] = null): ChatCompletionChunk => {
    // Tokens come before the text that they make: the next chunk has it.
    const logprobs = tokens.length === 0 ? null : ofChoice(tokens.splice(0));
    return { ...same, choices: [{ index, delta, finish_reason, logprobs }], ...(asked.usage && { usage: null }) };
  };
  for await (const { index, event } of batch.events()) {
    if (!calls.has(index)) {
      calls.set(index, 0);
      yield chunk(index, { role: "assistant", content: "" });
    }
    if (event.type === "text") yield chunk(index, { content: event.text });
    if (event.type === "reasoning") yield chunk(index, { reasoning_content: event.text });
    if (event.type === "tool-call") {
      const place = calls.get(index)!;
      calls.set(index, place + 1);
      if (place === 0 || !asked.firstCallOnly) yield chunk(index, { tool_calls: [{ index: place, ...call(event.call) }] });
    }
    if (event.type === "token" && event.logprob !== undefined) tokens.push(event.logprob);
    if (event.type === "finish") {
      ended.push(event);
      yield chunk(index, {}, reason(event));
    }
  }
  if (asked.usage) yield { ...same, choices: [], usage: usageOf(ended, ended.length) };
}

function reason({ finishReason }: Pick<GenerationResult, "finishReason">): FinishReason {
  return finishReason === "tool-calls" ? "tool_calls" : finishReason === "length" ? "length" : "stop";
}

function call({ id, name, arguments: given }: ToolCall): ChatCompletionMessageToolCall {
  return { id, type: "function", function: { name, arguments: JSON.stringify(given) } };
}

function messages(value: unknown): Message[] {
  if (!Array.isArray(value)) throw refused("messages", "messages must be an array of { role, content }");
  return value.map((item: unknown, i) => {
    const name = `messages[${i}]`;
    const message = fields(item, name);
    if (message.role === "function") throw refused(name, `${name}: the role "function" has been replaced by "tool"`);
    for (const part of Array.isArray(message.content) ? message.content : []) {
      const { type } = fields(part, `${name}.content`);
      if (type !== "text") throw refused(name, `${name}: content of the type ${JSON.stringify(type)} cannot be read: the model reads text`);
    }
    for (const field of ["audio", "function_call", "refusal"]) {
      if ((message[field] ?? null) !== null) throw refused(name, `${name}.${field} cannot be honoured: the model reads text`);
    }
    // An answer of the API has these as `null`, and is sent back with the conversation.
    const kept = Object.entries(message).filter(([field, value]) => value !== null || field === "content");
    return { ...Object.fromEntries(kept), role: message.role === "developer" ? "system" : text(message.role, `${name}.role`) };
  });
}

function format({ type, json_schema, ...others }: Record<string, unknown>): Pick<ChatOptions, "format"> {
  const name = "response_format";
  nothingElse(others, name);
  if (type === "text") return {};
  if (type === "json_object") return { format: { schema: { type: "object" } } };
  if (type !== "json_schema") throw refused(name, `response_format.type must be "text", "json_object" or "json_schema"`);
  const { schema } = fields(json_schema, `${name}.json_schema`);
  return { format: { schema: schema === undefined ? {} : fields(schema, `${name}.json_schema.schema`) } };
}

function tools(value: unknown): NonNullable<ChatOptions["tools"]> {
  if (!Array.isArray(value)) throw refused("tools", "tools must be an array");
  return value.map((tool: unknown, i) => {
    const name = `tools[${i}]`;
    const { type, function: given } = fields(tool, name);
    if (type !== "function") throw refused(name, `${name} is of the type ${JSON.stringify(type)}: only functions can be called`);
    // The template would show the model `strict` as a part of the function.
    const { strict: _, ...shown } = fields(given, `${name}.function`);
    return { type, function: { ...shown, name: text(shown.name, `${name}.function.name`) } };
  });
}

function toolChoice(value: unknown): NonNullable<ChatOptions["toolChoice"]> {
  if (value === "auto" || value === "none" || value === "required") return value;
  const { type, function: named } = fields(value, "tool_choice");
  if (type !== "function") throw refused("tool_choice", `tool_choice of the type ${JSON.stringify(type)} cannot be honoured: name a function`);
  return { name: text(fields(named, "tool_choice.function").name, "tool_choice.function.name") };
}
