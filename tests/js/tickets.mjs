/* Mints a ticket with the official JavaScript SDK, or talks with one; prints one JSON object. The assertions are in
 * tests/e2e/test_tickets.py. Usage: node tickets.mjs '{"url", "key", "model", "mint"}' */

import { GoogleGenAI } from "@google/genai";

const PATIENCE_MS = 10000;

const { url, key, model, mint } = JSON.parse(process.argv[2]);
const ai = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } });

const talk = () =>
  new Promise((resolve) => {
    let said = "";
    const late = setTimeout(() => resolve({ failure: "late" }), PATIENCE_MS);
    const over = (outcome) => (clearTimeout(late), resolve(outcome));
    const callbacks = {
      onmessage: ({ serverContent }) => {
        said += serverContent?.outputTranscription?.text ?? "";
        if (serverContent?.turnComplete) over({ said });
      },
      onclose: ({ code, reason }) => over({ failure: `${code} ${reason}` }),
    };
    ai.live.connect({ model, callbacks }).then(
      (session) => session.sendClientContent({ turns: "hello", turnComplete: true }),
      (error) => over({ failure: error.message }),
    );
  });

const outcome = mint
  ? await ai.authTokens.create({
      config: { uses: 1, liveConnectConstraints: { model, config: mint }, lockAdditionalFields: [] },
    })
  : await talk();
process.stdout.write(JSON.stringify(outcome));
process.exit(0);
