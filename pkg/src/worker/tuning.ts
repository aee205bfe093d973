// What trials on a GPU have found, kept from visit to visit beside the downloads.

import { Cache, type Storage } from "./cache.js";

/** Changes when kernels do: what was found for others says nothing. */
const FORMAT = 1;

/** The places where it is kept: one for each adapter. Without a file system nothing is tried: it would be in vain. */
export interface Tunings {
  of(adapter: string): Promise<string | undefined>;
  keep(adapter: string, found: string): Promise<void>;
}

export function tunings(storage: Storage | undefined): Tunings | undefined {
  if (storage === undefined) return undefined;
  const name = (adapter: string): string => `gpu ${FORMAT} ${adapter}`;
  // A file system that fails is the downloads' business.
  const cache = (): Promise<Cache | undefined> => Cache.open(storage).catch(() => undefined);
  return {
    of: async (adapter) => (await cache())?.text(name(adapter)),
    keep: async (adapter, found) => (await cache())?.keepText(name(adapter), found).catch(() => {}),
  };
}
