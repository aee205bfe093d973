// A loaded model and the conversation with it: one question at a time, each answer streamed.

import { chatForm, Conversation } from "./conversation.js";
import { isAbort } from "./errors.js";

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

  /** Ends the talk: nothing more is reported. */
  close() {
    this.#onChange = () => {};
    this.stop();
  }

  clear() {
    this.stop();
    this.#conversation = this.#form && new Conversation(this.#model, this.#form);
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
    let generation = null;
    try {
      const options = { ...this.#settings.generation(), signal: running.signal };
      generation =
        turn.mode === "chat"
          ? this.#model.chat(await this.#messages(turn, conversation), options)
          : this.#model.generate(turn.text, options);
      for await (const event of generation.events()) {
        if (event.type === "token") this.#meter.tick();
        if (event.type === "reasoning") turn.think(event.text);
        if (event.type !== "text") continue;
        turn.push(event.text);
        this.#announcer.push(event.text);
      }
      this.#done(turn, await generation.result, conversation);
    } catch (error) {
      if (isAbort(error)) {
        // What was written until the stop is kept, where the model still tells.
        const result = generation ? await generation.result.catch(() => null) : null;
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
