export { load } from "./load.js";
export { probe } from "./probe.js";
export { WispError } from "./errors.js";
export type { WispErrorCode, WispErrorDetails } from "./errors.js";
export type { DeviceReport } from "./probe.js";
export type { WebGpuReport } from "./webgpu.js";
export type { Message, TextPart, Tool, ToolCall } from "./chat.js";
export type { ChatOptions, EmbedOptions, GenerateOptions, LoadOptions, LoadProgress, SendOptions, SessionOptions, TokenizeOptions } from "./options.js";
export type { Format } from "./format.js";
export type { ModelFile, ModelSource, RemoteFile } from "./source.js";
export type { Model, ModelInfo, Score } from "./model.js";
export type { Session } from "./session.js";
export type {
  Generation,
  GenerationEvent,
  GenerationResult,
  GenerationTimings,
  GenerationUsage,
  TokenLogprob,
} from "./generation.js";
