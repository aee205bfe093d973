// A conversation as messages, which the model's own chat template makes a prompt of.

/** Whether the model's file has a chat template. */
export async function canChat(model) {
  try {
    await model.countTokens([{ role: "user", content: "?" }]);
    return true;
  } catch (error) {
    if (error.code === "unsupported-model") return false;
    throw error;
  }
}

export class Conversation {
  #model;
  /** Of each turn: question and answer. The last one may have no answer yet. */
  #turns = new Map();

  constructor(model) {
    this.#model = model;
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
    const head = system.trim() ? [{ role: "system", content: system.trim() }] : [];
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
