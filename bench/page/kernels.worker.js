// Times the kernels of a `bench-<variant>` build, in a worker as the engine runs.

/** How many iterations take about `ms`, found by doubling; V8 has compiled the kernel for good by then. */
function calibrate(bench, index, ms) {
  bench.run(index, 1);
  for (let iterations = 1; ; iterations *= 2) {
    const took = time(bench, index, iterations);
    if (took > ms / 4) return Math.max(1, Math.round((iterations * ms) / took));
  }
}

function time(bench, index, iterations) {
  const began = performance.now();
  bench.run(index, iterations);
  return performance.now() - began;
}

onmessage = async ({ data: { folder, rounds, ms } }) => {
  try {
    const { default: init, Bench } = await import(`${folder}wisplm.js`);
    await init({ module_or_path: fetch(`${folder}wisplm_bg.wasm`) });
    const bench = new Bench();
    const cases = JSON.parse(bench.cases());
    const iterations = cases.map((_, index) => calibrate(bench, index, ms));
    const seconds = cases.map(() => []);
    for (let round = 0; round < rounds; round++) {
      for (const [index, count] of iterations.entries()) {
        // The first run of a case after another's makes its data.
        bench.run(index, 1);
        seconds[index].push(time(bench, index, count) / 1000 / count);
      }
    }
    postMessage({ answer: cases.map((one, index) => ({ ...one, iterations: iterations[index], seconds: seconds[index] })) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
