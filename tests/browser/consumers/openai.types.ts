// Compiled, never run: code that is written for OpenAI's client takes ours, in the types of the `openai` package.

import type OpenAI from "openai";
import type { Stream as TheirStream } from "openai/streaming";
import type { Model, WispError } from "wisplm";
import { APIError, createOpenAI } from "wisplm/openai";

// OpenAI's promises and streams are classes with private parts, which only themselves can be: what can be used of them.
type Stream<Item> = Pick<TheirStream<Item>, "controller" | typeof Symbol.asyncIterator>;
type Options = Pick<OpenAI.RequestOptions, "signal">;

interface Used {
  chat: {
    completions: {
      create(body: OpenAI.Chat.ChatCompletionCreateParamsNonStreaming, options?: Options): Promise<OpenAI.Chat.ChatCompletion>;
      create(body: OpenAI.Chat.ChatCompletionCreateParamsStreaming, options?: Options): Promise<Stream<OpenAI.Chat.ChatCompletionChunk>>;
    };
  };
  completions: {
    create(body: OpenAI.CompletionCreateParamsNonStreaming, options?: Options): Promise<OpenAI.Completion>;
    create(body: OpenAI.CompletionCreateParamsStreaming, options?: Options): Promise<Stream<OpenAI.Completion>>;
  };
  embeddings: {
    create(body: OpenAI.EmbeddingCreateParams, options?: Options): Promise<OpenAI.CreateEmbeddingResponse>;
  };
  models: {
    list(): Promise<Pick<OpenAI.ModelsPage, "data" | typeof Symbol.asyncIterator>> & AsyncIterable<OpenAI.Model>;
    retrieve(model: string): Promise<OpenAI.Model>;
  };
}

export function client(model: Model): Used {
  return createOpenAI(model);
}

export async function conversation(model: Model): Promise<string> {
  const { chat, embeddings } = createOpenAI({ "gpt-4o-mini": model });
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Hi" }];
  const answer = await chat.completions.create({ model: "gpt-4o-mini", messages, logprobs: true });
  const [choice] = answer.choices;
  // What was answered goes back into the conversation.
  if (choice) messages.push(choice.message);
  const pieces: string[] = [];
  const stream = await chat.completions.create({ messages, stream: true, stream_options: { include_usage: true }, top_k: 5 });
  for await (const { choices, usage } of stream) pieces.push(choices[0]?.delta.content ?? "", String(usage?.prompt_tokens_details.cached_tokens));
  const text: string | undefined = (await embeddings.create({ input: "a", encoding_format: "base64" })).data[0]?.embedding;
  // @ts-expect-error there is no such parameter
  void chat.completions.create({ messages, tempurature: 1 });
  return pieces.join("") + text;
}

export function status(error: unknown): number | undefined {
  if (!(error instanceof APIError)) return undefined;
  const typed: WispError = error;
  return typed.code === "aborted" ? undefined : error.status;
}
