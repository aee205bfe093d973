// A contestant in a page of its own.

/** A loaded model, as in `native.mjs`; its file lies in the browser's private file system since `fetch`. */
export async function open(stage, { engine, threads, variant }, model, context) {
  const page = await stage.page(engine, variant);
  try {
    const before = await stage.resident();
    const argument = { engine, url: `/models/${model.file}`, threads, context };
    const opened = await page.evaluate(async ({ engine, ...how }) => {
      const { open } = await import(`/bench/${engine}.js`);
      const began = performance.now();
      globalThis.contestant = await open(how);
      return { loadMs: performance.now() - began, runs: contestant.runs };
    }, argument);
    return {
      ...opened,
      measure: (prompt, steps) => page.evaluate(({ prompt, steps }) => contestant.measure(prompt, steps), { prompt, steps }),
      async memory() {
        const engine = await page.evaluate(() => contestant.memory?.());
        return { peak: (await stage.resident()).growth(before).peak, engine };
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
