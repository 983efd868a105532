/* The answer's side of the sound: one player for the life of the page, opened with the first call. Where the browser
 * cannot play, everything here does nothing and the answer is still read. */

import { Player } from "./audio.js";

/** Handlers: onLevel(rms), onFirst(turn, atMs), onProblem(sentence). */
export class Sound {
  level = 0;
  #handlers;
  #player = null;
  #heardBefore = 0;

  constructor(handlers) {
    this.#handlers = handlers;
  }

  async open() {
    try {
      this.#player ??= await Player.open({ onLevel: (rms) => this.#levelIs(rms), onFirst: this.#handlers.onFirst });
      this.#player.wake();
    } catch {
      this.#handlers.onProblem("This browser cannot play the answer's sound on this page. You will still see its words.");
    }
  }

  /** Browsers make sound only after a click or a key: call this from one. */
  wake() {
    this.#player?.wake();
  }

  /** Whether the browser waits for a click or a key. */
  get asleep() {
    return this.#player?.asleep ?? false;
  }

  /** A new call, or one that was heard for so long before a reload. */
  reset(heardSeconds = 0) {
    this.#heardBefore = (this.#player?.measured.playedSeconds ?? 0) - heardSeconds;
  }

  get heardSeconds() {
    return (this.#player?.measured.playedSeconds ?? 0) - this.#heardBefore;
  }

  get measured() {
    return this.#player?.measured ?? null;
  }

  play(inlineData, turn) {
    this.#player?.play(inlineData, turn);
  }

  finish() {
    this.#player?.finish();
  }

  drop() {
    this.#player?.drop();
  }

  #levelIs(rms) {
    this.level = rms;
    this.#handlers.onLevel(rms);
  }
}
