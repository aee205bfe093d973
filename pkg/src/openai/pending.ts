import type * as api from "../index.js";
export interface ChatOptions extends api.ChatOptions {
  format?: { schema: object } | { regex: string } | { choices: string[] } | { grammar: string };
  logprobs?: number;
  toolChoice?: "auto" | "none" | "required" | { name: string };
}
export interface GenerationResult extends api.GenerationResult {
  logprobs?: { token: number; text: string; logprob: number; top: { token: number; text: string; logprob: number }[] }[];
}
