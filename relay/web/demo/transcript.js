/* The written side of the conversation: one bubble a turn, filled while the words arrive. It decides which bubble a
 * piece of text belongs to, and nothing else. */

const NEW_SPEECH_AFTER_MS = 2000;

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

class Bubble {
  constructor(who, speaker) {
    this.who = who;
    this.text = "";
    this.interrupted = false;
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

  close() {
    const words = this.text.trimEnd();
    this.body.replaceChildren(words); // one text node again: easier to select, copy and read aloud
    this.node.removeAttribute("aria-busy");
    if (words === "" && this.meta.childElementCount === 0) this.node.remove();
  }

  note(text, className = "") {
    this.meta.append(element("span", className, text));
  }
}

export class Transcript {
  #list;
  #scroller;
  #speaker = "Gemini";
  #bubbles = [];
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

  clear() {
    this.#bubbles = [];
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
      this.#model.interrupted = true;
      this.#model.node.classList.add("interrupted");
      this.#model.note("Interrupted", "mark");
      this.#closeModel();
    }
    this.#user = null;
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

  modelBubble() {
    this.#model ??= this.#open("model", this.#speaker);
    return this.#model;
  }

  tool(name) {
    const line = element("li", "event");
    line.append(element("span", "", "Tool called: "), element("code", "", name));
    this.#list.append(line);
    this.#follow();
    return line;
  }

  remark(text) {
    this.#list.append(element("li", "event", text));
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
