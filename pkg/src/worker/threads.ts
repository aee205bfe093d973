// How many threads compute: as many as were asked for, or as many as are of use here and now.

import { aborted } from "../errors.js";
import type { WireThreads } from "../protocol.js";
import type { Engine } from "./binding.js";
import { call } from "./fault.js";

/** How long helpers may take to come. A worker takes 50 ms, on a busy machine more. */
const ARRIVAL_MS = 10_000;
const LOOK_MS = 4;
/** What an additional thread must bring: this much of the time that a step took without it. */
const GAIN = 0.95;
/** Trials with each of two numbers of threads, and for how long at most. */
const ROUNDS = 5;
const COMPARE_MS = 150;
/** The browser still optimizes the engine's code in its first steps. */
const WARM_STEPS = 12;
const WARM_MS = 100;
/** Steps that are timed together. */
const STEPS = 2;

/** Those who were asked to help. */
export interface Helpers {
  readonly size: number;
  readonly problem: string | undefined;
  end(): Promise<void>;
}

/** Sets the engine's threads, and says how many it has got. Helpers that are not needed go. */
export async function employ(
  engine: Engine,
  helpers: Helpers,
  { count, exact }: WireThreads,
  signal: AbortSignal,
  notice: (text: string) => void,
): Promise<number> {
  const available = 1 + (await arrived(engine, helpers, signal));
  const wanted = Math.min(count, available);
  if (wanted < count) {
    const why = helpers.problem ?? "their workers took too long to start";
    notice(`${count - wanted} of ${count} threads could not be started: ${why}`);
  }
  const threads = exact ? wanted : await calibrate(engine, wanted, signal);
  call(() => engine.setThreads(threads));
  call(() => engine.dismissOthers());
  return threads;
}

async function arrived(engine: Engine, helpers: Helpers, signal: AbortSignal): Promise<number> {
  const start = performance.now();
  let here = call(() => engine.helpers());
  while (here < helpers.size && helpers.problem === undefined && performance.now() - start < ARRIVAL_MS) {
    await rest(LOOK_MS, signal);
    here = call(() => engine.helpers());
  }
  return here;
}

/** Adds a thread as long as that makes a step faster: other programs and other tabs want the cores as well. */
export async function calibrate(engine: Engine, most: number, signal: AbortSignal): Promise<number> {
  if (most > 1) await warm(engine, signal);
  let best = 1;
  for (let more = 2; more <= most; more++) {
    const times: [number[], number[]] = [[], []];
    const end = performance.now() + COMPARE_MS;
    // In turns, since what else the machine does changes from one moment to the next.
    for (let round = 0; round < ROUNDS && (round < 2 || performance.now() < end); round++) {
      for (const [threads, of] of [[best, times[0]], [more, times[1]]] as const) {
        call(() => engine.setThreads(threads));
        of.push(call(() => engine.trial(1, STEPS)));
        await rest(0, signal);
      }
    }
    if (median(times[1]) > median(times[0]) * GAIN) break;
    best = more;
  }
  return best;
}

async function warm(engine: Engine, signal: AbortSignal): Promise<void> {
  const end = performance.now() + WARM_MS;
  for (let step = 0; step < WARM_STEPS && performance.now() < end; step++) {
    call(() => engine.trial(1, 1));
    await rest(0, signal);
  }
}

function median(times: number[]): number {
  return times.sort((a, b) => a - b)[times.length >> 1]!;
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  if (signal.aborted) throw aborted(signal);
}
