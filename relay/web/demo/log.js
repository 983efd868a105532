/* The event log: which kinds of frame went which way and when. Equal frames that follow each other in one direction
 * are folded into one row, so that an hour of audio stays readable. It is given names and sizes only, never content or keys. */

const ROWS_KEPT = 200;

export class EventLog {
  #list;
  #empty;
  #last = {};

  constructor(list, empty) {
    this.#list = list;
    this.#empty = empty;
  }

  clear() {
    this.#list.replaceChildren();
    this.#last = {};
    this.#empty.hidden = false;
  }

  /** `direction` is "up", "down" or "page"; `seconds` counts from the start of the call. */
  add(direction, kind, bytes, seconds) {
    this.#empty.hidden = true;
    const last = this.#last[direction];
    const family = kind.startsWith("audio") ? "audio" : kind; // with a piece of transcript or without: one stream
    if (last?.family === family) {
      last.count += 1;
      last.bytes += bytes;
      if (kind.length > last.name.textContent.length) last.name.textContent = kind;
    } else {
      this.#last[direction] = { family, bytes, count: 1, ...this.#row(direction, kind, seconds) };
    }
    const { count, bytes: total, tail } = this.#last[direction];
    tail.textContent = [count > 1 ? `× ${count}` : "", total > 0 ? `${total.toLocaleString("en")} B` : ""]
      .filter(Boolean)
      .join(" · ");
  }

  #row(direction, kind, seconds) {
    const node = document.createElement("li");
    const [time, arrow, name, tail] = ["time", "arrow", "kind", "tail"].map((className) => {
      const cell = document.createElement("span");
      cell.className = className;
      node.append(cell);
      return cell;
    });
    node.className = `row-${direction}`;
    time.textContent = seconds.toFixed(2);
    arrow.textContent = { up: "↑", down: "↓", page: "·" }[direction];
    name.textContent = kind;
    this.#list.prepend(node);
    if (this.#list.childElementCount > ROWS_KEPT) this.#list.lastElementChild.remove();
    return { name, tail };
  }
}
