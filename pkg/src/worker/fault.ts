// What the engine throws, as errors of the API.

import { WispError, type WispErrorCode, type WispErrorDetails } from "../errors.js";

/** The engine has stopped in the middle of something: its memory may be in any state, and it must not be called again. */
export class Trap extends WispError {}

/** Calls the engine. */
export function call<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    throw translated(error);
  }
}

export function translated(error: unknown): WispError {
  if (error instanceof WispError) return error;
  if (isTyped(error)) {
    const given = Object.entries(error.details ?? {}).filter(([, value]) => value !== undefined && value !== null);
    return new WispError(error.code, error.message, { details: Object.fromEntries(given) as WispErrorDetails });
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new Trap("internal", `the engine failed (${message}): load the model again`, { cause: error });
}

// The engine's own errors are plain objects; a JavaScript or WebAssembly exception is not meant to come.
function isTyped(error: unknown): error is { code: WispErrorCode; message: string; details?: WispErrorDetails } {
  if (typeof error !== "object" || error === null || error instanceof Error) return false;
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === "string" && typeof message === "string";
}
