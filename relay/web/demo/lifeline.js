/* One call over as many sockets as it takes: when its socket is lost it comes back with the newest handle, so that the
 * relay attaches it to the same session or resumes that one from Gemini's memory. It shows nothing and plays nothing. */

import { Call, setupFor } from "./session.js";
import { loadConfig } from "./service.js";

const PATIENCE_MS = 30_000; // as long as a relay keeps a session parked unless told otherwise
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4000;
const WENT_AWAY = new Set([1001, 1006, 1012]);
const BUSY = new Set([1011, 1013, 1014]);
const NOT_ACCEPTED = new Set([1007, 1008]);

/** The newest handle, and how many messages came after the one that brought it. */
class Bookmark {
  handle = null;
  received = 0;

  constructor(saved) {
    if (saved) Object.assign(this, { handle: saved.handle, received: saved.received });
  }

  take(message) {
    const update = message.sessionResumptionUpdate;
    if (update?.resumable && update.newHandle) {
      this.handle = update.newHandle;
      this.received = 0;
    } else if (!message.setupComplete && !message.relay?.resumed) {
      this.received += 1; // those two belong to a socket, not to the conversation
    }
  }

  get token() {
    return this.handle === null ? null : `${this.handle}.${this.received}`;
  }
}

/**
 * Handlers: onConfig(config), onReady(), onFrame(direction, kind, bytes), onMessage(message, line), onLost(),
 * onRefused(reason), onEnd({code, reason, ready, opened, by}). `line` is what `saved` has to be to go on after a reload.
 */
export class Lifeline {
  #handlers;
  #choices;
  #id;
  #setup;
  #bookmark;
  #call = null;
  #over = false;
  #comingBack;
  #patienceEnds = performance.now() + PATIENCE_MS;
  #attempts = 0;
  #pause = null;

  constructor(handlers, { choices, saved = null }) {
    this.#handlers = handlers;
    this.#choices = choices;
    this.#id = saved?.id ?? Math.random().toString(36).slice(2);
    this.#setup = saved?.setup ?? null;
    this.#bookmark = new Bookmark(saved);
    this.#comingBack = saved !== null;
    this.#dial();
  }

  get ready() {
    return this.#call?.ready ?? false;
  }

  get line() {
    const { handle, received } = this.#bookmark;
    return { id: this.#id, handle, received, setup: this.#setup };
  }

  sendText(text) {
    this.#call?.sendText(text);
  }

  /** False when the chunk was left out. */
  sendAudio(pcm) {
    return this.#call?.sendAudio(pcm) ?? false;
  }

  endAudio() {
    this.#call?.endAudio();
  }

  answerTool(call, response) {
    this.#call?.answerTool(call, response);
  }

  hangUp() {
    if (this.#call) this.#call.hangUp();
    else this.#end({ code: 1000, reason: "", ready: false, opened: false, by: "page" });
  }

  /** The page is going: the browser closes the socket as gone away, and nobody dials any more. */
  leave() {
    this.#over = true;
    clearTimeout(this.#pause);
  }

  async #dial() {
    const config = await loadConfig().catch(() => null);
    if (this.#over) return;
    if (!config) {
      this.#ended({ code: 1006, reason: "", ready: false, opened: false, by: "relay" });
      return;
    }
    this.#handlers.onConfig(config);
    this.#setup ??= setupFor(config, this.#choices);
    const { token } = this.#bookmark;
    // The rest of the setup must be as it was: the relay goes on with a session only for the very same setup.
    const setup = { ...this.#setup, sessionResumption: token ? { handle: token } : {} };
    this.#call = new Call(config, setup, {
      onReady: () => this.#isReady(),
      onFrame: this.#handlers.onFrame,
      onMessage: (message) => this.#take(message),
      onEnd: (ending) => this.#ended(ending),
    });
  }

  #isReady() {
    this.#comingBack = false;
    this.#attempts = 0;
    this.#handlers.onReady();
  }

  #take(message) {
    this.#bookmark.take(message);
    this.#handlers.onMessage(message, this.line);
  }

  #ended(ending) {
    this.#call = null;
    if (this.#over) return;
    const wanted = ending.by === "relay" && this.#bookmark.handle !== null;
    if (wanted && ending.ready && WENT_AWAY.has(ending.code)) this.#lost();
    else if (wanted && this.#comingBack && !ending.ready) this.#again(ending);
    else this.#end(ending);
  }

  #lost() {
    this.#comingBack = true;
    this.#patienceEnds = performance.now() + PATIENCE_MS;
    this.#handlers.onLost();
    this.#later();
  }

  #again(ending) {
    if (ending.opened && NOT_ACCEPTED.has(ending.code)) {
      this.#bookmark = new Bookmark(null);
      this.#comingBack = false;
      this.#handlers.onRefused(ending.reason);
      this.#dial();
    } else if (performance.now() < this.#patienceEnds && (WENT_AWAY.has(ending.code) || BUSY.has(ending.code))) {
      this.#later();
    } else {
      this.#end(ending);
    }
  }

  #later() {
    // Full jitter: the pages of a relay that was restarted must not dial in step.
    const highest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#pause = setTimeout(() => this.#dial(), highest * Math.random());
  }

  #end(ending) {
    if (this.#over) return;
    this.leave();
    this.#handlers.onEnd(ending);
  }
}
