/* One call: a WebSocket that speaks the Gemini Live protocol to this page's own relay. It sends, parses and reports;
 * it keeps no transcript, plays no audio and touches no element of the page. */

const SETUP_DEADLINE_MS = 15000;
const HANG_UP_DEADLINE_MS = 2000;
const STALE_BACKLOG_BYTES = 256 * 1024; // more than five seconds of microphone audio that the network did not take

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The first message of a call: the person's choices and nothing that an operator would want to forbid. */
export function setupFor(config, { voice, language }) {
  const speechConfig = {};
  if (voice) speechConfig.voiceConfig = { prebuiltVoiceConfig: { voiceName: voice } };
  if (language) speechConfig.languageCode = language;
  const setup = { inputAudioTranscription: {}, outputAudioTranscription: {} };
  if (config.model) setup.model = config.model;
  if (Object.keys(speechConfig).length > 0) setup.generationConfig = { speechConfig };
  return setup;
}

function encodeBase64(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}

function addressOf(config) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${config.path}`;
}

/** What a server message holds, for the event log: names of fields, never their content. */
function kindOf(message) {
  const { serverContent: content, relay, ...rest } = message;
  const kinds = [...Object.keys(rest), ...Object.keys(relay ?? {})];
  if (!content) return kinds.join(" + ");
  for (const key of Object.keys(content)) {
    if (key !== "modelTurn") kinds.unshift(key);
  }
  for (const part of content.modelTurn?.parts ?? []) {
    kinds.unshift(part.inlineData ? "audio" : part.thought ? "thought" : "text");
  }
  return [...new Set(kinds)].join(" + ") || "serverContent";
}

/** Handlers: onReady, onFrame(direction, kind, bytes), onMessage(message), onEnd({code, reason, ready, opened, by}). */
export class Call {
  #socket;
  #handlers;
  #deadline;
  #ready = false;
  #opened = false;
  #ended = false;
  #by = "relay";

  constructor(config, setup, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(addressOf(config), ["relay.v1", `relay.key.${config.key}`]);
    this.#socket.binaryType = "arraybuffer"; // Blobs are read asynchronously and may overtake each other
    this.#socket.onopen = () => {
      this.#opened = true;
      this.#send("setup", { setup });
    };
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code, reason }) => this.#end(code, reason);
    this.#deadline = setTimeout(() => this.#giveUp("timeout"), SETUP_DEADLINE_MS);
  }

  get ready() {
    return this.#ready;
  }

  sendText(text) {
    const turns = [{ role: "user", parts: [{ text }] }];
    this.#send("clientContent", { clientContent: { turns, turnComplete: true } });
  }

  /** False when the chunk was left out because the network is not taking what was sent before. */
  sendAudio(pcm) {
    if (!this.#ready || this.#socket.bufferedAmount > STALE_BACKLOG_BYTES) return false;
    const audio = { mimeType: "audio/pcm;rate=16000", data: encodeBase64(pcm) };
    this.#send("audio", { realtimeInput: { audio } });
    return true;
  }

  endAudio() {
    if (this.#ready) this.#send("audioStreamEnd", { realtimeInput: { audioStreamEnd: true } });
  }

  answerTool(call, response) {
    const functionResponses = [{ id: call.id, name: call.name, response }];
    this.#send("toolResponse", { toolResponse: { functionResponses } });
  }

  hangUp() {
    this.#giveUp("page");
  }

  #giveUp(by) {
    if (this.#ended) return;
    this.#by = by;
    clearTimeout(this.#deadline);
    this.#socket.close(1000);
    this.#deadline = setTimeout(() => this.#end(1006, ""), HANG_UP_DEADLINE_MS);
  }

  #send(kind, message) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    const text = JSON.stringify(message);
    this.#socket.send(text);
    this.#handlers.onFrame("up", kind, encoder.encode(text).length);
  }

  #receive(data) {
    if (this.#ended || this.#by !== "relay") return;
    const binary = typeof data !== "string";
    const bytes = binary ? data.byteLength : encoder.encode(data).length;
    let message;
    try {
      message = JSON.parse(binary ? decoder.decode(data) : data);
    } catch {
      this.#handlers.onFrame("down", "unreadable", bytes);
      return;
    }
    this.#handlers.onFrame("down", kindOf(message), bytes);
    if (message.setupComplete && !this.#ready) {
      this.#ready = true;
      clearTimeout(this.#deadline);
      this.#handlers.onReady();
    }
    this.#handlers.onMessage(message);
  }

  #end(code, reason) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    this.#handlers.onEnd({ code, reason, ready: this.#ready, opened: this.#opened, by: this.#by });
  }
}
