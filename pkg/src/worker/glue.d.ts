// What wasm-bindgen generates; the build checks the generated types against `binding.ts`.
declare module "wisplm-glue" {
  import type { Binding } from "./binding.js";

  export const Gpu: Binding["Gpu"];
  export const Loader: Binding["Loader"];
  export const Sha256: Binding["Sha256"];
  export const help: Binding["help"];
  export const helperLost: Binding["helperLost"];
  export const dismissHelpers: Binding["dismissHelpers"];
  export default function init(source: { module_or_path: WebAssembly.Module }): Promise<unknown>;
}

// The same for the builds that share their memory.
declare module "wisplm-glue-threads" {
  import type { Binding } from "./binding.js";

  export const Gpu: Binding["Gpu"];
  export const Loader: Binding["Loader"];
  export const Sha256: Binding["Sha256"];
  export const help: Binding["help"];
  export const helperLost: Binding["helperLost"];
  export const dismissHelpers: Binding["dismissHelpers"];
  export default function init(source: {
    module_or_path: WebAssembly.Module;
    memory: WebAssembly.Memory;
    thread_stack_size?: number;
  }): Promise<unknown>;
}

// And for the module that follows answers of a given form.
declare module "wisplm-glue-constraint" {
  import type { Constraint } from "./form.js";

  export const Tokens: Constraint["Tokens"];
  export function __wbg_reset_state(): void;
  export default function init(source: { module_or_path: WebAssembly.Module }): Promise<unknown>;
}
