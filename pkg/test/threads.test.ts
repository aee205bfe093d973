// How many threads compute.

import assert from "node:assert/strict";
import { test } from "node:test";
import { calibrate, employ } from "../src/worker/threads.js";
import { FakeEngine } from "./fakes.js";

const { signal } = new AbortController();

function engineWith(joined: number, stepMs: (threads: number) => number): FakeEngine {
  const engine = new FakeEngine();
  Object.assign(engine, { joined, stepMs });
  return engine;
}

test("threads are added as long as they help", async () => {
  const expected: [(threads: number) => number, number][] = [
    [(threads) => 8 / threads, 8],
    [(threads) => Math.max(2, 8 / threads), 4],
    [() => 5, 1],
    [(threads) => 5 + threads, 1],
    [(threads) => (threads <= 2 ? 8 / threads : 100), 2],
    [(threads) => 8 - threads * 0.1, 1],
  ];
  for (const [stepMs, threads] of expected) {
    assert.equal(await calibrate(engineWith(7, stepMs), 8, signal), threads, String(stepMs));
  }
});

test("one step that was disturbed decides nothing", async () => {
  let step = 0;
  const engine = engineWith(1, (threads) => (step++ % 5 === 0 ? 100 : 8 / threads));
  assert.equal(await calibrate(engine, 2, signal), 2);
});

test("helpers may come late", async () => {
  const engine = engineWith(0, (threads) => 8 / threads);
  setTimeout(() => (engine.joined = 1), 20);
  setTimeout(() => (engine.joined = 3), 40);
  const notices: string[] = [];
  const threads = await employ(engine, { size: 3, problem: undefined, end: async () => {} }, { count: 4, exact: true }, signal, (n) => notices.push(n));
  assert.deepEqual([threads, engine.threads, notices], [4, 4, []]);
});

test("an abort ends the wait", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  const engine = engineWith(0, () => 1);
  const waiting = employ(engine, { size: 1, problem: undefined, end: async () => {} }, { count: 2, exact: true }, controller.signal, () => {});
  await assert.rejects(waiting, { code: "aborted" });
});
