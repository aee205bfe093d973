// Times steps over several sequences, by the engine itself: the public API has no name for them yet.

onmessage = async ({ data: { folder, url, rounds, sequences, steps, warmMs } }) => {
  try {
    const { default: init, Loader } = await import(`${folder}wisplm.js`);
    await init({ module_or_path: fetch(`${folder}wisplm_bg.wasm`) });
    const loader = new Loader(JSON.stringify({ files: 1 }));
    for await (const chunk of (await fetch(url)).body) {
      loader.room(chunk.length).set(chunk);
      loader.push(chunk.length);
    }
    const engine = loader.finish();
    for (const count of sequences) {
      const end = performance.now() + warmMs;
      while (performance.now() < end) engine.trial(count, 1);
    }
    const answer = sequences.map(() => []);
    for (let round = 0; round < rounds; round++) {
      for (const [i, count] of sequences.entries()) answer[i].push(engine.trial(count, steps));
    }
    postMessage({ answer });
  } catch (error) {
    postMessage({ error: error instanceof Error ? String(error) : JSON.stringify(error) });
  }
};
