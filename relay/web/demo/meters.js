/* Counts what a call does: frames, bytes, tokens, turns, and how long the person waited for the first sound.
 * Pure bookkeeping: no element, no socket, no clock of its own. */

const STALE_TURN_MS = 60000;
const SPEECH_CHUNKS = 3; // 120 ms in a row, so that a click on the desk does not count as speech
const SPEECH_FLOOR_RMS = 0.008;

function zeroTokens() {
  return { prompt: 0, response: 0, thoughts: 0, toolUse: 0, cached: 0, total: 0 };
}

function clamped(count) {
  return Number.isFinite(count) && count > 0 ? count : 0;
}

/** Notices when a microphone level is speech, against a noise floor that follows the room. */
export class SpeechGate {
  #floor = 0.01;
  #run = 0;

  hears(rms) {
    this.#floor = rms < this.#floor ? rms : this.#floor * 1.01 + 1e-6;
    const loud = rms > Math.max(SPEECH_FLOOR_RMS, this.#floor * 3);
    this.#run = loud ? this.#run + 1 : 0;
    return this.#run >= SPEECH_CHUNKS;
  }
}

/** All figures of one call. */
export class Meters {
  frames = { up: 0, down: 0 };
  bytes = { up: 0, down: 0 };
  tokens = zeroTokens();
  turns = 0;
  interruptions = 0;
  toolCalls = 0;
  skippedChunks = 0;
  handovers = 0;
  lastHandover = null;
  returns = 0;
  lastReturn = null;
  firstAudioMs = null;
  firstSoundMs = null;
  waits = [];
  #askedAt = null;
  #inWriting = false;
  #answered = new Map();

  /** Everything counted so far, as plain data that `restore` takes. */
  saved() {
    return { ...this };
  }

  restore(saved) {
    for (const name of Object.keys(this)) {
      if (name in saved) this[name] = saved[name];
    }
  }

  frame(direction, bytes) {
    this.frames[direction] += 1;
    this.bytes[direction] += bytes;
  }

  /** The person spoke until now, at least. What was typed keeps its own time: the answer is to that. */
  spoke(atMs) {
    if (!this.#inWriting) this.#askedAt = atMs;
  }

  /** The person sent a typed turn. */
  typed(atMs) {
    this.#askedAt = atMs;
    this.#inWriting = true;
  }

  /** First audio frame of an answer; returns the wait in milliseconds, or null if nobody asked. */
  answered(turn, atMs) {
    const asked = this.#askedAt;
    this.#askedAt = null;
    this.#inWriting = false;
    if (asked === null || atMs - asked > STALE_TURN_MS) return null;
    this.#answered.set(turn, asked);
    this.firstAudioMs = atMs - asked;
    this.waits.push(this.firstAudioMs);
    return this.firstAudioMs;
  }

  /** First sample of an answer leaves the loudspeaker. */
  heard(turn, atMs) {
    const asked = this.#answered.get(turn);
    this.#answered.clear();
    if (asked !== undefined) this.firstSoundMs = atMs - asked;
  }

  get medianAudioMs() {
    if (this.waits.length === 0) return null;
    const sorted = [...this.waits].sort((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** The relay moved the call to another connection at Google; `report` is what it said of that. */
  handover(report) {
    this.handovers += 1;
    this.lastHandover = report;
  }

  /** This page came back to its session by a new socket. */
  resumed(report) {
    this.returns += 1;
    this.lastReturn = report;
  }

  /** Adds one usageMetadata, in the Developer API's names or in Vertex's. */
  usage(metadata) {
    const tokens = this.tokens;
    tokens.prompt += clamped(metadata.promptTokenCount);
    tokens.response += clamped(metadata.responseTokenCount ?? metadata.candidatesTokenCount);
    tokens.thoughts += clamped(metadata.thoughtsTokenCount);
    tokens.toolUse += clamped(metadata.toolUsePromptTokenCount);
    tokens.cached += clamped(metadata.cachedContentTokenCount);
    tokens.total += clamped(metadata.totalTokenCount);
  }
}
