// Texts that a model cannot read whole, in chunks.

import type { Pace } from "./pace.js";

/**
 * What `fit` makes of the chunks of a text, in order: of what comes of cutting it in two again and again, until `fit` has an
 * answer. Blank chunks are left out. `undefined` where it has none for a single character.
 */
export async function chunks<T>(text: string, fit: (chunk: string) => T | undefined, pace: Pace): Promise<T[] | undefined> {
  const found: T[] = [];
  const ahead = [text];
  for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
    if (pace.isDue) await pace.rest();
    const chunk = next.trim();
    if (chunk === "" && found.length + ahead.length > 0) continue;
    const fitting = fit(chunk);
    if (fitting !== undefined) {
      found.push(fitting);
      continue;
    }
    const at = middle(chunk);
    if (at === 0 || at === chunk.length) return undefined;
    ahead.push(chunk.slice(at), chunk.slice(0, at));
  }
  return found;
}

// The white space nearest the middle; where the middle half has none, the end of a character.
function middle(text: string): number {
  const half = text.length >> 1;
  for (let away = 0; away < text.length >> 2; away++) {
    for (const at of [half - away, half + away]) if (/\s/.test(text.charAt(at))) return at;
  }
  const splits = /[\uD800-\uDBFF]/.test(text.charAt(half - 1)) && /[\uDC00-\uDFFF]/.test(text.charAt(half));
  return splits ? half - 1 : half;
}
