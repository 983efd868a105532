/* Talk to Gemini through the relay with Google's own JavaScript SDK; the spoken reply is saved as reply.wav.
 *
 *     node talk.js "Tell me something about Lisbon"
 *
 * The environment says where the relay is: RELAY_URL (http:// or https://) and RELAY_KEY. */

import { GoogleGenAI, Modality } from "@google/genai";
import { writeFileSync } from "node:fs";

const MODEL = "gemini-3.8-live";
const REPLY = "reply.wav";
const RATE_HZ = 24000;

/** A WAV file of 16-bit mono samples. */
function wav(pcm) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + pcm.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // one channel
  header.writeUInt32LE(RATE_HZ, 24);
  header.writeUInt32LE(RATE_HZ * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}

/** Ask one question; resolves to the sound of the reply once its turn is over. */
async function ask(ai, question) {
  const sound = [];
  let settle;
  const over = new Promise((resolve, reject) => (settle = { resolve, reject }));
  const session = await ai.live.connect({
    model: MODEL,
    config: { responseModalities: [Modality.AUDIO] },
    callbacks: {
      onmessage: ({ serverContent }) => {
        for (const part of serverContent?.modelTurn?.parts ?? []) {
          if (part.inlineData) sound.push(Buffer.from(part.inlineData.data, "base64"));
        }
        process.stdout.write(serverContent?.outputTranscription?.text ?? "");
        if (serverContent?.turnComplete) settle.resolve();
      },
      onerror: ({ message }) => settle.reject(new Error(message)),
      onclose: ({ code, reason }) => settle.reject(new Error(`closed with ${code}: ${reason}`)),
    },
  });
  session.sendClientContent({ turns: question, turnComplete: true });
  await over;
  session.close();
  return Buffer.concat(sound);
}

const [question] = process.argv.slice(2);
const { RELAY_URL: baseUrl, RELAY_KEY: apiKey } = process.env;
if (!question || !baseUrl || !apiKey) {
  console.error('Usage: RELAY_URL=… RELAY_KEY=… node talk.js "a question"');
  process.exit(2);
}

// The only line that differs from talking to Google directly: the relay's key, and its address.
const ai = new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });
const sound = await ask(ai, question);
writeFileSync(REPLY, wav(sound));
console.log(`\n${(sound.length / 2 / RATE_HZ).toFixed(1)} s of speech in ${REPLY}`);
