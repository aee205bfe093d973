// What requests fail with: a `WispError` that has what handlers of OpenAI's errors look at.

import { WispError, type WispErrorCode } from "../index.js";

const STATUS: Partial<Record<WispErrorCode, number>> = {
  "invalid-argument": 400,
  "context-overflow": 400,
  "constraint-unsatisfiable": 400,
  "unsupported-model": 400,
  "not-found": 404,
};

/** The engine's names of what the API calls otherwise. */
const PARAMETER: Record<string, string> = {
  maxTokens: "max_tokens",
  topP: "top_p",
  topK: "top_k",
  minP: "min_p",
  repeatPenalty: "repetition_penalty",
  frequencyPenalty: "frequency_penalty",
  presencePenalty: "presence_penalty",
  logitBias: "logit_bias",
  logprobs: "top_logprobs",
  toolChoice: "tool_choice",
  format: "response_format",
  reasoning: "reasoning_effort",
};

/** What every request of the client fails with: a `WispError` with OpenAI's fields beside. */
export class APIError extends WispError {
  /** As an HTTP status: 400 where the request is at fault, 500 where it is not; `undefined` for one that was aborted. */
  readonly status: number | undefined;
  /** The parameter at fault, where it is known. */
  readonly param: string | null;
  readonly type: "invalid_request_error" | "server_error" | "aborted";

  constructor(code: WispErrorCode, message: string, { param, cause }: { param?: string; cause?: unknown } = {}) {
    super(code, message, { ...(param !== undefined && { details: { option: param } }), ...(cause !== undefined && { cause }) });
    this.name = "APIError";
    this.status = code === "aborted" ? undefined : (STATUS[code] ?? 500);
    this.param = param ?? null;
    this.type = code === "aborted" ? "aborted" : this.status! < 500 ? "invalid_request_error" : "server_error";
  }

  /** Anything that was thrown. */
  static of(error: unknown): APIError {
    if (error instanceof APIError) return error;
    if (!(error instanceof WispError)) return new APIError("internal", String((error as Error)?.message ?? error), { cause: error });
    const { option, key } = error.details;
    const name = option ?? key;
    const param = name === undefined ? undefined : (PARAMETER[name] ?? name);
    return new APIError(error.code, error.message, { ...(param !== undefined && { param }), cause: error });
  }
}

export function refused(param: string, message: string): APIError {
  return new APIError("invalid-argument", message, { param });
}
