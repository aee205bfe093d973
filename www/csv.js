// Tables as text: commas, semicolons or tabs, quotes where a cell has one of these (RFC 4180).

/** Rows of cells. What separates them is what the first line has most of. */
export function parseTable(text) {
  const first = text.slice(0, text.search(/[\r\n]|$/));
  const [separator] = [",", ";", "\t"].map((mark) => [mark, first.split(mark).length]).sort((a, b) => b[1] - a[1])[0];
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  const endCell = () => {
    row.push(cell);
    cell = "";
  };
  const endRow = () => {
    endCell();
    if (row.some((value) => value.trim() !== "")) rows.push(row);
    row = [];
  };
  for (let i = text.charCodeAt(0) === 0xfeff ? 1 : 0; i < text.length; i++) {
    const mark = text[i];
    if (quoted) {
      if (mark !== '"') cell += mark;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (mark === '"' && cell === "") quoted = true;
    else if (mark === separator) endCell();
    else if (mark === "\n") endRow();
    else if (mark !== "\r") cell += mark;
  }
  endRow();
  return rows;
}

/** The column with the longest texts: the one that is worth reading. */
export function wordiest(rows) {
  const lengths = [];
  for (const row of rows) row.forEach((cell, i) => (lengths[i] = (lengths[i] ?? 0) + cell.length));
  return lengths.indexOf(Math.max(...lengths));
}

/** A table as text, in a form that spreadsheets open. */
export function formatTable(rows) {
  // A cell that begins like a formula would be run by a spreadsheet: the apostrophe makes it text.
  const safe = (cell) => (/^[=+@\t\r]|^-(?!\d)/.test(cell) ? `'${cell}` : cell);
  const quote = (cell) => (/[",\n\r]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return `${rows.map((row) => row.map((cell) => quote(safe(String(cell)))).join(",")).join("\r\n")}\r\n`;
}

/** Has the browser save a text under a name. */
export function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
