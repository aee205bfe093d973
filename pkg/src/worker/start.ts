// From the builds on offer to an engine that runs, with helpers where the build has them.

import initAlone, * as alone from "wisplm-glue";
import initConstraint, { __wbg_reset_state, Tokens } from "wisplm-glue-constraint";
import initShared, * as shared from "wisplm-glue-threads";
import { aborted, WispError } from "../errors.js";
import type { WireModule, WireThreads } from "../protocol.js";
import type { Binding } from "./binding.js";
import { Crew, type Enlistment, type Resignation, sharedMemory, startHelper } from "./crew.js";
import type { Constraint } from "./form.js";
import { compile } from "./module.js";

/** Bytes of a helper's stack: kernels keep little there, and nothing recurses. */
const STACK = 256 << 10;

export interface Started {
  binding: Binding;
  features: string[];
  /** Starts workers to help it, where its memory can be shared. */
  hire?: () => Crew;
}

/** Starts the best of the builds that this browser takes. */
export async function start(
  modules: WireModule[],
  { count }: WireThreads,
  signal: AbortSignal,
  notice: (text: string) => void,
): Promise<Started> {
  const sharing = modules.filter((module) => module.shared);
  if (sharing.length > 0) {
    try {
      return await startShared(sharing, count, signal);
    } catch (error) {
      if (signal.aborted) throw aborted(signal);
      notice(`one thread computes: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const { module, features } = await compile(modules.filter((module) => !module.shared), signal);
  try {
    await initAlone({ module_or_path: module });
  } catch (cause) {
    throw notStarted(cause);
  }
  return { binding: alone, features };
}

async function startShared(modules: WireModule[], count: number, signal: AbortSignal): Promise<Started> {
  const { module, features } = await compile(modules, signal);
  try {
    const memory = sharedMemory();
    await initShared({ module_or_path: module, memory });
    const hire = (): Crew => new Crew(count - 1, { type: "help", module, memory }, startHelper);
    return { binding: shared, features, hire };
  } catch (cause) {
    throw notStarted(cause);
  }
}

function notStarted(cause: unknown): WispError {
  const code = cause instanceof RangeError || /memory/i.test(String(cause)) ? "out-of-memory" : "internal";
  return new WispError(code, `the engine does not start: ${String(cause)}`, { cause });
}

/** Starts the module that follows answers of a given form. */
export async function startConstraint(url: string, signal: AbortSignal): Promise<Constraint> {
  const { module } = await compile([{ url, features: [], shared: false }], signal);
  await initConstraint({ module_or_path: module });
  return { Tokens, reset: __wbg_reset_state };
}

/** The life of a helper, until it is ended. */
export async function help({ module, memory }: Enlistment, post: (message: Resignation) => void): Promise<void> {
  const fail = (error: unknown): void => post({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  try {
    await initShared({ module_or_path: module, memory, thread_stack_size: STACK });
  } catch (error) {
    return fail(error);
  }
  try {
    shared.help();
    post({ type: "left" });
  } catch (error) {
    // Nobody may wait for a thread that is no more.
    shared.helperLost();
    fail(error);
  }
}
