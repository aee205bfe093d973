// What values of options and arguments must be: each is of its kind or refused by name. Ranges are the engine's business.

import { invalidArgument, type WispError } from "./errors.js";

export type Check = (value: unknown, option: string) => void;

export function wrong(option: string, must: string, value: unknown): WispError {
  const shown = typeof value === "string" ? JSON.stringify(value) : String(value);
  return invalidArgument(`${option} must be ${must}, not ${shown.slice(0, 60)}`, option);
}

export const number: Check = (value, option) => {
  if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(option, "a finite number", value);
};

export const count: Check = (value, option) => {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw wrong(option, "an integer that is not negative", value);
};

export const positive: Check = (value, option) => {
  if (!Number.isSafeInteger(value) || (value as number) < 1) throw wrong(option, "a positive integer", value);
};

export const unsigned: Check = (value, option) => {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) >= 2 ** 32) {
    throw wrong(option, "an integer from 0 to 4294967295", value);
  }
};

export const flag: Check = (value, option) => {
  if (typeof value !== "boolean") throw wrong(option, "true or false", value);
};

export const signal: Check = (value, option) => {
  if (!(value instanceof AbortSignal)) throw wrong(option, "an AbortSignal", value);
};

export const callback: Check = (value, option) => {
  if (typeof value !== "function") throw wrong(option, "a function", value);
};

export const oneOf = (...names: string[]): Check => (value, option) => {
  if (!names.includes(value as string)) throw wrong(option, `one of ${names.map((name) => `"${name}"`).join(", ")}`, value);
};

/** What happens to a text longer than the context. */
export const long = oneOf("error", "chunk");

export const string: Check = (value, option) => {
  if (typeof value !== "string") throw wrong(option, "a string", value);
};

export const choice: Check = (value, option) => {
  if (["auto", "none", "required"].includes(value as string)) return;
  if (typeof value === "object" && value !== null) return void checked(value, { name: string }, option);
  throw wrong(option, '"auto", "none", "required" or { name }', value);
};

export const strings: Check = (value, option) => {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw wrong(option, "an array of strings", value);
};

export const objects: Check = (value, option) => {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "object" && item !== null)) {
    throw wrong(option, "an array of objects", value);
  }
};

export const biases: Check = (value, option) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(option, "an object of token id to bias", value);
  for (const [token, bias] of Object.entries(value)) {
    if (!/^\d+$/.test(token)) throw wrong(option, "an object whose keys are token ids", token);
    number(bias, `${option}[${token}]`);
  }
};

/** The options that are set, each known and of the right kind. */
export function checked<T extends object>(options: T | undefined, checks: Record<string, Check>, of: string): T {
  if (options === undefined) return {} as T;
  if (typeof options !== "object" || options === null) throw invalidArgument(`the options of ${of} must be an object`);
  const set: Record<string, unknown> = {};
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const check = Object.hasOwn(checks, option) ? checks[option] : undefined;
    if (check === undefined) {
      const known = Object.keys(checks).join(", ");
      throw invalidArgument(`${of} has no option ${JSON.stringify(option)}; it has: ${known}`, option);
    }
    check(value, option);
    set[option] = value;
  }
  return set as T;
}

/** Scales of a model's adapters. */
export function adapterScales(scales: unknown): number[] {
  if (!Array.isArray(scales)) throw wrong("scales", "an array of numbers", scales);
  scales.forEach((scale, i) => number(scale, `scales[${i}]`));
  return [...scales];
}

/** Text as text, tokens as tokens. */
export function textOrTokens(value: unknown, argument: string): string | Uint32Array {
  return typeof value === "string" ? value : tokenIds(value, argument, "a string or an array of token ids");
}

export function tokenIds(value: unknown, argument: string, must = "an array of token ids"): Uint32Array {
  const array = Array.isArray(value) || value instanceof Uint32Array || value instanceof Int32Array;
  if (!array) throw invalidArgument(`${argument} must be ${must}`, argument);
  const ids = Uint32Array.from(value as number[]);
  const odd = (value as ArrayLike<number>).length === 0 ? -1 : ids.findIndex((id, i) => id !== (value as number[])[i]);
  if (odd >= 0) throw invalidArgument(`${argument}[${odd}] is not a token id: ${String((value as unknown[])[odd])}`, argument);
  return ids;
}

export function texts(value: unknown, argument: string): string[] {
  if (!Array.isArray(value)) throw invalidArgument(`${argument} must be an array of strings`, argument);
  return value.map((item: unknown, i) => text(item, `${argument}[${i}]`));
}

export function text(value: unknown, argument: string): string {
  if (typeof value !== "string") throw invalidArgument(`${argument} must be a string`, argument);
  return value;
}
