/* One bubble of the transcript: filled piece by piece while the words arrive, then closed. */

export function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** One turn of one side. */
export class Bubble {
  constructor(who, speaker) {
    this.who = who;
    this.speaker = speaker;
    this.text = "";
    this.interrupted = false;
    this.open = true;
    this.notes = [];
    this.updatedAt = performance.now();
    this.node = element("li", `turn turn-${who}`);
    this.node.append(element("span", "speaker", speaker));
    this.body = element("p", "words");
    this.tentative = element("span", "tentative");
    this.body.append(this.tentative);
    this.meta = element("p", "meta");
    this.node.append(this.body, this.meta);
    this.node.setAttribute("aria-busy", "true"); // a screen reader reads the turn when it is whole, not word by word
  }

  add(text) {
    const piece = this.text === "" ? text.trimStart() : text;
    this.text += piece;
    this.tentative.textContent = "";
    this.tentative.before(element("span", "piece", piece));
    this.updatedAt = performance.now();
  }

  interrupt() {
    this.interrupted = true;
    this.node.classList.add("interrupted");
  }

  close() {
    this.open = false;
    const words = this.text.trimEnd();
    this.body.replaceChildren(words); // one text node again: easier to select, copy and read aloud
    this.node.removeAttribute("aria-busy");
    if (words === "" && this.meta.childElementCount === 0) this.node.remove();
  }

  note(text, className = "") {
    this.notes.push([text, className]);
    this.meta.append(element("span", className, text));
  }

  renote(from, to) {
    const index = this.notes.findLastIndex(([text]) => text === from);
    if (index < 0) return;
    this.notes[index][0] = to;
    this.meta.children[index].textContent = to;
  }

  get saved() {
    const { who, speaker, text, interrupted, open, notes } = this;
    return { who, speaker, text, interrupted, open, notes };
  }

  static from({ who, speaker, text, interrupted, open, notes }) {
    const bubble = new Bubble(who, speaker);
    bubble.add(text);
    for (const [words, className] of notes) bubble.note(words, className);
    if (interrupted) bubble.interrupt();
    if (!open) bubble.close();
    return bubble;
  }
}
