/* Drives examples/browser in headless Chromium and prints what happened as one JSON object; the assertions are in
 * tests/e2e/test_examples.py. Usage: node browser_example.mjs '{"url", "key", "relay", "chromium", "screenshot"}' */

import { chromium } from "playwright-core";

const PATIENCE_MS = 20000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

/** Runs in the page before its own script: notes all sound that is handed to the loudspeaker. */
const eavesdrop = () => {
  window.heard = { seconds: 0, peak: 0 };
  const { start } = AudioBufferSourceNode.prototype;
  AudioBufferSourceNode.prototype.start = function (...when) {
    window.heard.seconds += this.buffer.duration;
    for (const sample of this.buffer.getChannelData(0)) window.heard.peak = Math.max(window.heard.peak, Math.abs(sample));
    start.apply(this, when);
  };
};

async function main({ url, key, relay, chromium: executablePath, screenshot }) {
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
  try {
    const page = await browser.newPage();
    const seen = { problems: [], sockets: [], chunks: 0 };
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) seen.problems.push(message.text());
    });
    page.on("pageerror", (error) => seen.problems.push(String(error)));
    page.on("websocket", (socket) => {
      seen.sockets.push(socket.url());
      socket.on("framesent", ({ payload }) => {
        if (payload.includes('"audio"')) seen.chunks += 1;
      });
    });
    await page.addInitScript(eavesdrop);
    await page.goto(`${url}#url=${relay}&key=${key}`);
    const says = (text) => page.getByText(text).waitFor({ timeout: PATIENCE_MS });
    await page.getByRole("button", { name: "Connect" }).click();
    await says("Connected.");
    await page.getByLabel("Message").fill("hello");
    await page.keyboard.press("Enter");
    await says("This is turn 1.");
    const typed = await page.evaluate(() => window.heard);
    await page.getByRole("button", { name: "Microphone on" }).click();
    const until = Date.now() + PATIENCE_MS;
    while (seen.chunks < 50 && Date.now() < until) await page.waitForTimeout(50);
    await page.getByRole("button", { name: "Microphone off" }).click();
    await says("I heard");
    await page.waitForFunction(() => /This is turn [2-9]/.test(document.body.innerText), null, { timeout: PATIENCE_MS });
    await page.getByRole("button", { name: "Connect" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".note").length === 2, null, { timeout: PATIENCE_MS });
    const transcript = await page.locator("#log p").evaluateAll((all) => all.map((p) => [p.className, p.textContent]));
    await page.screenshot({ path: screenshot });
    return { ...seen, typed, transcript };
  } finally {
    await browser.close();
  }
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]))));
