// A summary as text for a terminal, and as Markdown for the README.

// A column without a heading has words in it: they begin at the left.
const isText = (heading, i) => heading === "" && i < 2;

/** Rows as lines; a row of two cells under more columns has words in the second, as long as they are. */
function lines(header, rows) {
  const short = (row, i) => row.length === 2 && header.length > 2 && i === 1;
  const width = (i) => Math.max(...[header, ...rows].map((row) => (short(row, i) ? 0 : (row[i] ?? "").length)));
  const widths = header.map((_, i) => width(i));
  return [header, ...rows].map((row) =>
    row.map((cell, i) => (isText(header[i], i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ").trimEnd(),
  );
}

export function asText({ about, sections }) {
  const parts = sections.map(({ title, header, rows }) => {
    const [top, ...rest] = lines(header, rows);
    return `${title}\n\n${top}\n${"─".repeat(Math.max(...[top, ...rest].map(({ length }) => length)))}\n${rest.join("\n")}`;
  });
  return `\n${[about, ...parts].join("\n\n")}\n`;
}

export function asMarkdown({ about, sections }) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const parts = sections.map(({ title, header, rows }) => {
    const filled = rows.map((row) => [...row, ...Array(header.length - row.length).fill("")]);
    return [`**${title}**`, "", line(header), line(header.map((heading, i) => (isText(heading, i) ? "---" : "--:"))), ...filled.map(line)].join("\n");
  });
  return [about, ...parts].join("\n\n");
}
