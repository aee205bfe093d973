// ONNX files, for peers that read those: made by `onnx/make.py` from the models that wisplm reads.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("onnx/make.py", import.meta.url));
const reasons = new Map();

/** Has one made, if it is not there; returns why that cannot be, in a line. */
export function absentOnnx(name, say) {
  if (!reasons.has(name)) {
    say(`${name}: ONNX file`);
    const { status, error, stderr } = spawnSync("python3", [script, name], { encoding: "utf8" });
    const told = error?.message ?? stderr.trim().split("\n").at(-1);
    reasons.set(name, status === 0 ? undefined : told);
  }
  return reasons.get(name);
}
