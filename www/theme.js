// Light or dark: the system's choice until the reader makes one. A classic script in the head, so that the right
// colours are there at the first paint.

(() => {
  const key = "wisplm-demo.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  }

  function show() {
    const choice = chosen();
    const dark = choice ? choice === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.getElementById("theme-toggle")?.setAttribute("aria-pressed", String(dark));
  }

  function toggle() {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(key, JSON.stringify(next));
    } catch {
      // Kept for this visit only.
    }
    show();
    document.documentElement.dataset.theme = next;
    document.getElementById("theme-toggle").setAttribute("aria-pressed", String(next === "dark"));
  }

  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme-toggle").addEventListener("click", toggle);
  });
})();
