// A saved session: "WISPLM-S", its version and the length of its head (32 bits each, little-endian), the head as JSON, what
// the engine has stored, and the SHA-256 of all that in 64 digits.

import { WispError } from "../errors.js";
import type { WireGone } from "../protocol.js";
import type { Binding } from "./binding.js";

const MAGIC = "WISPLM-S";
const VERSION = 1;
const START = 16;
const DIGITS = 64;
/** Longer than any conversation that a model has answered. */
const MOST_HEAD = 64 << 20;
const CHUNK = 4 << 20;

export interface Head {
  /** By which the model is known, and what it is called. */
  model: string;
  name: string;
  /** How the engine has stored it. */
  layout: string;
  messages: unknown[];
  overflow: string;
  gone: WireGone;
  defaults: unknown;
}

type Hash = Binding["Sha256"];

export function pack(head: Head, stored: Uint8Array, Sha256: Hash): Blob {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const start = new Uint8Array(START);
  start.set(new TextEncoder().encode(MAGIC));
  new DataView(start.buffer).setUint32(8, VERSION, true);
  new DataView(start.buffer).setUint32(12, json.length, true);
  const hash = new Sha256();
  const parts = [start, json, stored];
  for (const part of parts) hash.update(part);
  const digest = hash.hex();
  hash.free();
  return new Blob([...(parts as Uint8Array<ArrayBuffer>[]), digest], { type: "application/octet-stream" });
}

/** What was packed. What is stored in another layout, or is more than `most` bytes, is not read. */
export async function unpack(blob: Blob, layout: string, most: number, Sha256: Hash): Promise<{ head: Head; stored?: Uint8Array }> {
  const start = new DataView(await blob.slice(0, START).arrayBuffer());
  const magic = start.byteLength < START ? "" : String.fromCharCode(...new Uint8Array(start.buffer, 0, MAGIC.length));
  if (magic !== MAGIC) throw new WispError("invalid-argument", "the blob is no saved session");
  const version = start.getUint32(8, true);
  if (version !== VERSION) {
    throw new WispError("invalid-argument", `the session was saved in format ${version}, and this version reads ${VERSION}`);
  }
  const [headEnd, end] = [START + start.getUint32(12, true), blob.size - DIGITS];
  if (headEnd > Math.min(end, START + MOST_HEAD) || end - headEnd > most) throw damaged();
  const hash = new Sha256();
  for (let at = 0; at < end; at += CHUNK) {
    hash.update(new Uint8Array(await blob.slice(at, Math.min(end, at + CHUNK)).arrayBuffer()));
  }
  const digest = hash.hex();
  hash.free();
  if (digest !== (await blob.slice(end).text())) throw damaged();
  const head = headOf(await blob.slice(START, headEnd).text());
  if (head.layout !== layout) return { head };
  return { head, stored: new Uint8Array(await blob.slice(headEnd, end).arrayBuffer()) };
}

function headOf(json: string): Head {
  let head: Partial<Head>;
  try {
    head = JSON.parse(json) as Partial<Head>;
  } catch {
    throw damaged();
  }
  const { model, name, layout, messages, overflow, gone, defaults } = head ?? {};
  const texts = [model, name, layout, overflow].every((text) => typeof text === "string");
  const objects = Array.isArray(messages) && messages.every((message) => typeof message === "object" && message !== null);
  const counts = [gone?.messages, gone?.tokens].every((count) => Number.isSafeInteger(count) && count! >= 0);
  if (!texts || !objects || !counts || typeof defaults !== "object") throw damaged();
  return head as Head;
}

function damaged(): WispError {
  return new WispError("integrity", "the saved session is damaged, or was cut off");
}
