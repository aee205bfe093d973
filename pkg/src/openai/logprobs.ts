// Log-probabilities in the two forms of the API.

import type { TokenLogprob } from "../index.js";
import type * as api from "./types.js";

/** Of a chat's choice. */
export function ofChoice(logprobs: readonly TokenLogprob[]): api.ChoiceLogprobs {
  return {
    content: logprobs.map((token) => ({ ...entry(token), top_logprobs: token.top.map(entry) })),
    refusal: null,
  };
}

/** Of a completion's text, which begins at `offset`. */
export function ofCompletion(logprobs: readonly TokenLogprob[], offset: number): api.CompletionLogprobs {
  const lengths = logprobs.map(({ text }) => text.length);
  return {
    tokens: logprobs.map(({ text }) => text),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map((token) => Object.fromEntries(token.top.map(({ text, logprob }) => [text, logprob]))),
    text_offset: lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, offset)),
  };
}

function entry({ text, logprob }: Omit<TokenLogprob, "top">): api.TokenLogprob {
  return { token: text, bytes: text.includes("\uFFFD") ? null : [...new TextEncoder().encode(text)], logprob };
}
