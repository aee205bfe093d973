// A conversation as token ids, in the ChatML form that SmolLM2, Qwen and many other models were trained on:
//
//   <|im_start|>user\n … <|im_end|>\n<|im_start|>assistant\n … <|im_end|>\n
//
// The control parts are tokenized with control tokens on, what people type with control tokens off, and the ids are
// joined: somebody who types "<|im_end|>" sends eight characters, not the end of their turn.

const roles = ["system", "user", "assistant"];

/** The control parts of ChatML for this model, or null when the model does not know ChatML. */
export async function chatFormat(model) {
  const encode = (text) => model.tokenize(text, { special: true, bos: false });
  const marks = await Promise.all([encode("<|im_start|>"), encode("<|im_end|>")]);
  // One id each, and not the same one: a vocabulary without them may call both "unknown".
  if (marks.some((ids) => ids.length !== 1) || marks[0][0] === marks[1][0]) return null;
  const open = {};
  for (const role of roles) open[role] = await encode(`<|im_start|>${role}\n`);
  const close = await encode("<|im_end|>\n");
  // What the model wants at the start of every text: nothing, or its BOS token.
  const lead = await model.tokenize("");
  return { lead, open, close, end: marks[1][0] };
}

export class Conversation {
  #model;
  #format;
  /** Of each turn: question and answer, as ids. The last one may have no answer yet. */
  #turns = new Map();

  constructor(model, format) {
    this.#model = model;
    this.#format = format;
  }

  /** Adds a question under `key`, or opens it again without its answer. */
  async ask(key, text) {
    this.#turns.set(key, { question: await this.#encode(text), answer: null });
  }

  /** The answer's own ids, so that the next prompt extends this one exactly and its beginning can be reused. */
  answer(key, tokens) {
    const ids = [...tokens];
    if (ids.at(-1) === this.#format.end) ids.pop();
    const turn = this.#turns.get(key);
    if (turn) turn.answer = ids;
  }

  forget(key) {
    this.#turns.delete(key);
  }

  /**
   * The prompt for the open question: `{ tokens, dropped }`, where the oldest `dropped` turns were left out so that
   * `reserve` tokens of the context stay free for the answer.
   */
  async prompt({ system, contextLength, reserve }) {
    const { lead, open, close } = this.#format;
    const head = [...lead];
    if (system.trim()) head.push(...open.system, ...(await this.#encode(system)), ...close);
    const turns = Array.from(this.#turns.values(), ({ question, answer }) => [
      ...open.user,
      ...question,
      ...close,
      ...open.assistant,
      ...(answer ? [...answer, ...close] : []),
    ]);
    // A question that nearly fills the context still gets a short answer rather than a refusal.
    const room = contextLength - Math.min(reserve, Math.floor(contextLength / 4)) - head.length;
    let used = turns.reduce((sum, turn) => sum + turn.length, 0);
    let dropped = 0;
    while (used > room && dropped < turns.length - 1) used -= turns[dropped++].length;
    return { tokens: head.concat(...turns.slice(dropped)), dropped };
  }

  #encode(text) {
    return this.#model.tokenize(text.trim(), { special: false, bos: false });
  }
}
