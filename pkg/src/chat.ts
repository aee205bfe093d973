// Conversations as they cross to the engine: JSON, which the model's template then sees.

import { invalidArgument } from "./errors.js";
import type { ChatOptions } from "./options.js";
import type { WireToolCall } from "./protocol.js";

/** A piece of a message's text. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/**
 * A message of a conversation. The model's template sees every field, also those that are not named here, such as
 * `reasoning_content`, `tool_calls`, `tool_call_id` and `name`, in the form that the OpenAI API has.
 */
export interface Message {
  /** Who says it. Which roles there are is the template's business; these are the usual ones. */
  readonly role: "system" | "user" | "assistant" | "tool" | (string & {});
  /** What is said. Control tokens written out in it stay text. */
  readonly content?: string | readonly TextPart[] | null;
  readonly [field: string]: unknown;
}

/** A function that the model may ask for. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string;
    /** A JSON Schema of its arguments. */
    readonly parameters?: object;
  };
}

/** A text to answer from. Which fields templates show is their business; these are the usual ones. */
export interface ChatDocument {
  readonly title?: string;
  readonly text?: string;
  readonly [field: string]: unknown;
}

/** What the model asks for. Its result is a message `{ role: "tool", tool_call_id, name, content }` in the next request. */
export interface ToolCall {
  /** The call's name: the model's own, where it gives one. */
  readonly id: string;
  readonly name: string;
  readonly arguments: Record<string, unknown>;
}

/** A conversation as JSON, for the engine. */
export function conversation(messages: unknown, options: ChatOptions = {}): string {
  const { tools, toolChoice, documents, reasoning, continueAssistant } = options;
  if (!Array.isArray(messages)) throw invalidArgument("messages must be an array of { role, content }", "messages");
  try {
    return JSON.stringify(
      {
        messages,
        ...(tools !== undefined && { tools }),
        ...(toolChoice !== undefined && { toolChoice }),
        ...(documents !== undefined && { documents }),
        ...(reasoning !== undefined && { reasoning }),
        ...(continueAssistant !== undefined && { continueAssistant }),
      },
      (_, value: unknown) => (typeof value === "string" ? wellFormed(value) : value),
    );
  } catch (error) {
    throw invalidArgument(`messages cannot be written as JSON: ${(error as Error).message}`, "messages");
  }
}

/** Gives a name to calls that have none: nine letters and digits, which is what Mistral's templates want. */
export function named({ id, ...call }: WireToolCall): Required<WireToolCall> {
  return { id: id ?? Array.from({ length: 9 }, () => Math.floor(Math.random() * 36).toString(36)).join(""), ...call };
}

// Half of a surrogate pair becomes U+FFFD, as in every other text that goes to the engine.
function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}
