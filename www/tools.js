// What a model may call in this demo: a clock and a calculator. Both run here.

/** Each stands by itself: its source is shown. */
export const functions = {
  current_time: {
    description: "The current date and time where the user is.",
    parameters: { type: "object", properties: {}, additionalProperties: false },
    run: () => new Date().toLocaleString("en", { dateStyle: "full", timeStyle: "short" }),
  },
  calculate: {
    description: "Computes with two numbers.",
    parameters: {
      type: "object",
      properties: { a: { type: "number" }, operation: { enum: ["add", "subtract", "multiply", "divide"] }, b: { type: "number" } },
      required: ["a", "operation", "b"],
      additionalProperties: false,
    },
    run: ({ a, operation, b }) => {
      const results = { add: a + b, subtract: a - b, multiply: a * b, divide: a / b };
      if (!Object.hasOwn(results, operation)) throw new Error(`there is no operation ${operation}`);
      return results[operation];
    },
  },
};

/** In the form that `chat` takes. */
export const tools = Object.entries(functions).map(([name, { description, parameters }]) => ({
  type: "function",
  function: { name, description, parameters },
}));

/** What a call gives, as text. A wrong call gives what is wrong with it, for the model to read. */
export function callTool({ name, arguments: given }) {
  try {
    if (!Object.hasOwn(functions, name)) throw new Error(`there is no tool ${name}`);
    return String(functions[name].run(given));
  } catch (error) {
    return `Error: ${error.message}`;
  }
}

/** A call and its result, as messages of the conversation. */
export function exchange(calls, outputs) {
  const named = calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: JSON.stringify(given) } }));
  return [
    { role: "assistant", content: "", tool_calls: named },
    ...calls.map(({ id, name }, i) => ({ role: "tool", tool_call_id: id, name, content: outputs[i] })),
  ];
}
