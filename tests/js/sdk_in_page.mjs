/* The official JavaScript SDK in a page of headless Chromium, with a ticket for its key; prints what the page saw as one
 * JSON object. The assertions are in tests/e2e/test_browser_ticket.py.
 * Usage: node sdk_in_page.mjs '{"page", "relay", "model", "ticket", "key", "chromium"}'; the key stays out of the page. */

import { chromium } from "playwright-core";

const PATIENCE_MS = 20000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"];

const { page: address, relay, model, ticket, key, chromium: executablePath } = JSON.parse(process.argv[2]);

/** In the page: opens a session, says hello, and keeps what it hears under `name`. */
async function talk({ name, relay, model, ticket }) {
  const { GoogleGenAI } = await import("@google/genai");
  const ai = new GoogleGenAI({ apiKey: ticket, httpOptions: { baseUrl: relay } });
  const seen = (window[name] = { said: "", turns: 0, closed: null });
  const callbacks = {
    onmessage: ({ serverContent }) => {
      seen.said += serverContent?.outputTranscription?.text ?? "";
      if (serverContent?.turnComplete) seen.turns += 1;
    },
    onclose: ({ code, reason, wasClean }) => (seen.closed = { code, reason, wasClean }),
  };
  try {
    seen.session = await ai.live.connect({ model, config: { responseModalities: ["AUDIO"] }, callbacks });
    seen.session.sendClientContent({ turns: "hello", turnComplete: true });
  } catch (error) {
    seen.failure = String(error);
  }
}

async function main() {
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
  try {
    const page = await browser.newPage();
    const sockets = [];
    page.on("websocket", (socket) => sockets.push(new URL(socket.url()).host));
    await page.goto(address);
    const begin = (name) => page.evaluate(talk, { name, relay, model, ticket });
    const until = (condition, name) => page.waitForFunction(condition, name, { timeout: PATIENCE_MS, polling: 20 });
    const shown = (name) => page.evaluate((of) => ({ ...window[of], session: undefined }), name);

    await begin("first");
    await until((of) => window[of].turns === 1, "first");
    await page.evaluate(() => window.first.session.sendClientContent({ turns: "and again", turnComplete: true }));
    await until((of) => window[of].turns === 2, "first");
    const talked = await shown("first");

    await begin("second");
    await until((of) => window[of].closed !== null, "second");
    const second = await shown("second");
    const untouched = await shown("first");

    const began = Date.now();
    const answer = await fetch(`${relay}/v1/auth_tokens:revoke`, {
      method: "POST",
      headers: { "x-goog-api-key": key },
      body: JSON.stringify({ name: ticket }),
    });
    await until((of) => window[of].closed !== null, "first");
    const revoked = { ...(await shown("first")), order: await answer.json(), afterMs: Date.now() - began };
    await begin("third");
    await until((of) => window[of].closed !== null || window[of].failure, "third");
    return { talked, second, untouched, revoked, third: await shown("third"), sockets, origin: new URL(page.url()).origin };
  } finally {
    await browser.close();
  }
}

process.stdout.write(JSON.stringify(await main()));
