// A WispError's code, in plain words, with what to do next. The library's own message stays available: it names the
// byte, tensor or option, which is what a developer wants to know.

const plain = {
  "not-found": ["There is no such file", "Check the address. If this is the demo's own model, run “make models” where the page is served."],
  network: ["The download broke off", "Check the connection and try again: what has arrived is kept where the browser allows it."],
  aborted: ["Cancelled", "Nothing was changed."],
  integrity: ["The file is not the one expected", "Its checksum differs, so it was not used. Download it again, or from another place."],
  "unsupported-model": ["This kind of model is not supported yet", "Try a GGUF of SmolLM2, Llama, Mistral, Qwen, Gemma or Phi, or of BERT for embeddings."],
  "invalid-model": ["This is not a GGUF model that can be read", "The file may be cut short or be a web page saved under that name. Download it again."],
  "unsupported-device": ["This browser lacks something the model needs", "A current version of Chrome, Edge, Firefox or Safari has it."],
  "out-of-memory": ["The model does not fit into this tab's memory", "Close other tabs, or take a smaller model or a smaller quantization."],
  "context-overflow": ["That is longer than the model can read at once", "Shorten the text, or start a new conversation."],
  "device-lost": ["The graphics device went away", "Load the model again."],
  "invalid-argument": ["The model refused a setting", "Open Settings and restore the defaults."],
  "constraint-unsatisfiable": ["The requested form cannot be had", "Simplify the schema and try again."],
  closed: ["The model is no longer loaded", "Load it again."],
  internal: ["Something went wrong inside wisplm", "Load the model again. If it happens again, please report it with the details below."],
};

/** `{ title, advice, code, detail }` for anything that was thrown. */
export function explain(error) {
  const aborted = error?.name === "AbortError";
  const code = aborted ? "aborted" : (error?.code ?? "internal");
  const [title, advice] = plain[code] ?? plain.internal;
  return { title, advice, code, detail: String(error?.message ?? error) };
}

export const isAbort = (error) => error?.name === "AbortError" || error?.code === "aborted";
