// What trials on a GPU have found, kept from visit to visit beside the downloads.

import { type Storage, Texts } from "../storage.js";

/** Changes when kernels do: what was found for others says nothing. */
const FORMAT = 1;

/** The places where it is kept: one for each adapter. Without a file system nothing is tried: it would be in vain. */
export interface Tunings {
  of(adapter: string): Promise<string | undefined>;
  keep(adapter: string, found: string): Promise<void>;
}

export function tunings(storage: Storage | undefined): Tunings | undefined {
  if (storage === undefined) return undefined;
  const texts = new Texts(storage);
  const name = (adapter: string): string => `gpu ${FORMAT} ${adapter}`;
  return { of: (adapter) => texts.get(name(adapter)), keep: (adapter, found) => texts.keep(name(adapter), found) };
}
