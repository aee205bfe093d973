// The little Markdown that small models write (paragraphs, headings, lists, quotes, code, bold, italics), rendered as
// it streams. Only the block still being written is rendered again; earlier ones are left alone, and code grows by
// appending. Everything is built from text nodes, so nothing a model writes can become markup. Links stay text: a
// small model invents them.

import { element } from "./dom.js";

// The bounds keep a long line of unmatched marks from costing more than its length.
const closedMarks =
  /(`{1,2})([^`][\s\S]{0,400}?)\1|\*\*(?=\S)([\s\S]{1,800}?)\*\*|(?<![*\w])\*(?=[^\s*])([^*\n]{1,400})\*|(?<![_\w])_(?=\S)([^_\n]{1,400})_(?!\w)/g;
const openBold = /\*\*(?=\S)([^*]{1,800})$/;

function classify(line) {
  if (/^\s*$/.test(line)) return { kind: "blank" };
  const fence = /^\s*(`{3,}|~{3,})\s*([\w+#.-]*)\s*$/.exec(line);
  if (fence) return { kind: "fence", mark: fence[1], language: fence[2] };
  const heading = /^(#{1,6})\s+(.*)$/.exec(line);
  if (heading) return { kind: "heading", level: heading[1].length, text: heading[2] };
  const item = /^(\s*)(?:([-*+])|(\d{1,4})[.)])\s+(.*)$/.exec(line);
  if (item) {
    return { kind: "item", depth: Math.min(item[1].length >> 1, 3), ordered: item[3] !== undefined, start: item[3], text: item[4] };
  }
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) return { kind: "rule" };
  const quote = /^\s*>\s?(.*)$/.exec(line);
  if (quote) return { kind: "quote", text: quote[1] };
  return { kind: "text", text: line };
}

// The start of a line that may still turn out to be a mark rather than text.
const undecided = /^\s*(#{1,6}|[-*+_>]|[-*_\s]+|\d{1,4}[.)]?|`{1,}[\w+#.-]*|~{1,}\w*)?\s*$/;

// A paragraph longer than this is drawn in pieces, so that one that never ends does not cost more and more.
const piece = 1200;

export class Markdown {
  #root;
  #partial = "";
  #block = null;
  /** The line being written began in a piece that is already drawn: whatever comes first in it is text. */
  #midLine = false;

  constructor(root) {
    this.#root = root;
  }

  push(text) {
    const lines = (this.#partial + text.replace(/\r/g, "")).split("\n");
    this.#partial = lines.pop();
    for (const line of lines) {
      this.#accept(line);
      this.#midLine = false;
    }
    this.#preview(this.#partial);
    this.#divide();
  }

  finish() {
    if (this.#partial || this.#midLine) this.#accept(this.#partial);
    this.#partial = "";
    this.#preview("");
    if (this.#block?.kind !== "code") this.#draw(this.#block, this.#block?.lines, false);
  }

  #accept(line) {
    const block = this.#block;
    if (block?.kind === "code") {
      if (line.trim() === block.mark) {
        block.tail.remove();
        this.#block = null;
        return;
      }
      block.tail.data = `${line}\n`;
      block.tail = block.code.appendChild(document.createTextNode(""));
      return;
    }
    const mark = this.#midLine ? { kind: "text", text: line } : classify(line);
    if (mark.kind === "blank") {
      if (block) block.ended = true;
      return;
    }
    const target = this.#target(mark);
    if (!target) return;
    target.fresh = false;
    target.lines.push(mark);
    this.#draw(target, target.lines, true);
  }

  /** Shows a line that is not complete yet. */
  #preview(line) {
    const block = this.#block;
    if (block?.kind === "code") {
      // Held back while it may be the closing fence.
      block.tail.data = block.mark.startsWith(line.trim()) ? "" : line;
      return;
    }
    if (!this.#midLine && undecided.test(line)) return;
    const mark = this.#midLine ? { kind: "text", text: line } : classify(line);
    if (mark.kind === "fence" || mark.kind === "rule") return;
    const target = this.#target(mark);
    this.#draw(target, [...target.lines, mark], true);
  }

  /** The block a line belongs to: the open one, or a new one after it. Null when the line is a block by itself. */
  #target(mark) {
    const open = this.#block;
    if (open && continues(open, mark)) {
      open.ended = false;
      return open;
    }
    if (open) this.#draw(open, open.lines, false);
    if (mark.kind === "fence") {
      const code = element("code", {});
      const tail = code.appendChild(document.createTextNode(""));
      const node = element("pre", { tabindex: "0", role: "region", "aria-label": mark.language ? `Code, ${mark.language}` : "Code" }, code);
      this.#root.append(node);
      this.#block = { kind: "code", code, tail, mark: mark.mark };
      return null;
    }
    if (mark.kind === "rule") {
      this.#root.append(element("hr"));
      this.#block = null;
      return null;
    }
    const kind = { text: "paragraph", item: "list", heading: "heading", quote: "quote" }[mark.kind];
    const name = { paragraph: "p", list: "div", heading: mark.level <= 2 ? "h3" : "h4", quote: "blockquote" }[kind];
    const node = element(name);
    const holder = kind === "paragraph" ? node.appendChild(element("span")) : node;
    this.#root.append(node);
    // A block opened by a line that is still being written takes that line when it is complete.
    this.#block = { kind, node, holder, lines: [], fresh: true, ended: false };
    return this.#block;
  }

  /** Leaves what is drawn of a long paragraph as it is, and goes on behind it. */
  #divide() {
    const block = this.#block;
    if (block?.kind !== "paragraph" || block.ended) return;
    const length = block.lines.reduce((sum, line) => sum + line.text.length, 0);
    const cutsLine = this.#partial.length > piece;
    if (!cutsLine && length <= piece) return;
    const lines = cutsLine ? [...block.lines, { text: this.#partial }] : block.lines;
    this.#draw(block, lines, false);
    if (cutsLine) this.#partial = "";
    else block.holder.append("\n");
    this.#midLine ||= cutsLine;
    block.holder = block.node.appendChild(element("span"));
    block.lines = [];
    if (!cutsLine) this.#preview(this.#partial);
  }

  #draw(block, lines, writing) {
    if (!block || block.kind === "code" || !lines?.length) return;
    if (block.kind === "list") block.holder.replaceChildren(list(lines, writing));
    else block.holder.replaceChildren(...inline(lines.map((line) => line.text).join("\n"), writing));
  }
}

function continues(block, mark) {
  if (block.fresh) return true;
  if (block.kind === "list") return mark.kind === "item" || (mark.kind === "text" && !block.ended);
  if (block.ended) return false;
  if (block.kind === "paragraph") return mark.kind === "text";
  return block.kind === "quote" && (mark.kind === "quote" || mark.kind === "text");
}

/** Items, and the lines that go on under them, as nested lists. */
function list(lines, writing) {
  const holder = document.createDocumentFragment();
  const levels = [];
  for (const [index, line] of lines.entries()) {
    const last = writing && index === lines.length - 1;
    if (line.kind === "text") {
      levels.at(-1)?.list.lastElementChild?.append("\n", ...inline(line.text.trim(), last));
      continue;
    }
    while (levels.length && levels.at(-1).depth > line.depth) levels.pop();
    let level = levels.at(-1);
    if (!level || level.depth < line.depth || level.ordered !== line.ordered) {
      if (level && level.depth === line.depth) levels.pop();
      const parent = levels.at(-1)?.list.lastElementChild ?? holder;
      const node = line.ordered ? element("ol", { start: line.start }) : element("ul");
      parent.append(node);
      level = { depth: line.depth, ordered: line.ordered, list: node };
      levels.push(level);
    }
    level.list.append(element("li", {}, ...inline(line.text, last)));
  }
  return holder;
}

/** Text with code spans, bold and italics, as nodes. While it is being written an open `**` already counts. */
function inline(text, writing) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(closedMarks)) {
    if (match.index > at) nodes.push(text.slice(at, match.index));
    if (match[1]) nodes.push(element("code", {}, match[2]));
    else if (match[3]) nodes.push(element("strong", {}, match[3]));
    else nodes.push(element("em", {}, match[4] ?? match[5]));
    at = match.index + match[0].length;
  }
  const rest = text.slice(at);
  const open = writing ? openBold.exec(rest) : null;
  if (open) nodes.push(rest.slice(0, open.index), element("strong", {}, open[1]));
  else if (rest) nodes.push(writing ? rest.replace(/(\*{1,2}|`{1,2})$/, "") : rest);
  return nodes;
}
