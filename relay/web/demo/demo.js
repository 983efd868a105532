/* The demo page's conductor: joins one call, the microphone, the player, the transcript and the figures. It holds no
 * Google key and no rule of its own about what a call may do; the relay decides that. */

import { Continuity } from "./continuity.js";
import { Conversation } from "./conversation.js";
import { explain } from "./endings.js";
import { Faults } from "./faults.js";
import { readOnlyView } from "./inspect.js";
import { Lifeline } from "./lifeline.js";
import { Line } from "./line.js";
import { EventLog } from "./log.js";
import { claim, forget, recall, rememberLine, rememberPage } from "./memory.js";
import { Meters } from "./meters.js";
import { Page } from "./page.js";
import { loadConfig } from "./service.js";
import { Sound } from "./sound.js";
import { Transcript } from "./transcript.js";
import { Voice } from "./voice.js";

const FIGURES_EVERY_MS = 200;
const AUDIBLE_RMS = 0.003;
const UNDER_WAY = new Set(["connecting", "live", "reconnecting"]);

const byId = (id) => document.getElementById(id);

class Demo {
  page = new Page();
  transcript = new Transcript(byId("transcript"), byId("scroller"));
  line = new Line(byId("line"));
  log = new EventLog(byId("log"), byId("log-empty"));
  meters = new Meters();
  sound = new Sound({
    onLevel: (rms) => this.line.down(rms),
    onFirst: (turn, atMs) => this.meters.heard(turn, atMs),
    onProblem: (sentence) => this.page.notice(sentence),
  });
  voice = new Voice({
    onState: (state) => this.#microphoneIs(state),
    onChunk: (chunk, isSpeech) => this.#heard(chunk, isSpeech),
    onPause: () => this.#call?.endAudio(), // lets the other side finish the turn instead of waiting for more
    onProblem: (sentence) => this.page.notice(sentence),
  });
  #faults = new Faults(byId("faults"), {
    onOrder: (words) => this.#note("page", words),
    onFailed: () => this.page.notice("The relay did not take that order. Reload this page and try again."),
  });
  state = "idle";
  #modelName = "Gemini";
  #call = null;
  #usedMicrophone = false;
  #waiting = [];
  #parts = { transcript: this.transcript, line: this.line, sound: this.sound };
  #conversation = new Conversation(this.#parts);
  #continuity = new Continuity(this.#parts);
  #startedAt = 0;
  #readyAt = null;
  #lastedS = 0;
  #hinted = false;

  constructor() {
    byId("start").addEventListener("click", () => this.start(true));
    byId("again").addEventListener("click", () => this.start(this.#usedMicrophone));
    byId("hang-up").addEventListener("click", () => this.hangUp());
    byId("mic").addEventListener("click", () => this.voice.toggle());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(byId("text").value.trim());
      byId("text").value = "";
    });
    for (const gesture of ["pointerup", "keydown"]) addEventListener(gesture, () => this.#wake());
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
    setInterval(() => this.#refresh(), FIGURES_EVERY_MS);
    loadConfig().then((config) => this.#configure(config), () => this.#unreachable());
    this.#lookBack();
  }

  async start(withMicrophone) {
    if (UNDER_WAY.has(this.state)) return;
    this.#reset();
    this.#usedMicrophone = withMicrophone;
    this.#setState("connecting");
    if (withMicrophone) this.voice.open();
    await this.#dial({ choices: this.page.choices });
  }

  /** Takes up the call that this tab had before it was reloaded. */
  async goOn({ line, page }) {
    if (UNDER_WAY.has(this.state)) return;
    this.#reset();
    this.#restore(page);
    this.#setState("connecting");
    await this.#dial({ choices: page.choices, saved: line });
    if (page.microphone === "off" || !this.#call) return;
    const listens = await this.voice.reopen(page.microphone);
    if (!listens && UNDER_WAY.has(this.state)) this.page.notice("The call goes on. Press Unmute to talk again.", "hint");
  }

  hangUp() {
    this.sound.drop();
    if (this.#call) this.#call.hangUp();
    else this.#ended({ code: 1000, reason: "", ready: false, opened: false, by: "page" });
  }

  say(text) {
    if (text === "") return;
    if (!UNDER_WAY.has(this.state)) this.start(false);
    this.transcript.typed(text);
    if (this.#call?.ready) this.#sendText(text);
    else this.#waiting.push(text);
  }

  async #dial(how) {
    const startedAt = this.#startedAt;
    await this.sound.open();
    if (this.state !== "connecting" || startedAt !== this.#startedAt) return;
    this.#call = new Lifeline(
      {
        onConfig: (config) => this.#configure(config),
        onReady: () => this.#ready(),
        onFrame: (direction, kind, bytes) => this.#frame(direction, kind, bytes),
        onMessage: (message, line) => this.#take(message, line),
        onLost: () => this.#lost(),
        onRefused: (reason) => this.#refused(reason),
        onEnd: (ending) => this.#ended(ending),
      },
      how,
    );
    if (!how.saved) claim(this.#call.line.id);
  }

  #sendText(text) {
    if (!this.#conversation.answering) this.sound.drop(); // the tail of an answer that is already complete
    this.#call.sendText(text);
    this.line.mark("typed");
    this.meters.typed(performance.now());
  }

  #configure(config) {
    this.#modelName = config.upstream === "simulator" ? "Simulator" : "Gemini";
    this.transcript.speaker = this.#modelName;
    this.page.configure(config, this.#modelName);
    this.#faults.configure(config);
  }

  #unreachable() {
    if (this.state === "idle") {
      this.page.notice("The relay does not answer. Is it still running? Start it, then reload this page.");
    }
  }

  #reset() {
    this.meters = new Meters();
    this.voice.reset();
    this.sound.reset();
    this.transcript.clear();
    this.log.clear();
    this.line.clear();
    this.page.offer = false;
    this.page.notice("");
    this.#waiting = [];
    this.#conversation.begin(this.meters);
    this.#continuity.begin(this.meters);
    this.#startedAt = performance.now();
    this.#readyAt = null;
    this.#lastedS = 0;
  }

  // Across a reload ----------------------------------------------------------------------------------------------------

  async #lookBack() {
    const saved = recall();
    if (!saved) return;
    if (!(await claim(saved.line.id))) {
      forget(); // a copy: another tab has the call
    } else if (saved.recent && this.state === "idle") {
      this.goOn(saved);
    } else if (this.state === "idle") {
      byId("go-on").addEventListener("click", () => this.goOn(saved), { once: true });
      this.page.offer = true;
    }
  }

  #remember() {
    rememberPage({
      transcript: this.transcript.saved,
      meters: this.meters.saved(),
      heardSeconds: this.sound.heardSeconds,
      talkedSeconds: this.#talkedSeconds,
      choices: this.page.choices,
      microphone: this.voice.state,
    });
  }

  #restore({ transcript, meters, heardSeconds, talkedSeconds, choices }) {
    this.transcript.restore(transcript);
    this.meters.restore(meters);
    this.sound.reset(heardSeconds);
    this.#lastedS = talkedSeconds;
    this.page.choices = choices;
  }

  #leave() {
    if (!this.#call) return;
    this.#remember();
    this.#call.leave();
  }

  // What happens -------------------------------------------------------------------------------------------------------

  #setState(state) {
    this.state = state;
    this.page.state = state;
    this.#faults.live = state === "live";
    this.line.live = state === "live" || state === "reconnecting";
    this.line.gone = state === "reconnecting";
    this.#refresh();
  }

  #wake() {
    this.sound.wake();
    this.voice.wake();
  }

  #microphoneIs(state) {
    this.page.microphone = state;
    if (state === "on") this.#usedMicrophone = true;
    if (UNDER_WAY.has(this.state)) this.page.announce({ on: "Microphone on", muted: "Microphone muted" }[state] ?? "");
  }

  #heard({ pcm, rms }, isSpeech) {
    this.line.up(rms);
    this.page.microphoneLevel = Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms + 1e-6)) / 52));
    if (!this.#call?.ready) return;
    if (!this.#call.sendAudio(pcm)) this.meters.skippedChunks += 1;
    if (isSpeech) this.meters.spoke(performance.now());
  }

  #ready() {
    this.#readyAt ??= performance.now() - this.#lastedS * 1000;
    this.#setState("live");
    this.page.announce("Connected");
    this.#remember();
    for (const text of this.#waiting.splice(0)) this.#sendText(text);
  }

  #frame(direction, kind, bytes) {
    this.meters.frame(direction, bytes);
    this.#note(direction, kind, bytes);
  }

  #take(message, line) {
    rememberLine(line);
    if (message.relay) this.#hear(message.relay);
    for (const { call, response } of this.#conversation.take(message)) this.#call.answerTool(call, response);
    if (message.serverContent?.turnComplete) this.#remember();
  }

  /** What the relay says of the line itself. */
  #hear({ handover, resumed }) {
    this.#continuity.take({ handover, resumed });
    if (resumed?.gap) this.#conversation.begin(this.meters);
    if (handover) this.#faults.told();
  }

  #lost() {
    this.#note("page", "line lost");
    this.#setState("reconnecting");
    this.page.announce("Line lost, calling again");
  }

  #refused(reason) {
    this.#note("page", "handle refused");
    this.#setState("connecting");
    this.transcript.end();
    this.#conversation.begin(this.meters);
    this.transcript.divide("New call · Gemini does not know what was said above", "problem");
    const words = reason ? ` The relay’s reason: ${reason}` : "";
    this.page.notice(`The call could not be taken up again, so this is a new one.${words}`);
  }

  async #ended(ending) {
    this.#lastedS = this.#talkedSeconds;
    this.#call = null;
    this.#readyAt = null;
    forget();
    this.sound.finish();
    this.voice.close();
    this.transcript.end();
    this.#note("page", `closed ${ending.code}`);
    this.#setState("ended");
    this.#explain(ending, true);
    if (ending.by !== "relay" || ending.code !== 1006) return;
    // A browser hides why a connection failed; whether the relay still serves its page tells a little more.
    const startedAt = this.#startedAt;
    const relayAnswers = await loadConfig().then(() => true, () => false);
    if (this.state === "ended" && startedAt === this.#startedAt) this.#explain(ending, relayAnswers);
  }

  #explain(ending, relayAnswers) {
    const words = explain(ending, relayAnswers);
    this.page.showEnding(words, ending.reason);
    this.page.announce(words.title);
  }

  // What is shown ------------------------------------------------------------------------------------------------------

  get #talkedSeconds() {
    return this.#readyAt === null ? this.#lastedS : (performance.now() - this.#readyAt) / 1000;
  }

  #note(direction, kind, bytes = 0) {
    this.log.add(direction, kind, bytes, (performance.now() - this.#startedAt) / 1000);
  }

  #statusText() {
    if (this.state === "idle") return "Not connected";
    if (this.state === "connecting") return "Connecting…";
    if (this.state === "reconnecting") return "Line lost, calling again…";
    if (this.state === "ended") return "Call ended";
    if (this.sound.level > AUDIBLE_RMS) return `${this.#modelName} is speaking`;
    return this.voice.state === "on" ? "Listening" : "Microphone off";
  }

  #refresh() {
    this.page.status = this.#statusText();
    this.page.clock(this.#talkedSeconds);
    this.page.figures(this.meters, this.sound.heardSeconds);
    this.#hint(this.state === "live" && this.sound.asleep);
  }

  /** A page that was just reloaded may not make a sound before a key or a click. */
  #hint(asleep) {
    if (asleep === this.#hinted) return;
    this.#hinted = asleep;
    this.page.notice(asleep ? "The call goes on. Click anywhere, or press a key, to hear it." : "", "hint");
  }
}

window.relayDemo = readOnlyView(new Demo());
