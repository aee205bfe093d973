// What the page remembers between visits. Storage may be refused (private windows, sandboxed frames, a full disk),
// and then the page simply does not remember.

const prefix = "wisplm-demo.";

export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(prefix + name));
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(prefix + name, JSON.stringify(value));
  } catch {
    // Not remembered; nothing on the page depends on it.
  }
}
