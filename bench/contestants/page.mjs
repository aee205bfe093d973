// A contestant in a page of its own.

/**
 * By how much the page's process has grown, at its highest. Nothing says which one it is: it is the one that grew most.
 * The browser's spare processes grow too, by tens of megabytes.
 */
function growth(before, after) {
  return Math.max(...[...after].filter(([id]) => before.has(id)).map(([id, { peak }]) => peak - before.get(id).now));
}

/** A loaded model, as in `native.mjs`. Its file lies in the browser's private file system: `download` in race.mjs. */
export async function open(stage, { engine, threads, variant, device, onnx }, model, context) {
  const page = await stage.page(engine, variant);
  try {
    const before = await stage.processes();
    const argument = { engine, url: `/models/${model.file}`, threads, context, device, onnx };
    const opened = await page.evaluate(async ({ engine, ...how }) => {
      const { open } = await import(`/bench/${engine}.js`);
      const began = performance.now();
      globalThis.contestant = await open(how);
      return { loadMs: performance.now() - began, runs: contestant.runs, bytesMs: contestant.bytesMs };
    }, argument);
    return {
      ...opened,
      measure: (...asked) => page.evaluate((asked) => contestant.measure(...asked), asked),
      likelihood: (...asked) => page.evaluate((asked) => contestant.likelihood(...asked), asked),
      async memory() {
        const engine = await page.evaluate(() => contestant.memory?.());
        return { peak: growth(before, await stage.processes()), engine };
      },
      async close() {
        await page.evaluate(() => contestant.close());
        await page.close();
      },
    };
  } catch (error) {
    await page.close();
    throw error;
  }
}
