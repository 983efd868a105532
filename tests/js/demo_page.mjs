/* Drives the relay's demo page in headless Chromium and prints what happened as one JSON object; the assertions are
 * in tests/e2e/test_demo_page.py. Usage: node demo_page.mjs '{"scenario", "url", "chromium", "screenshot", ...}' */

import { createConnection, createServer } from "node:net";
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
];

const snapshot = (page) =>
  page.evaluate(() => {
    const { state, counters, continuity, latency, transcript, playback, microphone } = window.relayDemo;
    const text = document.body.innerText;
    return { state, counters, continuity, latency, transcript, playback, microphone, text };
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

const handedOver = (page, count) => until(page, (n) => window.relayDemo.continuity.handovers === n, count);

const cameBack = (page, count) =>
  until(page, (n) => window.relayDemo.state === "live" && window.relayDemo.continuity.returns === n, count);

/** Says something that Gemini's side alone can know later, and hears the answer out. */
async function confide(page, text) {
  await say(page, text);
  await until(page, turnHeard, 1);
}

/** Asks for what was said; the page as it is when the answer was heard. */
async function askBack(page) {
  const { turns } = await page.evaluate(() => window.relayDemo.counters);
  await say(page, "what did I say?");
  await until(page, turnHeard, turns + 1);
  return snapshot(page);
}

/** Until the relay itself has forgotten the page's session, as its own metrics tell. */
async function forgotten(metrics) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    const text = await (await fetch(metrics)).text();
    const sum = (name) => [...text.matchAll(new RegExp(`^${name}\\b.* ([0-9.]+)$`, "gm"))].reduce((n, m) => n + Number(m[1]), 0);
    if (sum("relay_sessions_active") + sum("relay_sessions_parked") === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the relay did not let go of the session");
}

/** Reloads the page with another memory of its line than it had. */
async function reloadRemembering(page, changed) {
  await page.evaluate((changes) => {
    addEventListener("pagehide", () => {
      const line = JSON.parse(sessionStorage.getItem("relay.demo.line"));
      sessionStorage.setItem("relay.demo.line", JSON.stringify({ ...line, ...changes }));
    });
  }, changed);
  await page.reload();
}

/** Until the page gives a hint. Playwright's own ways to look at a page count as a gesture; this one does not. */
async function hinted(page) {
  const devtools = await page.context().newCDPSession(page);
  const expression = "!document.getElementById('notice').hidden";
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    const { result } = await devtools.send("Runtime.evaluate", { expression });
    if (result.value) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the page gave no hint");
}

const scenarios = {
  /** Cuts Google's line while nobody speaks. */
  async cutWhileIdle(page, { text }) {
    await confide(page, text);
    await page.getByRole("button", { name: "Cut the line" }).click();
    await handedOver(page, 1);
    await until(page, () => document.getElementById("handovers").textContent === "1");
    const cut = { ...(await snapshot(page)), panel: await page.locator("#panel").innerText() };
    return { cut, after: await askBack(page) };
  },

  /** Cuts Google's line under an answer that is being heard. */
  async cutMidAnswer(page, { text }) {
    await say(page, text);
    await until(page, () => window.relayDemo.playback?.playedSeconds > 0.5);
    await page.getByRole("button", { name: "Cut the line" }).click();
    await handedOver(page, 1);
    const cut = await snapshot(page);
    await until(page, turnHeard, 2); // the question was not in the state behind the handle, so it is answered anew
    return { cut, after: await askBack(page) };
  },

  /** Google announces the end of its connection. */
  async goAway(page, { text }) {
    await confide(page, text);
    await page.getByRole("button", { name: "Send goAway" }).click();
    await handedOver(page, 1);
    const moved = await snapshot(page);
    return { moved, after: await askBack(page) };
  },

  /** Reloads the page in the middle of an answer, with a voice chosen and the microphone on. */
  async reload(page, { text }) {
    await page.getByLabel("Voice").selectOption("Puck");
    await page.getByRole("button", { name: "Start talking" }).click();
    await until(page, () => window.relayDemo.microphone.state === "on");
    await page.getByRole("button", { name: "Mute" }).click();
    await confide(page, text);
    const { turns } = await page.evaluate(() => window.relayDemo.counters);
    await say(page, "what did I say?");
    await until(page, (heard) => window.relayDemo.counters.frames.down > heard, 40);
    await until(page, () => window.relayDemo.transcript.at(-1).who === "model");
    const before = await snapshot(page);
    await page.reload();
    await cameBack(page, 1);
    await until(page, turnHeard, turns + 1);
    const back = await snapshot(page);
    await until(page, () => window.relayDemo.microphone.state === "muted");
    const voice = await page.getByLabel("Voice").inputValue();
    return { before, back, voice, after: await askBack(page) };
  },

  /** Comes back to the page when the relay has let the session go. */
  async awayTooLong(page, { text, url, metrics }) {
    await confide(page, text);
    await page.goto("about:blank");
    await forgotten(metrics);
    await page.goto(url);
    await cameBack(page, 1);
    const back = await snapshot(page);
    return { back, after: await askBack(page) };
  },

  /** The page's own socket is cut. */
  async socketLost(page, { text, network }) {
    await confide(page, text);
    network.cut();
    await cameBack(page, 1);
    const back = await snapshot(page);
    return { back, after: await askBack(page) };
  },

  /** The tab is opened again after minutes; the person chooses to go on. */
  async offered(page, { text, screenshot }) {
    await confide(page, text);
    await reloadRemembering(page, { savedAt: Date.now() - 300_000 });
    const goOn = page.getByRole("button", { name: "Go on with the last call" });
    await goOn.waitFor();
    const offer = await snapshot(page);
    await page.screenshot({ path: screenshot.replace(".png", "-before.png") });
    await goOn.click();
    await cameBack(page, 1);
    return { offer, after: await askBack(page) };
  },

  /** What the tab remembers is worthless to the relay. */
  async refusedHandle(page, { text }) {
    await confide(page, text);
    await reloadRemembering(page, { handle: "bm90LWEtaGFuZGxl" });
    await until(page, () => window.relayDemo.state === "live");
    const back = await snapshot(page);
    return { back, after: await askBack(page) };
  },

  /** A duplicated tab starts with a copy of the first one's storage. */
  async duplicated(page, { text, url }) {
    await confide(page, text);
    const stored = await page.evaluate(() => JSON.stringify({ ...sessionStorage }));
    const copy = await page.context().newPage();
    await copy.addInitScript((items) => Object.assign(sessionStorage, JSON.parse(items)), stored);
    await copy.goto(url);
    await until(copy, () => sessionStorage.getItem("relay.demo.line") === null);
    return { copy: await snapshot(copy), after: await askBack(page) };
  },

  /** Comes back to the page, as to a restored tab, in a browser that wants a key or a click before any sound. */
  async backInSilence(page, { text, url }) {
    await confide(page, text);
    await page.goto("about:blank"); // a reload alone would inherit the right to make sound
    await page.goto(url);
    await hinted(page);
    const silent = await snapshot(page);
    await page.getByLabel("Conversation", { exact: true }).click();
    await until(page, () => window.relayDemo.playback.contextState === "running");
    await until(page, () => document.getElementById("notice").hidden);
    return { silent, after: await askBack(page) };
  },

  /** Puts reports of the relay into words. */
  async words(page, { handovers, returns }) {
    const words = await page.evaluate(async (reports) => {
      const { handoverInWords, returnInWords } = await import("/demo/continuity.js");
      return { handovers: reports.handovers.map(handoverInWords), returns: reports.returns.map((each) => returnInWords(...each)) };
    }, { handovers, returns });
    return { words, after: await snapshot(page) };
  },

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

/** Stands between the browser and the relay, so that their connections can be cut as a network would. */
async function network(port) {
  const pairs = new Set();
  const server = createServer((near) => {
    const far = createConnection(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
      from.pipe(to);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => pairs.forEach((pair) => pair.forEach((socket) => socket.resetAndDestroy()));
  return { port: server.address().port, cut, close: () => (cut(), server.close()) };
}

async function main({ scenario, url, chromium: executablePath, screenshot, viewport, dark, ...details }) {
  const allow = scenario === "denied" ? ["--deny-permission-prompts"] : ["--use-fake-ui-for-media-stream"];
  const gesture = scenario === "backInSilence" ? "document-user-activation-required" : "no-user-gesture-required";
  const { port, host } = new URL(url);
  const between = await network(port);
  const routed = `--host-resolver-rules=MAP ${host} 127.0.0.1:${between.port}`;
  const args = [...FLAGS, ...allow, `--autoplay-policy=${gesture}`, routed];
  const browser = await chromium.launch({ executablePath, headless: true, args });
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
    const result = await scenarios[scenario](page, { ...details, url, screenshot, network: between });
    if (screenshot) await page.screenshot({ path: screenshot });
    const headers = answer.headers();
    const { key } = await page.evaluate(async () => (await fetch("/demo/config.json")).json());
    const html = await page.content();
    return { ...result, ...seen, policy: headers["content-security-policy"] ?? "", keyShown: html.includes(key) };
  } finally {
    await browser.close();
    between.close();
  }
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]))));
