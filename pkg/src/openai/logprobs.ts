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
  const tops = logprobs.map(({ top }) => keys(top));
  return {
    tokens: logprobs.map((token, i) => tops[i]!.get(token.token) ?? nameOf(token)),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    top_logprobs: logprobs.map(({ top }, i) => Object.fromEntries(top.map(({ token, logprob }) => [tops[i]!.get(token), logprob]))),
    text_offset: lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, offset)),
  };
}

type Token = Omit<TokenLogprob, "top">;

/** A name for each, by token: its text, unless a likelier one has that. */
function keys(tokens: readonly Token[]): Map<number, string> {
  const found = new Map<number, string>();
  for (const token of tokens) {
    const name = nameOf(token);
    found.set(token.token, [...found.values()].includes(name) ? byId(token) : name);
  }
  return found;
}

/** Parts of characters look all the same: they go by their ids, as vLLM names tokens. */
function nameOf(token: Token): string {
  return token.text.includes("\uFFFD") ? byId(token) : token.text;
}

function byId({ token }: Token): string {
  return `token_id:${token}`;
}

function entry({ text, logprob }: Token): api.TokenLogprob {
  return { token: text, bytes: text.includes("\uFFFD") ? null : [...new TextEncoder().encode(text)], logprob };
}
