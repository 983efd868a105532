/* The demo page's conductor: joins one call, the microphone, the player, the transcript and the figures. It holds no
 * Google key and no rule of its own about what a call may do; the relay decides that. */

import { Microphone, MicrophoneError, Player } from "./audio.js";
import { Conversation } from "./conversation.js";
import { explain } from "./endings.js";
import { readOnlyView } from "./inspect.js";
import { Line } from "./line.js";
import { EventLog } from "./log.js";
import { Meters, SpeechGate } from "./meters.js";
import { Page } from "./page.js";
import { Call, setupFor } from "./session.js";
import { Transcript } from "./transcript.js";

const FIGURES_EVERY_MS = 200;
const CONFIG_DEADLINE_MS = 4000;
const AUDIBLE_RMS = 0.003;

const byId = (id) => document.getElementById(id);

async function loadConfig() {
  // Asked for again before every call: a relay that was restarted has a new key for this page.
  const answer = await fetch(new URL("config.json", import.meta.url), {
    cache: "no-store",
    signal: AbortSignal.timeout(CONFIG_DEADLINE_MS),
  });
  if (!answer.ok) throw new Error(`config.json: ${answer.status}`);
  return answer.json();
}

class Demo {
  page = new Page();
  transcript = new Transcript(byId("transcript"), byId("scroller"));
  line = new Line(byId("line"));
  log = new EventLog(byId("log"), byId("log-empty"));
  meters = new Meters();
  state = "idle";
  microphoneState = "off";
  input = { level: 0, peak: 0, chunks: 0 };
  #modelName = "Gemini";
  #call = null;
  #usedMicrophone = false;
  #microphone = null;
  #gate = new SpeechGate();
  #waiting = [];
  #parts = { transcript: this.transcript, line: this.line, player: null };
  #conversation = new Conversation(this.#parts);
  #outputLevel = 0;
  #heardBefore = 0;
  #startedAt = 0;
  #readyAt = null;
  #lastedS = 0;

  constructor() {
    byId("start").addEventListener("click", () => this.start(true));
    byId("again").addEventListener("click", () => this.start(this.#usedMicrophone));
    byId("hang-up").addEventListener("click", () => this.hangUp());
    byId("mic").addEventListener("click", () => this.toggleMicrophone());
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.say(byId("text").value.trim());
      byId("text").value = "";
    });
    setInterval(() => this.#refresh(), FIGURES_EVERY_MS);
    loadConfig().then((config) => this.#configure(config), () => this.#unreachable());
  }

  get playback() {
    return this.#parts.player?.measured ?? null;
  }

  async start(withMicrophone) {
    if (this.state === "connecting" || this.state === "live") return;
    this.#reset();
    this.#usedMicrophone = withMicrophone;
    this.#setState("connecting");
    const startedAt = this.#startedAt;
    const player = this.#openPlayer();
    if (withMicrophone) this.#openMicrophone();
    let config;
    try {
      config = await loadConfig();
    } catch {
      config = null;
    }
    await player;
    if (this.state !== "connecting" || startedAt !== this.#startedAt) return;
    if (!config) {
      this.#ended({ code: 1006, reason: "", ready: false, opened: false, by: "relay" });
      return;
    }
    this.#configure(config);
    this.#call = new Call(config, setupFor(config, this.page.choices), {
      onReady: () => this.#ready(),
      onFrame: (direction, kind, bytes) => this.#frame(direction, kind, bytes),
      onMessage: (message) => this.#take(message),
      onEnd: (ending) => this.#ended(ending),
    });
  }

  hangUp() {
    this.#parts.player?.drop();
    if (this.#call) this.#call.hangUp();
    else this.#ended({ code: 1000, reason: "", ready: false, opened: false, by: "page" });
  }

  say(text) {
    if (text === "") return;
    if (this.state === "idle" || this.state === "ended") this.start(false);
    this.transcript.typed(text);
    if (this.#call?.ready) this.#sendText(text);
    else this.#waiting.push(text);
  }

  toggleMicrophone() {
    if (this.microphoneState === "off") this.#openMicrophone();
    else if (this.microphoneState !== "asking") this.#mute(this.microphoneState === "on");
  }

  #sendText(text) {
    if (!this.#conversation.answering) this.#parts.player?.drop(); // the tail of an answer that is already complete
    this.#call.sendText(text);
    this.line.mark("typed");
    this.meters.typed(performance.now());
  }

  #configure(config) {
    this.#modelName = config.upstream === "simulator" ? "Simulator" : "Gemini";
    this.transcript.speaker = this.#modelName;
    this.page.configure(config, this.#modelName);
  }

  #unreachable() {
    this.page.notice("The relay does not answer. Is it still running? Start it, then reload this page.");
  }

  #reset() {
    this.meters = new Meters();
    this.#gate = new SpeechGate();
    this.#heardBefore = this.#parts.player?.measured.playedSeconds ?? 0;
    this.input = { level: 0, peak: 0, chunks: 0 };
    this.transcript.clear();
    this.log.clear();
    this.line.clear();
    this.page.notice("");
    this.#waiting = [];
    this.#conversation.begin(this.meters);
    this.#startedAt = performance.now();
    this.#readyAt = null;
    this.#lastedS = 0;
  }

  #setState(state) {
    this.state = state;
    this.page.state = state;
    this.line.live = state === "live";
    this.#refresh();
  }

