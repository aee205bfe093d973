// The sessions of a model: what was said in each, and what of that the model no longer sees. The engine has their keys and
// values; an engine that takes another one's place computes them anew from this.

import { WispError } from "../errors.js";
import type { WireDelta, WireGone, WireSaved, WireSend, WireSession } from "../protocol.js";
import type { Begun, Binding, Engine } from "./binding.js";
import type { Ready } from "./device.js";
import { call } from "./fault.js";
import type { Forms } from "./form.js";
import { answer, type Begin, complete, type Run, type Tell } from "./run.js";
import { pack, unpack } from "./saved.js";

/** A conversation, of which `gone` is left out. */
interface Talk extends WireSession {
  gone: WireGone;
}

export class Sessions {
  readonly #open = new Map<number, Talk>();

  begin(session: number, { messages, overflow }: WireSession): void {
    this.#open.set(session, { messages, overflow, gone: { messages: 0, tokens: 0 } });
  }

  /** The answer to a message. Both become part of the conversation when it has ended, or was given up with something said. */
  send({ session, conversation, options }: WireSend, signal: AbortSignal, tell: Tell, forms: Forms): Run {
    const asked = JSON.parse(conversation) as { messages: unknown[] };
    let begun: Begun | undefined;
    let [text, reasoning] = ["", ""];
    const toolCalls: NonNullable<WireDelta["toolCalls"]> = [];
    const whole = (): string => JSON.stringify({ ...asked, messages: [...this.#talk(session).messages, ...asked.messages] });
    const begin: Begin = (engine, answered, options) => {
      const { overflow, gone } = this.#talk(session);
      const json = call(() => engine.send(session, whole(), answered, options, JSON.stringify(overflow), JSON.stringify(gone)));
      return (begun = JSON.parse(json) as Begun);
    };
    const hear: Tell = (delta) => {
      [text, reasoning] = [text + delta.text, reasoning + delta.reasoning];
      toolCalls.push(...(delta.toolCalls ?? []));
      tell(delta);
    };
    const run = answer(begin, options, signal, hear, forms, (engine, led) => call(() => engine.callForm(whole(), led)));
    return async (engine) => {
      const end = await run(engine);
      const talk = this.#talk(session);
      // What nobody has answered is withdrawn.
      if (end.finishReason === "abort" && text === "" && reasoning === "" && toolCalls.length === 0) return { ...end, said: [] };
      const said = [...asked.messages, message(text, reasoning, toolCalls)];
      const { messages = 0, tokens = 0 } = begun?.gone ?? {};
      talk.gone = { messages, tokens: tokens + (end.slid ?? 0) };
      talk.messages = [...talk.messages, ...said];
      const dropped = messages + talk.gone.tokens > 0 ? { dropped: talk.gone } : {};
      return { ...end, said, ...dropped };
    };
  }

  /** Another session that begins where one is; its messages. */
  clone(engine: Engine, session: number, clone: number): WireSession {
    const talk = this.#talk(session);
    call(() => engine.cloneSession(session, clone));
    this.#open.set(clone, { ...talk });
    return { messages: talk.messages, overflow: talk.overflow };
  }

  close(engine: Engine, session: number): void {
    this.#open.delete(session);
    call(() => engine.closeSession(session));
  }

  async save({ engine, info }: Ready, Sha256: Binding["Sha256"], session: number, defaults: unknown, signal: AbortSignal): Promise<Blob> {
    const talk = this.#talk(session);
    call(() => engine.saveSession(session));
    await complete(engine, signal);
    const stored = call(() => engine.takeSaved());
    const layout = call(() => engine.layout());
    return pack({ model: info.identity, name: info.name, layout, defaults, ...talk }, stored, Sha256);
  }

  /** Begins a session where one was saved. Stored in another way, as by another device, it is computed anew when it goes on. */
  async restore({ engine, info }: Ready, Sha256: Binding["Sha256"], session: number, blob: Blob): Promise<WireSaved> {
    // What is saved at most: two sequences that fill the context, and their tokens.
    const most = 2 * (info.memory.kv + 4 * info.contextLength) + 1024;
    const { head, stored } = await unpack(blob, call(() => engine.layout()), most, Sha256);
    if (head.model !== info.identity) {
      throw new WispError("invalid-argument", `the session was saved with another model (${head.name}): restore it there`);
    }
    if (stored !== undefined) call(() => engine.restoreSession(session, stored));
    const { messages, overflow, gone, defaults } = head;
    this.#open.set(session, { messages, overflow, gone });
    return { messages, defaults };
  }

  #talk(session: number): Talk {
    const talk = this.#open.get(session);
    if (talk === undefined) throw new WispError("closed", "the session is closed");
    return talk;
  }
}

/** An answer as the API of OpenAI has it, and templates after it. */
function message(content: string, reasoning: string, toolCalls: NonNullable<WireDelta["toolCalls"]>): object {
  const calls = toolCalls.map(({ id, name, arguments: given }) => {
    return { id, type: "function", function: { name, arguments: JSON.stringify(given) } };
  });
  return {
    ...{ role: "assistant", content },
    ...(reasoning !== "" && { reasoning_content: reasoning }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}
