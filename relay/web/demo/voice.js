/* The person's side of the sound: one microphone, opened, muted and closed, and whether what it hears is speech. It
 * knows no call; what it hears is handed on. */

import { Microphone, MicrophoneError } from "./audio.js";
import { SpeechGate } from "./meters.js";

async function mayListenUnasked() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state === "granted";
  } catch {
    return false; // a browser that does not tell
  }
}

/** Handlers: onState(state), onChunk({pcm, rms}, isSpeech), onPause(), onProblem(sentence). */
export class Voice {
  /** "off", "asking", "on" or "muted". */
  state = "off";
  input = { level: 0, peak: 0, chunks: 0 };
  #handlers;
  #microphone = null;
  #gate = new SpeechGate();
  #opening = 0;

  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** A new call. */
  reset() {
    this.input = { level: 0, peak: 0, chunks: 0 };
    this.#gate = new SpeechGate();
  }

  toggle() {
    if (this.state === "off") this.open();
    else if (this.state !== "asking") this.#mute(this.state === "on");
  }

  async open() {
    this.#opening += 1;
    const opening = this.#opening;
    this.#set("asking");
    try {
      const microphone = await Microphone.open(
        (chunk) => this.#hear(chunk),
        () => this.#lost(),
      );
      if (opening !== this.#opening) {
        microphone.close();
        return;
      }
      this.#microphone = microphone;
      this.#set("on");
    } catch (error) {
      if (opening !== this.#opening) return;
      this.#set("off");
      const known = error instanceof MicrophoneError;
      this.#handlers.onProblem(known ? error.message : "This browser cannot capture audio on this page. Typing works.");
    }
  }

  /** After a reload: as it was before, if the browser allows that without asking; whether it did. */
  async reopen(state) {
    const opening = this.#opening;
    if (!(await mayListenUnasked()) || opening !== this.#opening) return false;
    await this.open();
    if (state === "muted" && this.state === "on") this.#mute(true);
    return this.state !== "off";
  }

  /** Browsers start audio only after a click or a key: call this from one. */
  wake() {
    this.#microphone?.wake();
  }

  close() {
    this.#opening += 1;
    this.#microphone?.close();
    this.#microphone = null;
    this.#set("off");
  }

  #set(state) {
    this.state = state;
    if (state !== "on") this.input.level = 0;
    this.#handlers.onState(state);
  }

  #mute(muted) {
    this.#microphone.muted = muted;
    this.#set(muted ? "muted" : "on");
    if (muted) this.#handlers.onPause();
  }

  #lost() {
    this.close();
    this.#handlers.onPause();
    this.#handlers.onProblem("The microphone went away. Plug it in again and press Unmute.");
  }

  #hear({ pcm, rms, peak }) {
    if (this.state !== "on") return;
    this.input.level = rms;
    this.input.peak = Math.max(this.input.peak, peak);
    this.input.chunks += 1;
    this.#handlers.onChunk({ pcm, rms }, this.#gate.hears(rms));
  }
}
