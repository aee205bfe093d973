// Values out of texts, as a schema has them.

import type { Message } from "./chat.js";
import { aborted, invalidArgument, WispError } from "./errors.js";
import type { Generation } from "./generation.js";
import { text } from "./checks.js";
import { type ChatOptions, type ExtractOptions, extractOptions } from "./options.js";
import type { WireInfo } from "./protocol.js";

/** A schema of another library (Zod, Valibot, ArkType, …) that can write itself as JSON Schema: see standardschema.dev. */
export interface StandardSchema<T = unknown> {
  readonly "~standard": {
    readonly vendor: string;
    readonly validate?: (value: unknown) => unknown;
    readonly jsonSchema?: { readonly input: (options: { target: string }) => Record<string, unknown> };
    readonly types?: { readonly output: T } | undefined;
  };
}

/** The type of the values that a JSON Schema accepts, as far as a type can say it. */
export type FromSchema<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly anyOf: readonly (infer U)[] } | { readonly oneOf: readonly (infer U)[] }
      ? FromSchema<U>
      : S extends { readonly type: infer T }
        ? FromType<T extends readonly (infer U)[] ? U : T, S>
        : unknown;

type FromType<T, S> = T extends "string"
  ? string
  : T extends "number" | "integer"
    ? number
    : T extends "boolean"
      ? boolean
      : T extends "null"
        ? null
        : T extends "array"
          ? (S extends { readonly items: infer I } ? FromSchema<I> : unknown)[]
          : T extends "object"
            ? FromProperties<S>
            : unknown;

type FromProperties<S> = S extends { readonly properties: infer P }
  ? { -readonly [K in keyof P as K extends Required<S> ? K : never]: FromSchema<P[K]> } & {
      -readonly [K in keyof P as K extends Required<S> ? never : K]?: FromSchema<P[K]>;
    }
  : Record<string, unknown>;

type Required<S> = S extends { readonly required: readonly (infer R)[] } ? R : never;

/** What `extract` gives for a schema. */
export type Extracted<S> = S extends StandardSchema<infer T> ? T : FromSchema<S>;

const INSTRUCTION = "Extract the data from the text below, as JSON.";
/** Tokens of a value: enough for any that a small model gets right. */
const MAX_TOKENS = 1024;

type Ask = (messages: readonly Message[] | string, options: ChatOptions) => Generation;

export async function extract(ask: Ask, { chats, thinks }: Pick<WireInfo, "chats" | "thinks">, input: unknown, schema: unknown, options?: ExtractOptions): Promise<unknown> {
  const { instruction = INSTRUCTION, maxTokens = MAX_TOKENS, signal } = extractOptions(options);
  const json = jsonSchema(schema);
  const asked = `${instruction}\n\n${text(input, "text")}`;
  const prompt = chats ? [{ role: "user", content: asked }] : `${asked}\n\nJSON: `;
  const format = { schema: json };
  const answer = ask(prompt, { format, maxTokens, temperature: 0, ...(chats && thinks && { reasoning: false }), ...(signal && { signal }) });
  const { text: value, finishReason, usage } = await answer.result;
  if (finishReason === "abort") throw aborted(signal);
  if (finishReason === "length") {
    const { promptTokens, completionTokens } = usage;
    const end =
      completionTokens < maxTokens
        ? `when the context ended, after a prompt of ${promptTokens} tokens and ${completionTokens} of the value: shorten the text, load the model with a larger contextLength,`
        : `after ${maxTokens} tokens: raise maxTokens,`;
    throw new WispError("context-overflow", `the value was not complete ${end} or bound the schema's texts and lists`);
  }
  return validated(schema, JSON.parse(value) as unknown);
}

function isStandard(schema: unknown): schema is StandardSchema {
  const kind = typeof schema;
  return schema !== null && (kind === "object" || kind === "function") && "~standard" in (schema as object);
}

function jsonSchema(schema: unknown): object | boolean {
  if (!isStandard(schema)) return schema as object;
  const { vendor, jsonSchema } = schema["~standard"];
  if (jsonSchema === undefined) {
    const advice = `give the JSON Schema that ${vendor} makes of it, or take a version of ${vendor} with the Standard JSON Schema interface (Zod has it from 4.2 on)`;
    throw invalidArgument(`schema (of ${vendor}) cannot write itself as JSON Schema: ${advice}`, "schema");
  }
  try {
    return jsonSchema.input({ target: "draft-2020-12" });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`schema (of ${vendor}) cannot be written as JSON Schema: ${why}`, "schema");
  }
}

// A schema of a library may want more than JSON Schema can say, and turn the value into something else.
async function validated(schema: unknown, value: unknown): Promise<unknown> {
  const validate = isStandard(schema) ? schema["~standard"].validate : undefined;
  if (validate === undefined) return value;
  const result = (await validate(value)) as { value?: unknown; issues?: readonly { message: string }[] };
  if (result.issues === undefined) return result.value;
  const why = result.issues.map(({ message }) => message).join("; ");
  throw new WispError("constraint-unsatisfiable", `the value is not what the schema wants: ${why}`);
}
