// Forms of answers, as users ask for them: what is bounded here is what a model would otherwise write on without end.

const text = (maxLength) => ({ type: "string", maxLength });
const object = (properties, others = {}) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
  ...others,
});

export const SCHEMAS = {
  "an object": object({ name: text(20), age: { type: "integer", minimum: 0, maximum: 120 } }),
  "an enumeration": { enum: ["red", "green", "blue"] },
  "an enumeration of kinds": { enum: [1, "one", null, true, [1, 2]] },
  "a constant": object({ kind: { const: "point" }, x: { type: "number", minimum: -1, maximum: 1 } }),
  "a flag": { type: "boolean" },
  "a date": object({ date: { type: "string", format: "date" }, time: { type: "string", format: "time", maxLength: 15 } }),
  "an address": object({ email: { type: "string", format: "email", maxLength: 30 }, ip: { type: "string", format: "ipv4" } }),
  "a UUID": { type: "string", format: "uuid" },
  "a pattern": object({ code: { type: "string", pattern: "^[A-Z]{3}-[0-9]{4}$" }, plate: { type: "string", pattern: "^(?:KA|MH|TN) [0-9]{1,2}$" } }),
  "a list": { type: "array", items: text(12), minItems: 2, maxItems: 4 },
  "a tuple": { type: "array", prefixItems: [{ type: "integer", minimum: 0, maximum: 9 }, { type: "boolean" }], items: false, minItems: 2 },
  "a list of objects": { type: "array", items: object({ item: text(10), count: { type: "integer", minimum: 1, maximum: 99 } }), minItems: 1, maxItems: 3 },
  "optional parts": { type: "object", properties: { title: text(15), note: text(15) }, required: ["title"], additionalProperties: false },
  "one of two": { anyOf: [object({ ok: { const: true }, value: { type: "integer", minimum: 0, maximum: 99 } }), object({ ok: { const: false }, error: text(20) })] },
  "text or none": object({ middle: { type: ["string", "null"], maxLength: 10 } }),
  "nested parts": object({ order: object({ customer: object({ name: text(12) }), total: { type: "number", minimum: 0, maximum: 1000 } }) }),
  "a nested list": { $ref: "#/$defs/entry", $defs: { entry: { anyOf: [{ enum: ["a", "b", "c"] }, { type: "array", items: { $ref: "#/$defs/entry" }, maxItems: 1 }] } } },
  "a tree": { $ref: "#/$defs/node", $defs: { node: object({ label: { enum: ["a", "b", "c"] }, children: { type: "array", items: { $ref: "#/$defs/leaf" }, maxItems: 2 } }), leaf: object({ label: { enum: ["x", "y"] } }) } },
  "a map": { type: "object", properties: {}, patternProperties: { "^k[0-9]$": { type: "integer", minimum: 0, maximum: 9 } }, additionalProperties: false, maxProperties: 3 },
  "several choices": object({ tags: { type: "array", items: { enum: ["new", "sale", "gone"] }, maxItems: 3 }, level: { enum: ["low", "high"] } }),
};