  async #openPlayer() {
    try {
      this.#parts.player ??= await Player.open({
        onLevel: (rms) => {
          this.#outputLevel = rms;
          this.line.down(rms);
        },
        onFirst: (turn, atMs) => this.meters.heard(turn, atMs),
      });
      this.#parts.player.wake();
    } catch {
      this.page.notice("This browser cannot play the answer's sound on this page. You will still see its words.");
    }
  }

  async #openMicrophone() {
    const startedAt = this.#startedAt;
    this.#setMicrophone("asking");
    try {
      const microphone = await Microphone.open(
        (chunk) => this.#heard(chunk),
        () => this.#microphoneLost(),
      );
      const wanted = startedAt === this.#startedAt && (this.state === "connecting" || this.state === "live");
      if (!wanted) {
        microphone.close();
        return;
      }
      this.#microphone = microphone;
      this.#usedMicrophone = true;
      this.#setMicrophone("on");
      this.page.announce("Microphone on");
    } catch (error) {
      if (startedAt !== this.#startedAt) return;
      this.#setMicrophone("off");
      const known = error instanceof MicrophoneError;
      this.page.notice(known ? error.message : "This browser cannot capture audio on this page. Typing works.");
    }
  }

  #microphoneLost() {
    this.#closeMicrophone();
    this.#call?.endAudio();
    this.page.notice("The microphone went away. Plug it in again and press Unmute.");
  }

  #setMicrophone(state) {
    this.microphoneState = state;
    this.page.microphone = state;
  }

  #mute(muted) {
    this.#microphone.muted = muted;
    this.#setMicrophone(muted ? "muted" : "on");
    this.page.announce(muted ? "Microphone muted" : "Microphone on");
    if (muted) this.#call?.endAudio(); // lets the other side finish the turn instead of waiting for more
    this.input.level = 0;
  }

  #closeMicrophone() {
    this.#microphone?.close();
    this.#microphone = null;
    this.input.level = 0;
    this.#setMicrophone("off");
  }

  #heard({ pcm, rms, peak }) {
    if (this.microphoneState !== "on") return;
    this.input.level = rms;
    this.input.peak = Math.max(this.input.peak, peak);
    this.input.chunks += 1;
    this.line.up(rms);
    this.page.microphoneLevel = Math.max(0, Math.min(1, 1 + (20 * Math.log10(rms + 1e-6)) / 52));
    if (!this.#call?.ready) return;
    if (!this.#call.sendAudio(pcm)) this.meters.skippedChunks += 1;
    if (this.#gate.hears(rms)) this.meters.spoke(performance.now());
  }

  #ready() {
    this.#readyAt = performance.now();
    this.#setState("live");
    this.page.announce("Connected");
    for (const text of this.#waiting.splice(0)) this.#sendText(text);
  }

  #frame(direction, kind, bytes) {
    this.meters.frame(direction, bytes);
    this.log.add(direction, kind, bytes, (performance.now() - this.#startedAt) / 1000);
  }

  #take(message) {
    for (const { call, response } of this.#conversation.take(message)) this.#call.answerTool(call, response);
  }

  async #ended(ending) {
    this.#call = null;
    this.#lastedS = this.#readyAt === null ? 0 : (performance.now() - this.#readyAt) / 1000;
    this.#readyAt = null;
    this.#parts.player?.finish();
    this.#closeMicrophone();
    this.transcript.end();
    this.log.add("page", `closed ${ending.code}`, 0, (performance.now() - this.#startedAt) / 1000);
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

  #statusText() {
    if (this.state === "idle") return "Not connected";
    if (this.state === "connecting") return "Connecting…";
    if (this.state === "ended") return "Call ended";
    if (this.#outputLevel > AUDIBLE_RMS) return `${this.#modelName} is speaking`;
    return this.microphoneState === "on" ? "Listening" : "Microphone off";
  }

  #refresh() {
    this.page.status = this.#statusText();
    this.page.clock(this.#readyAt === null ? this.#lastedS : (performance.now() - this.#readyAt) / 1000);
    const heard = (this.#parts.player?.measured.playedSeconds ?? 0) - this.#heardBefore;
    this.page.figures(this.meters, heard);
  }
}

window.relayDemo = readOnlyView(new Demo());
