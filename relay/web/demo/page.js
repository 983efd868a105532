/* The page's elements: every change of what is seen goes through here, so that the call logic stays free of the DOM.
 * It shows what it is given and knows neither the protocol nor audio. */

import { causeInWords } from "./continuity.js";

const METER_TICKS = 9;
const LANGUAGES = [
  "en-US", "en-GB", "en-IN", "de-DE", "es-ES", "es-US", "fr-FR", "it-IT", "nl-NL", "pl-PL", "pt-BR", "tr-TR",
  "uk-UA", "ru-RU", "ar-EG", "hi-IN", "bn-BD", "id-ID", "ja-JP", "ko-KR", "th-TH", "vi-VN", "cmn-CN",
];

const numbers = new Intl.NumberFormat("en");
const byId = (id) => document.getElementById(id);

function bytesInWords(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${(bytes / 1000).toFixed(bytes < 99_950 ? 1 : 0)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function milliseconds(value) {
  return value === null ? "–" : `${numbers.format(Math.round(value))} ms`;
}

function handoverRows(last) {
  if (last === null) return {};
  return {
    "last-stall": milliseconds(last.stallMs),
    "last-cause": causeInWords(last.cause),
    "last-turn": last.turnCut ? "cut off" : "not cut",
    "last-state": last.restored ? "restored" : "lost",
  };
}

function languageName(code) {
  return new Intl.DisplayNames([code, "en"], { type: "language", languageDisplay: "standard" }).of(code);
}

function fillSelect(select, options, chosen = "") {
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === chosen)));
}

export class Page {
  #ticks;
  #level = 0;

