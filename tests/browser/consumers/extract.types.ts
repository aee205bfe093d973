// Compiled, never run: what `extract` gives has the type of the schema, of a library's or a JSON Schema's own.

import type { Model } from "wisplm";
import { z } from "zod";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export async function use(model: Model): Promise<boolean[]> {
  const person = z.object({
    name: z.string().max(30),
    age: z.int().min(0),
    born: z.iso.date().transform((day) => new Date(day)),
    tags: z.array(z.enum(["new", "vip"])).optional(),
  });
  const found = await model.extract("text", person);
  const whole: Same<typeof found, { name: string; age: number; born: Date; tags?: ("new" | "vip")[] | undefined }> = true;
  // @ts-expect-error the value is what the library makes of it
  found.born.toUpperCase();

  const plain = await model.extract("text", {
    type: "object",
    properties: { name: { type: "string" }, level: { enum: ["low", "high"] }, ages: { type: "array", items: { type: "integer" } } },
    required: ["name", "level"],
  });
  const [name, level, ages]: [string, "low" | "high", number[] | undefined] = [plain.name, plain.level, plain.ages];
  // @ts-expect-error it need not be there
  plain.ages.length;
  // @ts-expect-error there is no such property
  plain.age;
  return [whole, name === level, ages === undefined];
}
