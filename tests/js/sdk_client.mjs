/* Plays conversations with the official JavaScript SDK, unmodified, and says what the application saw: the twin of
 * tests/e2e/sdk/python_client.py. Reads one request per line, {"url", "key", "model", "config", "steps"}, and answers
 * each with one line of JSON. Knows nothing of the relay; the assertions are elsewhere. */

import { GoogleGenAI } from "@google/genai";
import { subscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const WHOLE_MS = 15000;
const CHUNK_BYTES = 1280; // 40 ms of PCM16 at 16 kHz

const { version } = JSON.parse(
  readFileSync(new URL("./node_modules/@google/genai/package.json", import.meta.url), "utf8"),
);

let target = "";
let line = null;
// Node itself tells what it requests and over which socket, so that nobody has to reach into the SDK.
subscribe("http.client.request.start", ({ request }) => {
  target = request.path;
  line = request.socket;
  request.once("socket", (socket) => (line = socket));
});

const peakOf = (pcm) => {
  let peak = 0;
  for (let at = 0; at + 1 < pcm.length; at += 2) peak = Math.max(peak, Math.abs(pcm.readInt16LE(at)));
  return peak;
};

/** What is in a message, in the words that the clients of all SDKs use. */
const eventOf = ({ serverContent = {}, toolCall, usageMetadata, sessionResumptionUpdate }) => {
  const parts = serverContent.modelTurn?.parts ?? [];
  const pcm = Buffer.concat(parts.filter((part) => part.inlineData).map((part) => Buffer.from(part.inlineData.data, "base64")));
  const event = {
    audio: pcm.length,
    peak: peakOf(pcm),
    said: serverContent.outputTranscription?.text,
    heard: serverContent.inputTranscription?.text,
    calls: toolCall?.functionCalls?.map(({ id, name, args }) => ({ id, name, args })),
    interrupted: serverContent.interrupted,
    generationComplete: serverContent.generationComplete,
    turnComplete: serverContent.turnComplete,
    tokens: usageMetadata?.totalTokenCount,
    handle: sessionResumptionUpdate?.newHandle,
  };
  return Object.fromEntries(Object.entries(event).filter(([, value]) => value));
};

const failureOf = (error) => ({ type: error.name, code: error.code ?? null, message: error.message });

/** One session: its steps in order, and every message that came meanwhile. */
class Conversation {
  events = [];
  #connect;
  #session = null;
  #seen = 0;
  #wake = () => {};
  #closed = null;

  constructor(connect) {
    this.#connect = connect;
  }

  callbacks = {
    onmessage: (message) => {
      this.events.push(eventOf(message));
      this.#wake();
    },
    onclose: ({ code, reason }) => {
      this.#closed = Object.assign(new Error(reason), { name: "CloseEvent", code });
      this.#wake();
    },
    onerror: () => {},
  };

  steps = {
    text: (session, { text }) => session.sendClientContent({ turns: text, turnComplete: true }),
    type: (session, { text }) => session.sendRealtimeInput({ text }),
    video: (session, { jpeg }) => session.sendRealtimeInput({ video: { data: jpeg, mimeType: "image/jpeg" } }),
    audio: (session, { pcm }) => {
      const sound = Buffer.from(pcm, "base64");
      for (let at = 0; at < sound.length; at += CHUNK_BYTES) {
        const data = sound.subarray(at, at + CHUNK_BYTES).toString("base64");
        session.sendRealtimeInput({ audio: { data, mimeType: "audio/pcm;rate=16000" } });
      }
    },
    answer: (session, { response }) => {
      const { id, name } = this.events.findLast((event) => event.calls).calls[0];
      session.sendToolResponse({ functionResponses: [{ id, name, response }] });
    },
    /** Lose the connection as a dead network does, and notice. */
    drop: async () => {
      line.resetAndDestroy();
      while (!this.#closed) await new Promise((resolve) => (this.#wake = resolve));
    },
    /** Come back with the newest handle, as the SDK's documentation tells applications to. */
    resume: async () => {
      const { handle } = this.events.findLast((event) => event.handle);
      this.#closed = null;
      await this.open({ handle });
    },
    /** Wait for the next message that has this in it; those before it are passed over for good. */
    until: async (_session, { event }) => {
      for (;;) {
        while (this.#seen < this.events.length) {
          this.#seen += 1;
          if (event in this.events[this.#seen - 1]) return;
        }
        if (this.#closed) throw this.#closed;
        await new Promise((resolve) => (this.#wake = resolve));
      }
    },
  };

  async open(sessionResumption) {
    this.#session = await this.#connect(this.callbacks, sessionResumption);
  }

  async play(steps) {
    await this.open();
    try {
      for (const step of steps) await this.steps[step.do](this.#session, step);
    } finally {
      this.#session.close();
    }
  }
}

const converse = ({ url, key, model, config, steps }) => {
  const ai = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } });
  const conversation = new Conversation((callbacks, sessionResumption) =>
    ai.live.connect({ model, config: sessionResumption ? { ...config, sessionResumption } : config, callbacks }),
  );
  return { conversation, over: conversation.play(steps) };
};

const bounded = async (work) => {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error(`not over within ${WHOLE_MS} ms`), { name: "Timeout" })), WHOLE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
};

for await (const request of createInterface({ input: process.stdin })) {
  target = "";
  let failure = null;
  const { conversation, over } = converse(JSON.parse(request));
  try {
    await bounded(over);
  } catch (error) {
    failure = failureOf(error);
  }
  process.stdout.write(`${JSON.stringify({ sdk: version, events: conversation.events, failure, target })}\n`);
}