  constructor() {
    this.#ticks = Array.from({ length: METER_TICKS }, () => document.createElement("i"));
    byId("ticks").append(...this.#ticks);
    byId("event-log").addEventListener("toggle", ({ target }) => target.open && target.scrollIntoView({ block: "start" }));
    byId("panel-toggle").addEventListener("click", () => this.#togglePanel());
    byId("notice-close").addEventListener("click", () => this.notice(""));
    fillSelect(byId("language"), [["", "Automatic"], ...LANGUAGES.map((code) => [code, languageName(code)])]);
    fillSelect(byId("voice"), [["", "Default"]]);
  }

  get choices() {
    return { voice: byId("voice").value, language: byId("language").value };
  }

  /** As they were before a reload; `configure` keeps them if there still are such. */
  set choices({ voice, language }) {
    fillSelect(byId("voice"), [["", "Default"], [voice, voice]], voice);
    byId("language").value = language;
  }

  /** Shows what the relay said about itself. */
  configure(config, modelName) {
    const chosen = byId("voice").value;
    fillSelect(byId("voice"), [["", "Default"], ...config.voices.map((voice) => [voice, voice])], chosen);
    byId("upstream").textContent = config.upstream === "simulator" ? "built-in simulator" : "Gemini Live";
    byId("model").textContent = config.upstream === "simulator" ? "" : (config.model ?? "").replace(/^models\//, "");
    for (const node of document.querySelectorAll("[data-model-name]")) node.textContent = modelName;
    if (config.upstream === "simulator") {
      byId("hero-note").textContent =
        "No Gemini key is set, so the built-in simulator answers. You can also type below, without a microphone.";
    }
  }

  /** "idle", "connecting", "live", "reconnecting" or "ended". */
  set state(state) {
    document.body.dataset.state = state;
    byId("hero").hidden = state !== "idle";
    byId("ending").hidden = state !== "ended";
    if (state === "ended") byId("ending-actions").before(byId("choices"));
    byId("waiting").textContent = { connecting: "Calling…", reconnecting: "Calling again…", live: "Connected. Say something, or type below." }[state] ?? "";
    this.#keepFocus({ connecting: "mic", live: "mic", ended: "again" }[state]);
  }

  set status(text) {
    if (byId("status").textContent !== text) byId("status").textContent = text;
  }

  /** Says something to a screen reader only. */
  announce(text) {
    byId("announcement").textContent = text;
  }

  /** "off", "asking", "on" or "muted". */
  set microphone(state) {
    document.body.dataset.mic = state;
    byId("mic").setAttribute("aria-pressed", String(state === "on"));
    byId("mic-label").textContent = { asking: "Asking…", on: "Mute" }[state] ?? "Unmute";
    if (state !== "on") this.microphoneLevel = 0;
  }

  /** 0 to 1. */
  set microphoneLevel(level) {
    const lit = Math.round(level * METER_TICKS);
    this.#ticks.forEach((tick, index) => tick.classList.toggle("lit", index < lit));
    this.#level = level;
  }

  /** Offers to go on with the call that this tab remembers. */
  set offer(offered) {
    byId("go-on").hidden = !offered;
  }

  /** Something to know: a "problem", or a "hint" at what to do next. */
  notice(text, kind = "problem") {
    byId("notice").hidden = text === "";
    byId("notice").classList.toggle("hint", kind === "hint");
    byId("notice-text").textContent = text;
  }

  showEnding({ title, advice, problem }, reason) {
    byId("ending").classList.toggle("problem", problem);
    byId("ending-title").textContent = title;
    byId("ending-advice").textContent = advice;
    byId("ending-reason").hidden = reason === "";
    byId("ending-reason").textContent = reason === "" ? "" : `The relay’s reason: ${reason}`;
    const scroller = byId("scroller");
    scroller.scrollTop = scroller.scrollHeight;
  }

  clock(seconds) {
    const whole = Math.floor(seconds);
    const text = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    if (byId("clock").textContent !== text) byId("clock").textContent = text;
  }

  figures(meters, heardSeconds) {
    const rows = {
      "first-audio": milliseconds(meters.firstAudioMs),
      "first-sound": milliseconds(meters.firstSoundMs),
      "median-audio": milliseconds(meters.medianAudioMs),
      "frames-up": numbers.format(meters.frames.up),
      "frames-down": numbers.format(meters.frames.down),
      "bytes-up": bytesInWords(meters.bytes.up),
      "bytes-down": bytesInWords(meters.bytes.down),
      "tokens-prompt": numbers.format(meters.tokens.prompt),
      "tokens-response": numbers.format(meters.tokens.response),
      "tokens-thoughts": numbers.format(meters.tokens.thoughts),
      "tokens-tools": numbers.format(meters.tokens.toolUse),
      "tokens-cached": numbers.format(meters.tokens.cached),
      turns: numbers.format(meters.turns),
      interruptions: numbers.format(meters.interruptions),
      handovers: numbers.format(meters.handovers),
      returns: numbers.format(meters.returns),
      ...handoverRows(meters.lastHandover),
      "tool-calls": numbers.format(meters.toolCalls),
      heard: `${heardSeconds.toFixed(1)} s`,
    };
    for (const [id, text] of Object.entries(rows)) {
      const node = byId(id);
      if (node.textContent !== text) node.textContent = text;
    }
    byId("row-thoughts").hidden = meters.tokens.thoughts === 0;
    byId("row-tools").hidden = meters.tokens.toolUse === 0;
    byId("row-cached").hidden = meters.tokens.cached === 0;
    byId("row-tool-calls").hidden = meters.toolCalls === 0;
    byId("row-returns").hidden = meters.returns === 0;
    for (const row of document.querySelectorAll("[data-handover]")) row.hidden = meters.lastHandover === null;
    byId("first-audio").classList.toggle("unknown", meters.firstAudioMs === null);
    byId("mic-level").setAttribute("aria-valuenow", String(Math.round(this.#level * 100)));
  }

  /** A pressed button may vanish with its section; the keyboard then goes on at `id` instead of at the top. */
  #keepFocus(id) {
    requestAnimationFrame(() => {
      if (id && document.activeElement === document.body) byId(id).focus({ preventScroll: true });
    });
  }

  #togglePanel() {
    const open = document.body.dataset.panel !== "open";
    document.body.dataset.panel = open ? "open" : "closed";
    byId("panel-toggle").setAttribute("aria-expanded", String(open));
    byId("panel-toggle").textContent = open ? "Conversation" : "Figures";
  }
}
