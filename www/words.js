// Numbers as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (n) => whole.format(n);

/** Bytes in decimal units, as file managers and download dialogs show them. */
export function bytes(n) {
  if (!Number.isFinite(n)) return "";
  if (n < 1e6) return `${count(Math.max(n / 1e3, n > 0 ? 1 : 0))} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
  return `${(n / 1e9).toFixed(n < 1e10 ? 2 : 0)} GB`;
}

/** Parameter counts: 135 M, 1.7 B. */
export function parameters(n) {
  if (!n) return "";
  return n < 1e9 ? `${count(n / 1e6)} million` : `${(n / 1e9).toFixed(1)} billion`;
}

export function duration(ms) {
  if (!Number.isFinite(ms)) return "";
  if (ms < 1000) return `${count(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export const rate = (n) => (Number.isFinite(n) ? n.toFixed(n < 100 ? 1 : 0) : "–");

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
