/* Drives the relay's demo page in headless Chromium and prints what happened as one JSON object; the assertions are
 * in tests/e2e/test_demo_page.py. Usage: node demo_page.mjs '{"scenario", "url", "chromium", "screenshot", ...}' */

import { chromium } from "playwright-core";

const PATIENCE_MS = 20000;
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

const snapshot = (page) =>
  page.evaluate(() => {
    const { state, counters, latency, transcript, playback, microphone } = window.relayDemo;
    return { state, counters, latency, transcript, playback, microphone, text: document.body.innerText };
  });

const until = (page, condition, argument) =>
  page.waitForFunction(condition, argument, { timeout: PATIENCE_MS, polling: 50 });

const say = async (page, text) => {
  await page.getByLabel("Message").fill(text);
  await page.keyboard.press("Enter");
};

const turnHeard = (turns) => {
  const { counters, playback } = window.relayDemo;
  return counters.turns >= turns && playback.playedSeconds > 0 && playback.queuedSeconds === 0;
};

const scenarios = {
  /** Types a text and waits until the whole answer was played. */
  async typed(page, { text }) {
    await say(page, text);
    await until(page, turnHeard, 1);
    await until(page, () => document.getElementById("turns").textContent === "1");
    const panel = await page.locator("#panel").innerText();
    return { panel, after: await snapshot(page) };
  },

  /** Talks through the browser's fake microphone, mutes, hears the answer, types, unmutes and hangs up. */
  async microphone(page) {
    await page.getByRole("button", { name: "Start talking" }).click();
    const frames = (count) => window.relayDemo.state === "live" && window.relayDemo.counters.frames.up >= count;
    await until(page, frames, 40);
    await until(page, () => window.relayDemo.microphone.peak > 0.01);
    const talking = await snapshot(page);
    await page.getByRole("button", { name: "Mute" }).click();
    await until(page, () => window.relayDemo.microphone.state === "muted");
    const muted = await snapshot(page);
    await until(page, turnHeard, 1);
    const answered = await snapshot(page);
    await say(page, "hello");
    await until(page, turnHeard, answered.counters.turns + 1);
    const mutedLater = await snapshot(page);
    await page.getByRole("button", { name: "Unmute" }).click();
    await until(page, (count) => window.relayDemo.counters.frames.up > count, mutedLater.counters.frames.up + 5);
    await page.getByRole("button", { name: "Hang up" }).click();
    await until(page, () => window.relayDemo.state === "ended");
    return { talking, muted, answered, mutedLater, after: await snapshot(page) };
  },

  /** Interrupts a long answer by typing while it is being played. */
  async bargeIn(page, { text }) {
    await say(page, text);
    await until(page, () => window.relayDemo.playback?.playedSeconds > 0.3);
    const speaking = await snapshot(page);
    await say(page, "stop");
    await until(page, () => window.relayDemo.counters.interruptions > 0);
    await until(page, turnHeard, 2);
    return { speaking, after: await snapshot(page) };
  },

  /** The relay refuses the page's first key; calling again, with the real one, works. */
  async refused(page) {
    const config = await page.evaluate(async () => (await fetch("/demo/config.json")).json());
    const wrong = JSON.stringify({ ...config, key: "not-a-key-of-this-relay" });
    await page.route("**/demo/config.json", (route) => route.fulfill({ contentType: "application/json", body: wrong }));
    await say(page, "hello");
    await until(page, () => window.relayDemo.state === "ended");
    const refused = await snapshot(page);
    await page.unroute("**/demo/config.json");
    await page.getByRole("button", { name: "Call again" }).click();
    await until(page, () => window.relayDemo.state === "live");
    return { refused, after: await snapshot(page) };
  },

  /** The person does not let the page have the microphone. */
  async denied(page) {
    await page.getByRole("button", { name: "Start talking" }).click();
    await until(page, () => window.relayDemo.state === "live" && window.relayDemo.microphone.state === "off");
    return { after: await snapshot(page) };
  },

  /** Feeds pure tones through the capture worklet at the rates devices have and returns what came out. */
  async resampler(page, { cases }) {
    const results = [];
    for (const [rate, hz] of cases) results.push(await page.evaluate(capture, { rate, hz }));
    return { results, after: await snapshot(page) };
  },
};

async function capture({ rate, hz }) {
  const seconds = 1;
  const context = new OfflineAudioContext(1, rate * seconds, rate);
  await context.audioWorklet.addModule("/demo/capture-worklet.js");
  const node = new AudioWorkletNode(context, "relay-capture", { numberOfOutputs: 0 });
  const samples = [];
  const chunkLengths = new Set();
  node.port.onmessage = ({ data }) => {
    const pcm = new Int16Array(data.pcm);
    chunkLengths.add(pcm.length);
    samples.push(...pcm);
  };
  const buffer = new AudioBuffer({ length: rate * seconds, sampleRate: rate });
  buffer.copyToChannel(Float32Array.from({ length: rate * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate)), 0);
  const tone = new AudioBufferSourceNode(context, { buffer });
  tone.connect(node);
  tone.start();
  await context.startRendering();
  await new Promise((resolve) => {
    node.port.postMessage({});
    const done = new MessageChannel();
    done.port1.onmessage = resolve;
    done.port2.postMessage(null);
  });
  const settled = samples.slice(1600);
  const rms = Math.sqrt(settled.reduce((sum, value) => sum + (value / 32768) ** 2, 0) / settled.length);
  let crossings = 0;
  for (let i = 1; i < settled.length; i += 1) if (settled[i - 1] < 0 !== settled[i] < 0) crossings += 1;
  const measuredHz = (crossings / 2 / settled.length) * 16000;
  return { rate, hz, rms, measuredHz, samples: samples.length, chunkLengths: [...chunkLengths] };
}

async function watch(page, url, seen) {
  const home = new URL(url).host;
  const check = (address) => {
    const { protocol, host } = new URL(address);
    if (!["data:", "blob:"].includes(protocol) && host !== home) seen.foreign.push(address);
  };
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.console.push(message.text());
  });
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("request", (request) => check(request.url()));
  page.on("websocket", (socket) => {
    check(socket.url());
    seen.sockets.push(socket.url());
  });
}

async function main({ scenario, url, chromium: executablePath, screenshot, viewport, dark, ...details }) {
  const allow = scenario === "denied" ? ["--deny-permission-prompts"] : ["--use-fake-ui-for-media-stream"];
  const browser = await chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...allow] });
  try {
    const context = await browser.newContext({
      viewport: viewport ?? { width: 1280, height: 800 },
      colorScheme: dark ? "dark" : "light",
    });
    const page = await context.newPage();
    const seen = { console: [], foreign: [], sockets: [] };
    await watch(page, url, seen);
    const answer = await page.goto(url);
    await until(page, () => document.getElementById("upstream").textContent !== "…");
    const result = await scenarios[scenario](page, details);
    if (screenshot) await page.screenshot({ path: screenshot });
    const headers = answer.headers();
    const { key } = await page.evaluate(async () => (await fetch("/demo/config.json")).json());
    const html = await page.content();
    return { ...result, ...seen, policy: headers["content-security-policy"] ?? "", keyShown: html.includes(key) };
  } finally {
    await browser.close();
  }
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]))));
