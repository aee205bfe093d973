// The form that an answer is asked to have.

import { invalidArgument } from "./errors.js";

/** The form of an answer: one of these. What cannot be had is refused before the first token. */
export type Format =
  /**
   * A JSON value that a JSON Schema accepts (with patterns, formats, enums, bounds, `$ref`s within it). Keys come in the
   * schema's order.
   */
  | { readonly schema: object | boolean }
  /** A text that a regular expression matches as a whole; without look-around and back-references. */
  | { readonly regex: string | RegExp }
  /** One of these texts. */
  | { readonly choices: readonly string[] }
  /** A context-free grammar in Lark's syntax, as llguidance reads it; its rule `start` is the answer. */
  | { readonly grammar: string };

/** A format as JSON, for the engine. */
export function formatJson(format: unknown, option = "format"): string {
  const kinds = ["schema", "regex", "choices", "grammar"];
  const entries = typeof format === "object" && format !== null ? Object.entries(format).filter(([, value]) => value !== undefined) : [];
  const [kind, value] = entries[0] ?? [];
  if (entries.length !== 1 || kind === undefined || !kinds.includes(kind)) {
    throw invalidArgument(`${option} must be an object with one of: ${kinds.join(", ")}`, option);
  }
  const name = `${option}.${kind}`;
  const isText = typeof value === "string";
  if (kind === "regex" && !isText && !(value instanceof RegExp)) throw invalidArgument(`${name} must be a RegExp or its source`, name);
  if (kind === "grammar" && !isText) throw invalidArgument(`${name} must be a string`, name);
  if (kind === "choices" && !(Array.isArray(value) && value.every((choice) => typeof choice === "string"))) {
    throw invalidArgument(`${name} must be an array of strings`, name);
  }
  if (kind === "schema" && typeof value !== "boolean" && (typeof value !== "object" || value === null || Array.isArray(value))) {
    throw invalidArgument(`${name} must be a JSON Schema: an object, true or false`, name);
  }
  try {
    return JSON.stringify({ [kind]: kind === "regex" ? source(value as string | RegExp, name) : value });
  } catch (error) {
    throw invalidArgument(`${name} cannot be written as JSON: ${(error as Error).message}`, name);
  }
}

// The expression matches all of the answer: anchors at its ends say nothing new, and are not known to the engine.
function source(regex: string | RegExp, name: string): string {
  if (regex instanceof RegExp && /[ims]/.test(regex.flags)) {
    throw invalidArgument(`${name} has flags (${regex.flags}) that cannot be had: write it without i, m and s`, name);
  }
  const text = typeof regex === "string" ? regex : regex.source;
  return text.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
}
