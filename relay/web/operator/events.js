/* The list of what happened, newest first, in words. */

import { timeOfDay, words } from "./format.js";

const MOST = 40;

const STORIES = {
  handover: ({ cause, outcome, stall_ms }) => [
    `Handover ${words(outcome)}`,
    `${words(cause)}, ${Math.round(stall_ms)} ms without Gemini`,
  ],
  ended: ({ cause, outcome, bad }) => [bad ? "Session failed" : "Session ended", `${words(cause)} · ${outcome}`],
  refused: ({ cause, outcome, count }) => [count > 1 ? `${count} clients refused` : "Client refused", `${outcome} ${words(cause)}`],
};

function line(event) {
  const made = document.createElement("li");
  made.dataset.kind = event.kind;
  made.dataset.bad = String(event.bad);
  const [title, detail] = STORIES[event.kind](event);
  const parts = { time: timeOfDay(event.at), title, detail, whose: event.tenant ? `${event.tenant} ${event.session}` : "" };
  for (const [name, text] of Object.entries(parts)) {
    const part = document.createElement(name === "time" ? "time" : "span");
    part.className = `event-${name}`;
    part.textContent = text;
    made.append(part);
  }
  return made;
}

export function showEvents(list, events) {
  list.replaceChildren(...events.slice(-MOST).reverse().map(line));
  document.getElementById("events-empty").hidden = events.length > 0;
}
