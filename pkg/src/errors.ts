// One error type for everything, the same on the page as in the worker.

/** The stable names of what can go wrong. */
export type WispErrorCode =
  | "not-found"
  | "network"
  | "aborted"
  | "integrity"
  | "unsupported-model"
  | "invalid-model"
  | "unsupported-device"
  | "out-of-memory"
  | "context-overflow"
  | "device-lost"
  | "invalid-argument"
  | "constraint-unsatisfiable"
  | "closed"
  | "internal";

/** Where it went wrong, as far as it is known. */
export interface WispErrorDetails {
  /** Byte offset in the model file. */
  readonly offset?: number;
  /** Name of a tensor of the model file. */
  readonly tensor?: string;
  /** Key of the model file's metadata. */
  readonly key?: string;
  /** Name of an option. */
  readonly option?: string;
  /** Address of a file. */
  readonly url?: string;
  /** HTTP status of an answer. */
  readonly status?: number;
}

/** What every function of this package throws or rejects with. */
export class WispError extends Error {
  /** The stable name of what went wrong: decide by this one. */
  readonly code: WispErrorCode;
  /** Where it went wrong. */
  readonly details: WispErrorDetails;

  constructor(
    code: WispErrorCode,
    message: string,
    options: { details?: WispErrorDetails; cause?: unknown } = {},
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "WispError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** A `WispError` as it crosses between worker and page: a class does not survive `postMessage`. */
export interface WireError {
  code: WispErrorCode;
  message: string;
  details: WispErrorDetails;
  cause?: { name: string; message: string };
}

export function toWire(error: WispError): WireError {
  const { code, message, details, cause } = error;
  if (cause === undefined) return { code, message, details };
  const { name, message: text } = cause instanceof Error ? cause : { name: "Error", message: String(cause) };
  return { code, message, details, cause: { name, message: text } };
}

export function fromWire({ code, message, details, cause }: WireError): WispError {
  if (cause === undefined) return new WispError(code, message, { details });
  const rebuilt = new Error(cause.message);
  rebuilt.name = cause.name;
  return new WispError(code, message, { details, cause: rebuilt });
}

export function invalidArgument(message: string, option?: string): WispError {
  return new WispError("invalid-argument", message, option === undefined ? {} : { details: { option } });
}

/** What an operation ends with when its signal fires; the signal's own reason is the cause. */
export function aborted(signal?: AbortSignal): WispError {
  return new WispError("aborted", "the operation was aborted", signal === undefined ? {} : { cause: signal.reason });
}
