export { load } from "./load.js";
export { probe } from "./probe.js";
export { WispError } from "./errors.js";
export { fitClassifier, restoreClassifier } from "./fit/classifier.js";
export type { Embedder, FitReport, FittedClassifier } from "./fit/classifier.js";
export type { Example, FitOptions } from "./fit/options.js";
export type { SavedClassifier } from "./fit/saved.js";
export type { WispErrorCode, WispErrorDetails } from "./errors.js";
export type { DeviceReport } from "./probe.js";
export type { WebGpuReport } from "./webgpu.js";
export type { ChatDocument, Message, TextPart, Tool, ToolCall } from "./chat.js";
export type { AdapterSource, ChatOptions, ClassifyExample, ClassifyOptions, ClassifyRunOptions, EmbedOptions, ExtractOptions, GenerateOptions, LoadOptions, LoadProgress, RerankOptions, SendOptions, SessionOptions, TokenizeOptions } from "./options.js";
export type { Classifier, ClassifierTask } from "./classify.js";
export type { Extracted, FromSchema, StandardSchema } from "./extract.js";
export type { DocumentScore, InputProgress, LabelScore } from "./head.js";
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
