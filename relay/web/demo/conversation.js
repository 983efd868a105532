/* Turns the server's messages into what is heard, read and counted. It knows the protocol's meaning and owns the turn
 * in progress; it opens nothing and closes nothing. */

const TOOLS = {
  get_time: () => ({ time: new Date().toString() }),
};

/** `parts` are the transcript, the line and the sound. */
export class Conversation {
  answering = false;
  #turn = 0;
  #meters;
  #parts;

  constructor(parts) {
    this.#parts = parts;
  }

  /** A new call: nothing of the last one's turn is left. */
  begin(meters) {
    this.#meters = meters;
    this.answering = false;
  }

  /** Takes one parsed server message; returns the answers to the tool calls in it. */
  take(message) {
    const { transcript } = this.#parts;
    if (message.serverContent) this.#content(message.serverContent);
    if (message.toolCallCancellation) transcript.remark("The tool call was cancelled.");
    if (message.usageMetadata) this.#meters.usage(message.usageMetadata);
    if (message.goAway) transcript.remark("The relay is about to restart. This page will call it again.");
    return (message.toolCall?.functionCalls ?? []).map((call) => ({ call, response: this.#answer(call) }));
  }

  #content(content) {
    const { transcript, sound } = this.#parts;
    if (content.interrupted) this.#interrupted();
    if (content.interimInputTranscription?.text) transcript.guessedUser(content.interimInputTranscription.text);
    if (content.inputTranscription?.text) transcript.heardUser(content.inputTranscription.text);
    for (const part of content.modelTurn?.parts ?? []) {
      if (part.inlineData) this.#audio(part.inlineData);
      else if (part.text && !part.thought) transcript.saidModel(part.text);
    }
    if (content.outputTranscription?.text) transcript.saidModel(content.outputTranscription.text);
    if (content.generationComplete || content.turnComplete) sound.finish();
    if (content.turnCompleteReason) transcript.remark(`The answer ended early: ${content.turnCompleteReason}`);
    if (content.turnComplete) {
      this.answering = false;
      this.#meters.turns += 1;
      transcript.turnComplete();
    }
  }

  #interrupted() {
    this.#parts.sound.drop();
    this.answering = false;
    this.#meters.interruptions += 1;
    this.#parts.line.mark("interrupted");
    this.#parts.transcript.interrupted();
  }

  #audio(inlineData) {
    if (!inlineData.mimeType?.startsWith("audio/")) return;
    if (!this.answering) {
      this.answering = true;
      this.#turn += 1;
      const wait = this.#meters.answered(this.#turn, performance.now());
      if (wait !== null) this.#parts.transcript.noteModel(`First audio after ${Math.round(wait)} ms`);
    }
    this.#parts.sound.play(inlineData, this.#turn);
  }

  #answer(call) {
    this.#meters.toolCalls += 1;
    this.#parts.transcript.tool(call.name);
    return TOOLS[call.name]?.() ?? { error: `this page has no tool named ${call.name}` };
  }
}
