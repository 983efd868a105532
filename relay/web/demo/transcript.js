/* The written side of the conversation: one bubble a turn, filled while the words arrive. It decides which bubble a
 * piece of text belongs to, and nothing else. */

import { Bubble, element } from "./bubble.js";

const NEW_SPEECH_AFTER_MS = 2000;
const INTERRUPTED = "Interrupted";
const ITEMS_KEPT = 80;

export class Transcript {
  #list;
  #scroller;
  #speaker = "Gemini";
  #bubbles = [];
  #events = new Map();
  #user = null;
  #model = null;
  #askedInWriting = false;
  #cutShort = false;

  constructor(list, scroller) {
    this.#list = list;
    this.#scroller = scroller;
  }

  set speaker(name) {
    this.#speaker = name;
  }

  /** Whole text of the conversation, one entry a turn. */
  get entries() {
    return this.#bubbles.map(({ who, text, interrupted }) => ({ who, text: text.trim(), interrupted }));
  }

  /** The newest part of the transcript, as plain data that `restore` takes. */
  get saved() {
    const bubbles = new Map(this.#bubbles.map((bubble) => [bubble.node, bubble]));
    const nodes = [...this.#list.children].slice(-ITEMS_KEPT);
    return nodes.map((node) => bubbles.get(node)?.saved ?? this.#events.get(node)).filter(Boolean);
  }

  /** What was shown before a reload; a turn that was under way goes on in its bubble. */
  restore(items) {
    this.clear();
    for (const item of items) {
      if (item.event) {
        this.#event(item);
        continue;
      }
      const bubble = Bubble.from(item);
      this.#bubbles.push(bubble);
      this.#list.append(bubble.node);
      if (bubble.open && bubble.who === "model") this.#model = bubble;
      if (bubble.open && bubble.who === "user") this.#user = bubble;
    }
    this.#follow(true);
  }

  clear() {
    this.#bubbles = [];
    this.#events.clear();
    this.#user = null;
    this.#model = null;
    this.#cutShort = false;
    this.#list.replaceChildren();
  }

  typed(text) {
    this.#closeUser();
    this.#askedInWriting = true;
    const bubble = this.#open("user", "You");
    bubble.add(text);
    bubble.close();
    this.#follow(true);
  }

  heardUser(text) {
    this.#userBubble().add(text);
    this.#follow();
  }

  /** Words that the server may still change. */
  guessedUser(text) {
    const bubble = this.#userBubble();
    bubble.tentative.textContent = bubble.text === "" ? text.trimStart() : text;
    this.#follow();
  }

  saidModel(text) {
    this.#cutShort = false;
    this.modelBubble().add(text);
    this.#follow();
  }

  noteModel(text, className) {
    this.modelBubble().note(text, className);
    this.#follow();
  }

  interrupted() {
    this.#cutShort = true;
    if (this.#model) {
      this.#model.interrupt();
      this.#model.note(INTERRUPTED, "mark");
      this.#closeModel();
    }
    this.#user = null;
  }

  /** The last answer was not interrupted by the person: the line was cut under it. */
  cutOff() {
    const answer = this.#bubbles.findLast((bubble) => bubble.who === "model");
    if (answer?.interrupted) answer.renote(INTERRUPTED, "Cut off");
  }

  turnComplete() {
    this.#closeModel();
    // The end of a turn that was cut short says nothing about the words that cut it short.
    if (!this.#cutShort) {
      this.#closeUser();
      this.#askedInWriting = false;
    }
    this.#cutShort = false;
  }

  /** The call is over: nothing more will be added to open bubbles. */
  end() {
    this.#closeModel();
    this.#closeUser();
  }

  /** Whether an answer is under way. */
  get answering() {
    return this.#model !== null;
  }

  modelBubble() {
    this.#model ??= this.#open("model", this.#speaker);
    return this.#model;
  }

  tool(name) {
    this.#event({ event: "Tool called: ", code: name, className: "event" });
  }

  remark(text) {
    this.#event({ event: text, className: "event" });
  }

  /** Something happened to the line, across the whole conversation; `kind` is "", "good" or "problem". */
  divide(text, kind = "") {
    this.#event({ event: text, className: `event divider ${kind}`.trim() });
  }

  #event(item) {
    const node = element("li", item.className);
    const words = element("span", "", item.event);
    if (item.code) words.append(element("code", "", item.code));
    node.append(words);
    this.#events.set(node, item);
    this.#list.append(node);
    this.#follow();
  }

  #userBubble() {
    const bargesIn = this.#model && this.#user && performance.now() - this.#user.updatedAt > NEW_SPEECH_AFTER_MS;
    if (bargesIn) this.#closeUser();
    if (!this.#user) {
      // Transcription of speech has no fixed order: it may come after the answer to it has begun.
      const late = this.#model && !bargesIn && !this.#askedInWriting;
      this.#user = this.#open("user", "You", late ? this.#model : null);
    }
    return this.#user;
  }

  #open(who, speaker, before = null) {
    const bubble = new Bubble(who, speaker);
    if (before) {
      this.#bubbles.splice(this.#bubbles.indexOf(before), 0, bubble);
      this.#list.insertBefore(bubble.node, before.node);
    } else {
      this.#bubbles.push(bubble);
      this.#list.append(bubble.node);
    }
    return bubble;
  }

  #closeModel() {
    this.#model?.close();
    this.#model = null;
  }

  #closeUser() {
    this.#user?.close();
    this.#user = null;
  }

  #follow(always = false) {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (always || scrollHeight - scrollTop - clientHeight < 160) this.#scroller.scrollTop = scrollHeight;
  }
}
