import { readFileSync } from "node:fs";

/** Bytes of memory that a process holds, and has held at most; `undefined` once it has ended. */
export function memory(process) {
  try {
    const status = readFileSync(`/proc/${process}/status`, "utf8");
    const bytes = (field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)[1]);
    return { now: bytes("VmRSS"), peak: bytes("VmHWM") };
  } catch {
    return undefined;
  }
}
