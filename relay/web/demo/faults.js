/* The controls that harm the line, where the simulator is at its other end: pressed once, they wait until the relay
 * has told what came of it, or for so long that it will not. */

import { orderFault } from "./service.js";

const TOLD_WITHIN_MS = 3000;
const KINDS = { cut: "cut the line", go_away: "send goAway" };

/** Handlers: onOrder(words), onFailed(). `configure` it before it can order anything. */
export class Faults {
  #group;
  #handlers;
  #config = null;
  #live = false;
  #waiting = null;

  constructor(group, handlers) {
    this.#group = group;
    this.#handlers = handlers;
    for (const button of group.querySelectorAll("button")) {
      button.addEventListener("click", () => this.#order(button.value));
    }
    this.#refresh();
  }

  configure(config) {
    this.#config = config;
    this.#group.hidden = config.faults.length === 0;
  }

  /** Whether there is a call to harm. */
  set live(live) {
    this.#live = live;
    this.#refresh();
  }

  /** The relay has told of a handover. */
  told() {
    clearTimeout(this.#waiting);
    this.#waiting = null;
    this.#refresh();
  }

  async #order(kind) {
    if (!this.#live || this.#waiting !== null) return;
    this.#waiting = setTimeout(() => this.told(), TOLD_WITHIN_MS);
    this.#refresh();
    this.#handlers.onOrder(KINDS[kind]);
    await orderFault(this.#config, kind).catch(() => this.#handlers.onFailed());
  }

  #refresh() {
    for (const button of this.#group.querySelectorAll("button")) {
      button.setAttribute("aria-disabled", String(!this.#live || this.#waiting !== null));
    }
  }
}
