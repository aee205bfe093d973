// Parameters, each of which becomes an option of the model or is refused: none is ignored.

import type { ChatOptions } from "../index.js";
import { refused } from "./error.js";

/** What parameters come to: options of the model, and what the client itself attends to. */
export interface Settings extends ChatOptions {
  model?: string;
  n?: number;
  stream?: boolean;
  usage?: boolean;
  firstCallOnly?: boolean;
  /** How many of the likeliest tokens to give with each. */
  top?: number;
  echo?: boolean;
  dimensions?: number;
  encoding?: "float" | "base64";
}

/** What a parameter means, or, for one that cannot be honoured, why. */
export type Rule = ((value: unknown, name: string) => Settings) | string;

const NOBODY = "requests go to nobody: there is no one to tell it to";

const REFUSED: Record<string, Rule> = {
  user: NOBODY,
  safety_identifier: NOBODY,
  metadata: "nothing is stored",
  service_tier: "this device has one tier",
  prompt_cache_key: "what is kept of earlier prompts is found by their tokens",
  prompt_cache_retention: "what is kept of earlier prompts is found by their tokens",
  prompt_cache_options: "what is kept of earlier prompts is found by their tokens",
};

/** Those that chats and completions share. */
export const SAMPLING: Record<string, Rule> = {
  ...REFUSED,
  model: (value, name) => ({ model: text(value, name) }),
  temperature: (value, name) => ({ temperature: number(value, name) }),
  top_p: (value, name) => ({ topP: number(value, name) }),
  top_k: (value, name) => ({ topK: whole(value, name) }),
  min_p: (value, name) => ({ minP: number(value, name) }),
  repetition_penalty: (value, name) => ({ repeatPenalty: number(value, name) }),
  frequency_penalty: (value, name) => ({ frequencyPenalty: number(value, name) }),
  presence_penalty: (value, name) => ({ presencePenalty: number(value, name) }),
  logit_bias: (value) => ({ logitBias: value as Record<number, number> }),
  seed: (value, name) => ({ seed: whole(value, name) }),
  stop: (value) => ({ stop: (typeof value === "string" ? [value] : value) as string[] }),
  n: (value, name) => ({ n: within(value, name, 1, 128) }),
  stream: (value, name) => ({ stream: flag(value, name) }),
  stream_options: (value, name) => {
    const { include_usage = false, include_obfuscation = false, ...others } = fields(value, name);
    if (flag(include_obfuscation, `${name}.include_obfuscation`)) {
      throw refused(name, "stream_options.include_obfuscation cannot be honoured: there is no network to hide lengths from");
    }
    nothingElse(others, name);
    return { usage: flag(include_usage, `${name}.include_usage`) };
  },
};

/** The settings of a request to `of`. `null` and `undefined` leave a parameter out. */
export function settings(parameters: unknown, rules: Record<string, Rule>, of: string): Settings {
  const found: Settings = {};
  for (const [name, value] of Object.entries(fields(parameters, `the parameters of ${of}`))) {
    if (value === undefined || value === null) continue;
    const rule = Object.hasOwn(rules, name) ? rules[name]! : `there is no such parameter here`;
    if (typeof rule === "string") throw refused(name, `${name} cannot be honoured by ${of}: ${rule}. Leave it out`);
    Object.assign(found, rule(value, name));
  }
  if (found.usage !== undefined && !found.stream) throw refused("stream_options", "stream_options needs stream: true");
  return found;
}

/** A request's signal; other options of a request are refused. */
export function requestSignal(options: unknown = {}): AbortSignal | undefined {
  const { signal, ...others } = fields(options, "the options of a request");
  nothingElse(others, "request");
  if (signal === undefined || signal === null) return undefined;
  if (!(signal instanceof AbortSignal)) throw refused("signal", "signal must be an AbortSignal");
  return signal;
}

/** Settings of one of several generations: seeds follow one another. */
export function nth(options: ChatOptions, index: number): ChatOptions {
  return options.seed === undefined ? options : { ...options, seed: (options.seed + index) % 2 ** 32 };
}

export function fields(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused(name, `${name} must be an object`);
  return value as Record<string, unknown>;
}

export function nothingElse(others: Record<string, unknown>, name: string): void {
  const [odd] = Object.entries(others).find(([, value]) => value !== undefined && value !== null) ?? [];
  if (odd !== undefined) throw refused(name, `${name}.${odd} cannot be honoured: it is not known here. Leave it out`);
}

export function text(value: unknown, name: string): string {
  if (typeof value !== "string") throw refused(name, `${name} must be a string`);
  return value;
}

export function number(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw refused(name, `${name} must be a finite number`);
  return value;
}

export function whole(value: unknown, name: string): number {
  if (!Number.isSafeInteger(value)) throw refused(name, `${name} must be an integer`);
  return value as number;
}

export function within(value: unknown, name: string, least: number, most: number): number {
  const found = whole(value, name);
  if (found < least || found > most) throw refused(name, `${name} must be from ${least} to ${most}, not ${found}`);
  return found;
}

export function flag(value: unknown, name: string): boolean {
  if (typeof value !== "boolean") throw refused(name, `${name} must be true or false`);
  return value;
}
