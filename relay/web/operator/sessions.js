/* The table of live sessions: sorted by whatever column is chosen, rows kept by id so that nothing jumps under a click. */

import { clock, count, model, money, user, words } from "./format.js";

const MOST_ROWS = 200;

const COLUMNS = [
  { name: "id", title: "Session", value: (row) => row.id, show: (row) => row.id },
  { name: "tenant", title: "Tenant", value: (row) => row.tenant, show: (row) => row.tenant },
  { name: "user", title: "User", value: user, show: user },
  { name: "model", title: "Model", value: (row) => model(row.model), show: (row) => model(row.model) },
  { name: "state", title: "State", value: (row) => row.state, show: (row) => words(row.state) },
  { name: "age", title: "Age", number: true, value: (row) => row.age_s, show: (row) => clock(row.age_s) },
  { name: "tokens", title: "Tokens", number: true, value: (row) => row.tokens, show: (row) => count(row.tokens) },
  { name: "cost", title: "Cost", number: true, value: (row) => Number(row.cost), show: (row, currency) => money(row.cost, currency, 4) },
  { name: "turns", title: "Turns", number: true, value: (row) => row.turns, show: (row) => count(row.turns) },
  { name: "handovers", title: "Handovers", number: true, value: (row) => row.handovers, show: (row) => count(row.handovers) },
  { name: "up", title: "Frames up", number: true, value: (row) => row.frames_up, show: (row) => count(row.frames_up) },
  { name: "down", title: "down", number: true, value: (row) => row.frames_down, show: (row) => count(row.frames_down) },
];

export class SessionTable {
  #head = document.getElementById("sessions-head");
  #body = document.getElementById("sessions-body");
  #rows = new Map();
  #sort = { name: "age", down: true };
  #onEnd;
  #shown = { sessions: [], currency: "USD" };

  /** `onEnd(session)` is called when somebody wants to end one. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
    for (const column of COLUMNS) this.#head.append(this.#heading(column));
    this.#head.append(document.createElement("td"));
    this.#markSort();
  }

  show(sessions, currency) {
    this.#shown = { sessions, currency };
    const column = COLUMNS.find(({ name }) => name === this.#sort.name);
    const order = this.#sort.down ? -1 : 1;
    const sorted = [...sessions].sort((one, other) => {
      const [a, b] = [column.value(one), column.value(other)];
      return order * (a < b ? -1 : a > b ? 1 : 0) || (one.id < other.id ? -1 : 1);
    });
    const visible = sorted.slice(0, MOST_ROWS);
    const kept = new Set(visible.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (!kept.has(id)) {
        row.remove();
        this.#rows.delete(id);
      }
    }
    visible.forEach((session, index) => this.#place(session, index, currency));
    document.getElementById("sessions").dataset.users = sessions.some((session) => user(session) !== "–");
    document.getElementById("sessions-empty").hidden = sessions.length > 0;
    document.getElementById("sessions").hidden = sessions.length === 0;
    return visible.length;
  }

  #place(session, index, currency) {
    let row = this.#rows.get(session.id);
    if (row === undefined) {
      row = this.#newRow();
      this.#rows.set(session.id, row);
    }
    row.session = session;
    row.dataset.state = session.state;
    COLUMNS.forEach((column, number) => {
      const cell = row.cells[number].firstElementChild;
      const text = column.show(session, currency);
      if (cell.textContent !== text) cell.textContent = text;
      if (column.name === "user") cell.title = text; // which is cut in the table
    });
    row.lastElementChild.firstElementChild.setAttribute("aria-label", `End session ${session.id}`);
    if (this.#body.children[index] !== row) this.#body.insertBefore(row, this.#body.children[index] ?? null);
  }

  #newRow() {
    const row = document.createElement("tr");
    for (const { name, number } of COLUMNS) {
      const cell = row.insertCell();
      cell.className = number ? `number ${name}` : name;
      cell.append(document.createElement("span"));
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "end";
    button.textContent = "End";
    button.addEventListener("click", () => this.#onEnd(row.session));
    row.insertCell().append(button);
    return row;
  }

  #heading(column) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = column.number ? `number ${column.name}` : column.name;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.title;
    button.addEventListener("click", () => {
      const same = this.#sort.name === column.name;
      this.#sort = { name: column.name, down: same ? !this.#sort.down : Boolean(column.number) };
      this.#markSort();
      this.show(this.#shown.sessions, this.#shown.currency);
    });
    cell.append(button);
    return cell;
  }

  #markSort() {
    COLUMNS.forEach(({ name }, index) => {
      const sorted = name === this.#sort.name;
      this.#head.cells[index].setAttribute("aria-sort", sorted ? (this.#sort.down ? "descending" : "ascending") : "none");
    });
  }
}
