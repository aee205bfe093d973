// A loaded model and the conversation with it: one question at a time, each answer streamed.

import { chatCode, completionCode } from "./code.js";
import { chatForm, Conversation } from "./conversation.js";
import { isAbort } from "./errors.js";
import { callTool, exchange, functions, tools } from "./tools.js";

/** A model that calls more often than this for one answer has lost its way. */
const mostRounds = 4;

export class Talk {
  #model;
  #settings;
  #transcript;
  #meter;
  #announcer;
  #onChange;
  #form;
  #conversation = null;
  #running = null;
  #generation = null;
  #takesTools = true;
  /** What the last answer was asked for: messages, or a text to carry on. */
  #asked = null;
  #ended = Promise.resolve();

  /**
   * `onChange({ answering })` is called when an answer begins and ends. `form` is null for a model that has no chat
   * template: it can complete texts.
   */
  constructor({ model, form, settings, transcript, meter, announcer, onChange }) {
    this.#model = model;
    this.#form = form;
    this.#settings = settings;
    this.#transcript = transcript;
    this.#meter = meter;
    this.#announcer = announcer;
    this.#onChange = onChange;
    this.clear();
  }

  static async open(parts) {
    return new Talk({ ...parts, form: await chatForm(parts.model) });
  }

  get chats() {
    return this.#form !== null;
  }

  stop() {
    this.#running?.abort();
  }

  /** The code that has the model answer what it was last asked, or could be. */
  code(opening) {
    const options = this.#settings.generation;
    const { system, tools } = this.#settings;
    if (typeof this.#asked === "string" || !this.chats) return completionCode(opening, this.#asked ?? "Once upon a time", options);
    const head = this.#form.system && system.trim() ? [{ role: "system", content: system.trim() }] : [];
    const messages = this.#asked ?? [...head, { role: "user", content: "Why is the sky blue?" }];
    return chatCode(opening, messages, options, tools && this.#takesTools ? functions : null, mostRounds);
  }

  /** Ends the talk: nothing more is reported. */
  close() {
    this.#onChange = () => {};
    this.stop();
  }

  clear() {
    this.stop();
    this.#conversation = this.#form && new Conversation(this.#model, this.#form);
    this.#asked = null;
    this.#transcript.clear();
  }

  async send(text, mode) {
    if (this.#busy()) return;
    const turn = this.#transcript.add(mode, text, (again) => this.#busy() || this.#start(again));
    await this.#start(turn);
  }

  /** An answer that has been told to stop is as good as over; the next one waits for its end. */
  #busy() {
    return this.#running !== null && !this.#running.signal.aborted;
  }

  #start(turn) {
    const before = this.#ended;
    this.#ended = before.then(() => this.#answer(turn));
    return this.#ended;
  }

  async #answer(turn) {
    const running = (this.#running = new AbortController());
    const conversation = this.#conversation;
    this.#onChange({ answering: true });
    this.#announcer.say("Answering.");
    this.#meter.start();
    turn.begin();
    this.#generation = null;
    try {
      const options = { ...this.#settings.generation, signal: running.signal };
      const asked = turn.mode === "chat" ? await this.#messages(turn, conversation) : turn.text;
      this.#asked = asked;
      const result =
        turn.mode === "chat"
          ? await this.#converse(turn, asked, options)
          : await this.#write(turn, this.#model.generate(asked, options));
      this.#done(turn, result, conversation);
    } catch (error) {
      if (isAbort(error)) {
        // What was written until the stop is kept, where the model still tells.
        const result = this.#generation ? await this.#generation.result.catch(() => null) : null;
        this.#done(turn, result, conversation);
      } else {
        this.#meter.stop();
        if (turn.mode === "chat") conversation.forget(turn);
        this.#announcer.finish("");
        turn.fail(error);
      }
    } finally {
      this.#running = null;
      this.#onChange({ answering: false });
    }
  }

  /** Answers, and does what the model calls for on the way. */
  async #converse(turn, messages, options) {
    if (!this.#settings.tools || !this.#takesTools) return this.#write(turn, this.#model.chat(messages, options));
    const asked = [...messages];
    for (let round = 1; ; round++) {
      let result;
      try {
        const enough = round === mostRounds ? { toolChoice: "none" } : {};
        result = await this.#write(turn, this.#model.chat(asked, { ...options, tools, ...enough }));
      } catch (error) {
        if (error.code !== "invalid-argument" || round > 1) throw error;
        this.#takesTools = false;
        turn.note("This model's chat template has no place for tools: it answers without.");
        return this.#write(turn, this.#model.chat(messages, options));
      }
      if (result.finishReason !== "tool-calls") return result;
      const outputs = result.toolCalls.map(callTool);
      result.toolCalls.forEach((call, i) => turn.call(call, outputs[i]));
      asked.push(...exchange(result.toolCalls, outputs));
    }
  }

  /** Shows a generation as it is written. */
  async #write(turn, generation) {
    this.#generation = generation;
    for await (const event of generation.events()) {
      if (event.type === "token") this.#meter.tick();
      if (event.type === "reasoning") turn.think(event.text);
      if (event.type !== "text") continue;
      turn.push(event.text);
      this.#announcer.push(event.text);
    }
    return generation.result;
  }

  async #messages(turn, conversation) {
    conversation.ask(turn, turn.text);
    const { messages, dropped } = await conversation.messages({
      system: this.#settings.system,
      contextLength: this.#model.info.contextLength,
      reserve: this.#settings.maxTokens,
    });
    if (dropped > 0) {
      const left = dropped === 1 ? "the oldest question and its answer were" : `the oldest ${dropped} questions and their answers were`;
      turn.note(`The conversation is longer than the model can read at once: ${left} left out.`);
    }
    return messages;
  }

  #done(turn, result, conversation) {
    if (turn.mode === "chat") {
      // A turn without a word would teach the model to be silent.
      if (result?.text.trim()) conversation.answer(turn, result.text);
      else conversation.forget(turn);
    }
    if (result) this.#meter.finish(result);
    else this.#meter.stop();
    const ending = this.#ending(result);
    turn.finish(result, ending);
    this.#announcer.finish(ending || "End of the answer.");
  }

  #ending(result) {
    if (!result || result.finishReason === "abort") return "Stopped.";
    if (result.finishReason !== "length") return "";
    const { promptTokens, completionTokens } = result.usage;
    return promptTokens + completionTokens >= this.#model.info.contextLength
      ? "The model cannot read further at once."
      : "Reached the longest answer set in Settings.";
  }
}
