// Small helpers over the DOM. Text always goes in as text nodes: nothing a model or a file says is ever markup.

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a string child becomes a text node. */
export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

const svg = "http://www.w3.org/2000/svg";

/** One of the page's icons, as decoration. */
export function icon(name) {
  const node = document.createElementNS(svg, "svg");
  node.setAttribute("class", "icon");
  node.setAttribute("aria-hidden", "true");
  node.append(document.createElementNS(svg, "use"));
  node.firstChild.setAttribute("href", `#icon-${name}`);
  return node;
}

/** Fills a `<dl>` with name/value pairs; pairs without a value are left out. */
export function fillFacts(list, pairs) {
  list.replaceChildren(
    ...pairs
      .filter(([, value]) => value !== undefined && value !== null && value !== "")
      .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** Opens a dialog from a button; clicking its backdrop or a `[data-close]` inside closes it again. */
export function wireDialog(dialog, opener, beforeOpen) {
  opener.addEventListener("click", () => {
    beforeOpen?.();
    if (!dialog.open) dialog.showModal();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
  });
}
