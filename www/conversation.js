// A conversation as messages, which the model's own chat template makes a prompt of.

/** What the model's chat template takes: `{ system }`, whether it takes a system prompt; null if there is no template. */
export async function chatForm(model) {
  const takes = async (messages) => {
    try {
      return (await model.countTokens(messages)) > 0;
    } catch (error) {
      if (error.code === "unsupported-model" || error.code === "invalid-argument") return false;
      throw error;
    }
  };
  const user = { role: "user", content: "?" };
  if (!(await takes([user]))) return null;
  return { system: await takes([{ role: "system", content: "!" }, user]) };
}

export class Conversation {
  #model;
  #form;
  /** Of each turn: question and answer. The last one may have no answer yet. */
  #turns = new Map();

  constructor(model, form) {
    this.#model = model;
    this.#form = form;
  }

  /** Adds a question under `key`, or opens it again without its answer. */
  ask(key, text) {
    this.#turns.set(key, { question: text.trim(), answer: null });
  }

  answer(key, text) {
    const turn = this.#turns.get(key);
    if (turn) turn.answer = text;
  }

  forget(key) {
    this.#turns.delete(key);
  }

  /**
   * The messages up to the open question: `{ messages, dropped }`, where the oldest `dropped` turns were left out so
   * that `reserve` tokens of the context stay free for the answer.
   */
  async messages({ system, contextLength, reserve }) {
    const head = this.#form.system && system.trim() ? [{ role: "system", content: system.trim() }] : [];
    const turns = Array.from(this.#turns.values(), ({ question, answer }) => [
      { role: "user", content: question },
      ...(answer === null ? [] : [{ role: "assistant", content: answer }]),
    ]);
    // A question that nearly fills the context still gets a short answer rather than a refusal.
    const room = contextLength - Math.min(reserve, Math.floor(contextLength / 4));
    for (let dropped = 0; ; dropped++) {
      const messages = [...head, ...turns.slice(dropped).flat()];
      if (dropped >= turns.length - 1 || (await this.#model.countTokens(messages)) <= room) return { messages, dropped };
    }
  }
}
