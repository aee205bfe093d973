// The demo page, as a visitor uses it.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { demoMounts, modelsFolder, serve } from "../../www/serve.mjs";
import { openBrowser, report } from "./harness.mjs";

const TINY = fileURLToPath(new URL("../fixtures/tiny/llama-0.gguf", import.meta.url));

let server, browser;

before(async () => {
  const model = join(modelsFolder(), "SmolLM2-135M-Instruct.Q4_1.gguf");
  assert.ok(existsSync(model), `${model} is missing: run \`make models\``);
  server = await serve({ mounts: demoMounts() });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

const button = (page, name) => page.getByRole("button", { name, exact: false });
const answer = (page) => page.getByRole("main").getByRole("listitem").last();

async function textOnceAbove(locator, length) {
  await locator.page().waitForFunction(
    ([node, length]) => node.textContent.trim().length > length,
    [await locator.elementHandle(), length],
    { timeout: 60_000 },
  );
  return locator.textContent();
}

for (const [width, height] of [[1280, 800], [390, 844]]) {
  test(`at ${width} × ${height} it loads, answers, stops, and answers again`, { timeout: 180_000 }, async (t) => {
    const page = await browser.open(server);
    // The likeliest words, so that the answers are as long today as they were yesterday.
    await page.evaluate(() => localStorage.setItem("wisplm-demo.settings", JSON.stringify({ temperature: 0 })));
    await page.reload();
    await page.setViewportSize({ width, height });
    await button(page, /load the model/i).click();
    const prompt = page.getByRole("textbox");
    await prompt.waitFor({ state: "visible", timeout: 60_000 });

    await page.getByRole("radio", { name: "Chat" }).check();
    await prompt.fill("What is the capital of France?");
    await prompt.press("Enter");
    await textOnceAbove(answer(page), 20);
    await button(page, /^send$/i).waitFor({ timeout: 60_000 });
    const first = await answer(page).textContent();
    report(t, JSON.stringify(first.slice(0, 120)));
    assert.match(first, /Answer: .*[a-z]{2,} [a-z]{2,}/i);

    // A text to carry on has no early end.
    await page.getByRole("radio", { name: "Completion" }).check();
    await prompt.fill("One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve,");
    await button(page, /^send$/i).click();
    const before = await textOnceAbove(answer(page), 90);
    const pressed = Date.now();
    await button(page, /^stop$/i).click();
    await button(page, /^send$/i).waitFor({ timeout: 5_000 });
    report(t, `stopped ${Date.now() - pressed} ms after the click`);
    const stopped = await answer(page).textContent();
    assert.ok(stopped.startsWith(before.slice(0, 80)), "what was written stays");

    await prompt.fill("The alphabet begins with a, b, c, d, e,");
    await prompt.press("Enter");
    await textOnceAbove(answer(page), 60);
    await button(page, /^stop$/i).waitFor({ timeout: 2_000 });
    await page.keyboard.press("Escape");
    await button(page, /^send$/i).waitFor({ timeout: 30_000 });
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(sideways <= 0, `the page is ${sideways} px too wide`);
    assert.deepEqual(page.problems, []);
    await page.close();
  });
}

test("it loads a file of one's own, and says what is wrong with a bad one", { timeout: 120_000 }, async () => {
  const page = await browser.open(server);
  await button(page, /another model/i).click();
  const input = page.locator("input[type=file]");
  await input.setInputFiles({ name: "page.gguf", mimeType: "text/html", buffer: Buffer.from("<!doctype html>".padEnd(4000)) });
  const alert = page.getByRole("alert").filter({ visible: true });
  await alert.first().waitFor();
  assert.match(await alert.first().textContent(), /web page|GGUF/i);

  await button(page, /another model/i).click();
  await input.setInputFiles(TINY);
  await page.getByRole("textbox").waitFor({ state: "visible", timeout: 30_000 });
  assert.deepEqual(page.problems, []);
  await page.close();
});

test("the device can be chosen, and the page says what computes and what is missing", { timeout: 120_000 }, async () => {
  const page = await browser.open(server);
  const use = page.locator("#device-use");
  const says = (words) => use.filter({ hasText: words }).waitFor({ timeout: 30_000 });
  const device = (name) => page.getByRole("radio", { name });
  await says(/processor will compute: .*program/);
  assert.equal(await device("Automatic").isChecked(), true);
  assert.match(await page.locator("#abilities .unable").filter({ hasText: "WebGPU" }).textContent(), /Not taken by itself/);

  await button(page, /another model/i).click();
  await page.locator("input[type=file]").setInputFiles(TINY);
  await says(/^WebAssembly, .*In use: simd128/);
  await device("WebGPU").check();
  await says(/^WebGPU, .*swiftshader.*In use: /i);
  await page.getByRole("textbox").waitFor({ state: "visible" });
  await page.reload();
  await says(/graphics adapter will compute: .*Expect little/);
  assert.equal(await device("WebGPU").isChecked(), true, "the choice is remembered");
  await device("Processor").check();
  await says(/as you chose/);
  assert.deepEqual(page.problems, []);
  await page.close();

  const bare = await browser.open(server);
  await bare.addInitScript(() => delete Navigator.prototype.gpu);
  await bare.evaluate(() => localStorage.setItem("wisplm-demo.device", JSON.stringify("webgpu")));
  await bare.reload();
  await bare.locator("#device-use").filter({ hasText: /no WebGPU in this browser/ }).waitFor();
  assert.equal(await bare.getByRole("radio", { name: "WebGPU" }).isDisabled(), true);
  assert.equal(await bare.getByRole("radio", { name: "Automatic" }).isChecked(), true);
  assert.deepEqual(bare.problems, []);
  await bare.close();
});

test("where the server sends no headers, the demo isolates itself", { timeout: 60_000 }, async () => {
  const plain = await serve({ mounts: demoMounts(), isolate: false });
  try {
    const page = await browser.open(plain);
    await page.waitForFunction(() => globalThis.crossOriginIsolated);
    await page.waitForFunction(() => document.querySelectorAll("#abilities .able").length > 0);
    const able = await page.locator("#abilities .able").allTextContents();
    for (const words of [/Threads/, /Isolated page.*a service worker adds them/]) {
      assert.ok(able.some((text) => words.test(text)), able.join("; "));
    }
    assert.deepEqual(page.problems, []);
    await page.close();
    // And without the script.
    const bare = await browser.context.newPage();
    await bare.route("**/pkg/isolation.js", (route) => route.abort());
    await bare.addInitScript(() => Object.defineProperty(globalThis, "crossOriginIsolated", { value: false }));
    await bare.goto(plain.url);
    await bare.waitForFunction(() => document.querySelectorAll("#abilities .able").length > 0);
    assert.equal(await bare.getByRole("button", { name: /load the model/i }).isEnabled(), true);
    await bare.close();
  } finally {
    await plain.close();
  }
});
