// Log-probabilities in the two forms of the API.

import type { GenerationResult } from "./pending.js";
import type { ChoiceLogprobs, CompletionLogprobs, TokenLogprob } from "./types.js";

type Logprobs = NonNullable<GenerationResult["logprobs"]>;

/** Of a chat's choice, with `top` of the likeliest tokens at each place. */
export function ofChoice(logprobs: Logprobs, top: number): ChoiceLogprobs {
  return {
    content: logprobs.map((token) => ({ ...entry(token), top_logprobs: token.top.slice(0, top).map(entry) })),
    refusal: null,
  };
}

/** Of a completion's text, which begins at `offset`. */
export function ofCompletion(logprobs: Logprobs, top: number, offset: number): CompletionLogprobs {
  const lengths = logprobs.map(({ text }) => text.length);
  return {
    tokens: logprobs.map(({ text }) => text),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map((token) => Object.fromEntries(token.top.slice(0, top).map(({ text, logprob }) => [text, logprob]))),
    text_offset: lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, offset)),
  };
}

function entry({ text, logprob }: { text: string; logprob: number }): TokenLogprob {
  return { token: text, bytes: text.includes("\uFFFD") ? null : [...new TextEncoder().encode(text)], logprob };
}
