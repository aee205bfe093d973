// What goes in and comes out, in the shapes of the OpenAI API.

import type { Message } from "../index.js";

/** What may be asked for beside the parameters. */
export interface RequestOptions {
  /** Ends the request. */
  signal?: AbortSignal | null;
}

/** What a request took. */
export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** Tokens of the prompt whose keys and values were still there from before. */
  prompt_tokens_details: { cached_tokens: number };
}

/** Parameters that chats and completions share. `null` is the same as leaving one out: then the model's default counts. */
export interface SamplingParams {
  /** One of the names that `models.list()` gives. It may be left out where there is one model. */
  model?: string;
  temperature?: number | null;
  top_p?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  /** By token id. */
  logit_bias?: Readonly<Record<string, number>> | null;
  /** The i-th of `n` choices has the seed plus i. */
  seed?: number | null;
  stop?: string | readonly string[] | null;
  n?: number | null;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean; include_obfuscation?: boolean } | null;
  /** Beyond OpenAI's: `topK`. */
  top_k?: number | null;
  /** Beyond OpenAI's: `minP`. */
  min_p?: number | null;
  /** Beyond OpenAI's: `repeatPenalty`. */
  repetition_penalty?: number | null;
}

/** A message, as in `Model.chat`. A `developer` is a `system`. Content other than text is refused. */
export interface ChatCompletionMessageParam {
  readonly role: Message["role"];
  readonly content?: string | readonly { readonly type: string }[] | null;
}

/** A function. Other kinds of tools are refused. */
export interface ChatCompletionTool {
  readonly type: string;
  readonly function?: {
    readonly name: string;
    readonly description?: string;
    readonly parameters?: object;
    /** Arguments follow the schema where calls are constrained at all; see `ChatOptions.tools`. */
    readonly strict?: boolean | null;
  };
}

/** The form of the answer. */
export interface ResponseFormat {
  readonly type: "text" | "json_object" | "json_schema";
  readonly json_schema?: {
    readonly name: string;
    readonly description?: string;
    readonly schema?: object;
    /** Answers follow their schema either way. */
    readonly strict?: boolean | null;
  };
}

/** Parameters of `chat.completions.create`. One that is not named here is refused. */
export interface ChatCompletionCreateParams extends SamplingParams {
  messages: readonly ChatCompletionMessageParam[];
  max_completion_tokens?: number | null;
  /** The older name of `max_completion_tokens`. */
  max_tokens?: number | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  response_format?: ResponseFormat;
  tools?: readonly ChatCompletionTool[];
  tool_choice?: "none" | "auto" | "required" | { readonly type: string };
  /** `false` keeps the first call of an answer only. */
  parallel_tool_calls?: boolean;
  /** `"none"` switches reasoning off, where the model can; how much there is cannot be said. */
  reasoning_effort?: string | null;
}

/** A call of a function. */
export interface ChatCompletionMessageToolCall {
  id: string;
  type: "function";
  /** The arguments are JSON. */
  function: { name: string; arguments: string };
}

/** How likely a token was. */
export interface TokenLogprob {
  token: string;
  /** `null` where the token is a part of a character. */
  bytes: number[] | null;
  logprob: number;
}

/** Log-probabilities of a choice, or of a part of it. */
export interface ChoiceLogprobs {
  content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[];
  refusal: null;
}

/** Why a choice ended. */
export type FinishReason = "stop" | "length" | "tool_calls";

/** An answer. */
export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: {
    index: number;
    finish_reason: FinishReason;
    logprobs: ChoiceLogprobs | null;
    message: {
      role: "assistant";
      content: string | null;
      refusal: null;
      tool_calls?: ChatCompletionMessageToolCall[];
      /** Beyond OpenAI's: what the model thought, where it did. */
      reasoning_content?: string;
    };
  }[];
  usage: CompletionUsage;
}

/** A part of an answer. */
export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  /** Seconds since 1970. */
  created: number;
  model: string;
  /** Empty in the last chunk, where the usage was asked for. */
  choices: {
    index: number;
    delta: {
      role?: "assistant";
      content?: string;
      /** Each comes whole. */
      tool_calls?: (ChatCompletionMessageToolCall & { index: number })[];
      /** Beyond OpenAI's: more of what the model thinks. */
      reasoning_content?: string;
    };
    finish_reason: FinishReason | null;
    logprobs: ChoiceLogprobs | null;
  }[];
  usage?: CompletionUsage | null;
}

/** Parameters of `completions.create`. One that is not named here is refused. */
export interface CompletionCreateParams extends SamplingParams {
  /** Texts, or tokens taken as given; several of either make a choice each (times `n`). */
  prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[] | null;
  /** Default 16, as OpenAI's. */
  max_tokens?: number | null;
  /** Of so many of the likeliest tokens. */
  logprobs?: number | null;
  /** The prompt stands before the text. Not with `logprobs`: `Model.score` has those of a text. */
  echo?: boolean | null;
}

/** A text, or with `stream` a part of it. */
export interface Completion {
  id: string;
  object: "text_completion";
  /** Seconds since 1970. */
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage?: CompletionUsage;
}

/** One text of a completion. In a part of a stream the reason is `null` until the last one, which OpenAI's types leave out. */
export interface CompletionChoice {
  index: number;
  text: string;
  finish_reason: "stop" | "length";
  logprobs: CompletionLogprobs | null;
}

/** Log-probabilities of a text's tokens. */
export interface CompletionLogprobs {
  /** Their texts; of a token that is a part of a character, or has the text of a likelier one, `"token_id:"` and its id. */
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  /** Where each token begins, in UTF-16 units. */
  text_offset: number[];
}

/** Parameters of `embeddings.create`. One that is not named here is refused. */
export interface EmbeddingCreateParams {
  /** Texts. Tokens are refused. */
  input: string | readonly string[] | readonly number[] | readonly (readonly number[])[];
  /** One of the names that `models.list()` gives. It may be left out where there is one model. */
  model?: string;
  dimensions?: number | null;
  /** `"base64"` is of little-endian 32-bit floats. */
  encoding_format?: "float" | "base64" | null;
}

/** Vectors of texts, in their order. */
export interface CreateEmbeddingResponse<E = number[]> {
  object: "list";
  model: string;
  data: { object: "embedding"; index: number; embedding: E }[];
  usage: { prompt_tokens: number; total_tokens: number };
}

/** A model, as the API lists it. */
export interface ModelEntry {
  id: string;
  object: "model";
  /** Seconds since 1970: when the client was made. */
  created: number;
  owned_by: string;
}
