// The demo's pages beside the chat, as a visitor uses them.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { demoMounts, modelsFolder, serve } from "../../www/serve.mjs";
import { openBrowser, report } from "./harness.mjs";

let server, browser;

before(async () => {
  for (const file of ["SmolLM2-135M-Instruct.Q4_1.gguf", "all-MiniLM-L6-v2.Q8_0.gguf"]) {
    const model = join(modelsFolder(), file);
    assert.ok(existsSync(model), `${model} is missing: run \`make models\``);
  }
  server = await serve({ mounts: demoMounts() });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const button = (page, name) => page.getByRole("button", { name, exact: false });

async function fitsTheScreen(page) {
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(sideways <= 0, `the page is ${sideways} px too wide`);
}

/** A page of the demo with the model that it offers there. */
async function openView(view, [width, height]) {
  const page = await browser.open(server, { path: `#${view}` });
  await page.setViewportSize({ width, height });
  await button(page, /load the model/i).click();
  await page.getByRole("region", { name: new RegExp(view, "i") }).waitFor({ timeout: 60_000 });
  return page;
}

const code = async (page) => {
  await page.getByText("The code for this").filter({ visible: true }).click();
  return page.locator(".snippet code").filter({ visible: true }).textContent();
};

test("search by meaning, and classes by example, with the embedding model", { timeout: 120_000 }, async (t) => {
  const page = await openView("search", [390, 844]);
  await page.getByRole("searchbox").fill("How do I get my money back?");
  await page.getByRole("searchbox").press("Enter");
  const first = page.locator(".ranking li").first();
  await first.waitFor();
  assert.match(await first.textContent(), /Returns are free/);
  assert.match(await page.getByRole("status").filter({ visible: true }).textContent(), /8 texts embedded/);
  await page.getByRole("searchbox").fill("discount for pupils");
  await button(page, /^search$/i).click();
  await first.filter({ hasText: "Students" }).waitFor();
  assert.match(await page.getByRole("status").filter({ visible: true }).textContent(), /^Ranked in/, "documents are embedded once");
  assert.match(await code(page), /model\.embed\(documents\)/);
  await fitsTheScreen(page);

  await page.getByRole("link", { name: "Extract" }).click();
  await page.getByRole("heading", { name: /takes a model that writes/i }).waitFor();
  assert.equal(await button(page, /load smollm2/i).isVisible(), true);

  await page.getByRole("link", { name: "Classify" }).click();
  const table = 'id,message\n1,"The app crashes, and ""Save"" does nothing."\n2,Where is my parcel?\n3,"=1+1; an odd\nmessage"\n';
  await page.locator("input[accept*=csv]").setInputFiles({ name: "messages.csv", mimeType: "text/csv", buffer: Buffer.from(table) });
  const texts = page.getByRole("textbox", { name: "Texts" });
  const messages = 'The app crashes, and "Save" does nothing.\nWhere is my parcel?\n=1+1; an odd message';
  // The file is read, and then shown.
  await page.waitForFunction(([box, text]) => box.value === text, [await texts.elementHandle(), messages]);
  await button(page, /^classify$/i).click();
  const status = page.getByRole("status").filter({ visible: true, hasText: "cross-validated" });
  await status.waitFor({ timeout: 60_000 });
  report(t, await status.textContent());
  const rows = page.locator("tbody tr");
  assert.equal(await rows.count(), 3);
  assert.match(await rows.nth(0).textContent(), /technical problem\d+ %/);
  assert.match(await rows.nth(1).textContent(), /delivery\d+ %/);
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, /export/i).click()]);
  const lines = readFileSync(await download.path(), "utf8").split("\r\n");
  assert.equal(lines[0], "text,class,billing,delivery,praise,technical problem");
  assert.match(lines[1], /^"The app crashes, and ""Save"" does nothing\.",technical problem(,0\.\d{4}){4}$/);
  assert.match(lines[3], /^'=1\+1; an odd message,/, "nothing that a spreadsheet would compute");
  assert.match(await code(page), /fitClassifier\(model, examples\)/);
  await fitsTheScreen(page);

  await page.getByRole("textbox", { name: "Examples" }).fill("no class here");
  await button(page, /^classify$/i).click();
  const alert = page.getByRole("alert").filter({ visible: true });
  await alert.waitFor();
  assert.match(await alert.textContent(), /“class: text”/);
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("classes and JSON, with the model that writes", { timeout: 120_000 }, async (t) => {
  const page = await openView("classify", [1280, 800]);
  await button(page, /^classify$/i).click();
  const status = page.getByRole("status").filter({ visible: true, hasText: "a second" });
  await status.waitFor({ timeout: 60_000 });
  report(t, await status.textContent());
  assert.equal(await page.locator("tbody tr").count(), 6);
  assert.match(await code(page), /model\.classify\(texts, labels\)/);

  // Enough texts that it can be stopped among them.
  await page.getByRole("textbox", { name: "Texts" }).fill("Where is my parcel?\n".repeat(300));
  await button(page, /^classify$/i).click();
  await page.locator("tbody tr").first().waitFor();
  await button(page, /^stop$/i).click();
  await page.getByRole("status").filter({ visible: true, hasText: "Stopped." }).waitFor();
  assert.ok((await page.locator("tbody tr").count()) < 300, "what was done is kept, and no more comes");

  await page.getByRole("link", { name: "Extract" }).click();
  await button(page, /^extract$/i).click();
  await page.getByRole("status").filter({ visible: true, hasText: /^In / }).waitFor({ timeout: 60_000 });
  const json = await page.getByRole("region", { name: "JSON" }).textContent();
  report(t, json.replace(/\s+/g, " "));
  const value = JSON.parse(json);
  assert.deepEqual(Object.keys(value), ["name", "email", "product", "urgency"]);
  assert.ok(["low", "medium", "high"].includes(value.urgency));
  await page.getByRole("textbox", { name: "Schema" }).fill("{");
  await button(page, /^extract$/i).click();
  const alert = page.getByRole("alert").filter({ visible: true, hasText: "The schema is not JSON" });
  await alert.waitFor();
  await page.getByRole("textbox", { name: "Schema" }).fill('{ "type": "number", "minimum": 2, "maximum": 1 }');
  await button(page, /^extract$/i).click();
  await page.getByRole("alert").filter({ visible: true, hasText: "cannot be had" }).waitFor();
  assert.deepEqual(page.problems, []);
  await page.close();
});

// A model whose template has tools is too large for a test: this one calls both of the demo's, and repeats what it is told.
const CALLER = `
  const info = { architecture: "llama", name: "Caller", parameters: 1e9, quantization: "F32", contextLength: 4096, trainedContextLength: 4096,
    vocabSize: 9, device: { kind: "wasm", description: "none", threads: 1, features: [] }, memory: { weights: 1, kv: 1, peak: 2 }, notices: [], adapters: [] };
  const end = { usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 1 }, timings: { firstTokenMs: 1, tokensPerSecond: 1, promptTokensPerSecond: 1 } };
  const asked = [
    { id: "one", name: "calculate", arguments: { a: 6, operation: "multiply", b: 7 } },
    { id: "two", name: "calculate", arguments: { a: 1, operation: "conjure", b: 1 } },
  ];
  const chat = (messages, { tools, signal, ...options }) => {
    globalThis.told = options;
    const results = messages.filter(({ role }) => role === "tool").map(({ content }) => content);
    const calls = results.length === 0 && tools?.length === 2 ? asked : [];
    const text = calls.length > 0 ? "" : "It says: " + results.join("; ");
    const result = { text, tokens: [], toolCalls: calls, reasoning: "", finishReason: calls.length > 0 ? "tool-calls" : "stop", ...end };
    return { result: Promise.resolve(result), async *events() { if (text) yield { type: "text", text }; yield { type: "finish", ...result }; } };
  };
  export const load = async () => ({ info, chat, countTokens: async () => 9, close: async () => {} });
  export const probe = async () => { throw new Error("none"); };`;

test("a tool that the model calls is run, and shown", { timeout: 60_000 }, async () => {
  const page = await browser.open(server);
  await page.route("**/pkg/index.js", (route) => route.fulfill({ contentType: "text/javascript", body: CALLER }));
  await page.reload();
  await button(page, /load the model/i).click();
  await button(page, /^settings$/i).click();
  await page.getByRole("checkbox", { name: "Tools" }).check();
  await button(page, /^done$/i).click();
  await page.getByRole("textbox", { name: "Message" }).fill("What is six times seven?");
  await page.keyboard.press("Enter");
  const answer = page.getByRole("main").getByRole("listitem").last();
  await answer.filter({ hasText: "It says: 42; Error: there is no operation conjure" }).waitFor();
  const calls = await answer.locator(".turn-call").allTextContents();
  assert.deepEqual(calls, ['Called calculate({"a":6,"operation":"multiply","b":7}) → 42', 'Called calculate({"a":1,"operation":"conjure","b":1}) → Error: there is no operation conjure']);
  await button(page, /try again/i).click();
  await answer.filter({ hasText: "It says: 42" }).waitFor();
  assert.equal(await answer.locator(".turn-call").count(), 2);
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("sampling that is switched off is off", { timeout: 60_000 }, async () => {
  const page = await browser.open(server);
  await page.route("**/pkg/index.js", (route) => route.fulfill({ contentType: "text/javascript", body: CALLER }));
  const off = { temperature: 1, topP: 1, topK: 0, minP: 0, repeatPenalty: 1, maxTokens: 9, seed: 7 };
  await page.evaluate((off) => localStorage.setItem("wisplm-demo.settings", JSON.stringify(off)), off);
  await page.reload();
  await button(page, /load the model/i).click();
  await page.getByRole("textbox", { name: "Message" }).fill("Hello");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => globalThis.told !== undefined);
  assert.deepEqual(await page.evaluate(() => globalThis.told), off);
  assert.deepEqual(page.problems, []);
  await page.close();
});
