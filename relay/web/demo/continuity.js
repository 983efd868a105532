/* Says what the relay reported of the line: a handover behind it, which the conversation outlived, or this page's own
 * return to it. The relay's figures are shown as they came; nothing is measured here. */

const CAUSES = {
  go_away: "goAway",
  rotation: "planned",
  closed: "closed by Google",
  expired: "time limit",
  lost: "line cut",
  failed: "Google’s error",
  overloaded: "overload",
  stalled: "silence",
  stuck: "stuck line",
};

const numbers = new Intl.NumberFormat("en");

export function causeInWords(cause) {
  return CAUSES[cause] ?? cause;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function messages(count) {
  return count === 1 ? "1 message" : `${numbers.format(count)} messages`;
}

/** What the transcript says of a handover; null when the person need not know. */
export function handoverInWords({ cause, planned, stallMs, turnCut, restored, dropped }) {
  const losses = [];
  if (turnCut) losses.push("the answer broke off");
  if (dropped > 0) losses.push(`${messages(dropped)} lost`);
  if (!restored) losses.push("Gemini has forgotten what was said");
  if (planned && losses.length === 0) return null;
  const back = `back after ${numbers.format(Math.round(stallMs))} ms`;
  return [capital(causeInWords(cause)), back, ...losses].join(" · ");
}

/** What the transcript says of this page's return, and whether something was lost; `answering` when it went away. */
export function returnInWords({ via, replayed, missed }, answering) {
  if (via === "parked") {
    const caughtUp = replayed > 0 ? ` · ${messages(replayed)} caught up` : "";
    const gap = missed > 0 ? ` · ${messages(missed)} missed` : "";
    return { words: `Resumed · same line${caughtUp}${gap}`, lossy: missed > 0 };
  }
  // The relay cannot know what was missed here; this page knows whether it was in the middle of an answer.
  const lost = answering ? " · the rest of the answer is lost" : "";
  return { words: `Resumed from Gemini’s memory${lost}`, lossy: answering };
}

export class Continuity {
  #parts;
  #meters = null;

  /** `parts` are the transcript and the line. */
  constructor(parts) {
    this.#parts = parts;
  }

  begin(meters) {
    this.#meters = meters;
  }

  /** The `relay` of a server message. */
  take({ handover, resumed }) {
    if (handover) this.#handover(handover);
    if (resumed) this.#resumed(resumed);
  }

  #handover(handover) {
    const { transcript, line } = this.#parts;
    this.#meters.handover(handover);
    line.handover(handover.stallMs, handover.planned);
    if (handover.turnCut) transcript.cutOff();
    const words = handoverInWords(handover);
    if (words) transcript.divide(words, handover.restored ? "" : "problem");
  }

  #resumed(resumed) {
    this.#meters.resumed(resumed);
    this.#parts.line.mark("moved");
    const { transcript } = this.#parts;
    const { words, lossy } = returnInWords(resumed, transcript.answering);
    if (resumed.gap) transcript.end(); // what was under way has no end here
    transcript.divide(words, lossy ? "problem" : "good");
  }
}
