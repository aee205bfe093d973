// The source of what the page does, to be copied: all of it, so that it runs as it stands.

/** How a model is loaded: from an address, or a file that has to lie beside the page. */
export function loadCode(source, device, also = "") {
  const address = (from) => JSON.stringify(from.name ?? from.url ?? String(from));
  const from = Array.isArray(source) ? `[${source.map(address).join(", ")}]` : address(source);
  const options = device === "auto" ? "" : `, { device: ${JSON.stringify(device)} }`;
  return `import { ${[also, "load"].filter(Boolean).join(", ")} } from "wisplm";

const model = await load(${from}${options});`;
}

/** A text that is carried on. */
export const completionCode = (opening, text, options) => `${opening}
const options = ${literal(options)};
for await (const delta of model.generate(${literal(text)}, options)) {
  document.body.append(delta);
}`;

/** An answer to messages; `functions` are what the model may call, at most `rounds` times. */
export const chatCode = (opening, messages, options, functions, rounds) =>
  functions === null
    ? `${opening}
const options = ${literal(options)};
const messages = ${literal(messages)};
for await (const text of model.chat(messages, options)) {
  document.body.append(text);
}`
    : `${opening}
const options = ${literal(options)};
const messages = ${literal(messages)};

const functions = {
${Object.entries(functions).map(([name, of]) => indented(`${name}: ${definition(of)},`)).join("\n")}
};
const tools = Object.entries(functions).map(([name, { description, parameters }]) => ({
  type: "function",
  function: { name, description, parameters },
}));
function result({ name, arguments: given }) {
  try {
    return String(functions[name].run(given));
  } catch (error) {
    return \`Error: \${error.message}\`;
  }
}

for (let round = 1; ; round++) {
  const enough = round === ${rounds} ? { toolChoice: "none" } : {};
  const answer = model.chat(messages, { ...options, tools, ...enough });
  for await (const event of answer.events()) {
    if (event.type === "text") document.body.append(event.text);
  }
  const { toolCalls } = await answer.result;
  if (toolCalls.length === 0) break;
  const calls = toolCalls.map(({ id, name, arguments: given }) => ({
    id,
    type: "function",
    function: { name, arguments: JSON.stringify(given) },
  }));
  messages.push({ role: "assistant", content: "", tool_calls: calls });
  for (const call of toolCalls) {
    messages.push({ role: "tool", tool_call_id: call.id, name: call.name, content: result(call) });
  }
}`;

function definition({ description, parameters, run }) {
  const parts = { description: literal(description), parameters: literal(parameters), run: unindented(String(run)) };
  return `{\n${Object.entries(parts).map(([name, part]) => indented(`${name}: ${part},`)).join("\n")}\n}`;
}

/** The longest value that stands in one line. */
const line = 80;

/** A value as source: in one line if it is short, else each of its parts in a line. */
export function literal(value) {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const array = Array.isArray(value);
  const key = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : JSON.stringify(name));
  const parts = Object.entries(value).map(([name, part]) => (array ? literal(part) : `${key(name)}: ${literal(part)}`));
  const [open, close] = array ? ["[", "]"] : ["{", "}"];
  if (parts.length === 0) return open + close;
  const short = array ? `[${parts.join(", ")}]` : `{ ${parts.join(", ")} }`;
  if (short.length <= line && !short.includes("\n")) return short;
  return `${open}\n${parts.map((part) => indented(`${part},`)).join("\n")}\n${close}`;
}

function indented(text) {
  return text.replace(/^/gm, "  ");
}

/** The source of a function, without what it was moved in by. */
function unindented(text) {
  const [first, ...rest] = text.split("\n");
  const by = Math.min(...rest.filter((line) => line.trim()).map((line) => line.search(/\S/)));
  return [first, ...rest.map((line) => line.slice(by))].join("\n");
}
