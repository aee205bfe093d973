// What wasm-bindgen generates; the build checks the generated types against `binding.ts`.
declare module "wisplm-glue" {
  import type { Binding } from "./binding.js";

  export const Loader: Binding["Loader"];
  export const Sha256: Binding["Sha256"];
  export default function init(source: { module_or_path: WebAssembly.Module }): Promise<unknown>;
}
