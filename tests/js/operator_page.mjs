/* Drives the operator's page in headless Chromium and prints what happened as one JSON object; the assertions are in
 * tests/e2e/test_operator_page.py. Usage: node operator_page.mjs '{"scenario", "url", "token", "chromium", …}' */

import { chromium } from "playwright-core";

const PATIENCE_MS = 20000;
const FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const until = (page, condition, argument) =>
  page.waitForFunction(condition, argument, { timeout: PATIENCE_MS, polling: 50 });

const look = (page) =>
  page.evaluate(() => ({
    text: document.body.innerText,
    state: document.body.dataset.state,
    gate: !document.getElementById("gate").hidden,
    rows: [...document.querySelectorAll("#sessions-body tr")].map((row) => [...row.cells].map((cell) => cell.innerText.trim())),
    sorted: [...document.querySelectorAll("#sessions-head th")].map((cell) => [cell.innerText.trim(), cell.ariaSort]).filter(([, sort]) => sort !== "none"),
    budgets: [...document.querySelectorAll(".budget")].map((budget) => ({
      level: budget.dataset.level,
      text: budget.innerText,
      part: budget.querySelector(".fill").getBoundingClientRect().width / budget.querySelector(".track").getBoundingClientRect().width,
    })),
    events: [...document.querySelectorAll("#events li")].map((line) => line.innerText),
    charts: Object.fromEntries([...document.querySelectorAll("svg[role=img]")].map((chart) => [chart.id, chart.getAttribute("aria-label")])),
    bars: [...document.querySelectorAll("#chart-tokens .bar")].filter((bar) => bar.getBBox().height > 0).length,
    stored: JSON.stringify([{ ...sessionStorage }, { ...localStorage }, document.cookie]),
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  }));

async function enter(page, token) {
  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Open" }).click();
}

const opened = async (page, sessions) => {
  await until(page, (n) => !document.getElementById("main").hidden && document.querySelectorAll("#sessions-body tr").length === n, sessions);
  await until(page, () => document.querySelectorAll("#tenants > li").length > 0 && document.querySelector("#chart-tokens .bar") !== null && document.querySelector("#days .tick") !== null);
};

const SCENARIOS = {
  async open(page, { token, sessions }) {
    const before = await look(page);
    await enter(page, "not-the-operators-token");
    await until(page, () => document.getElementById("gate-problem").textContent !== "");
    const refused = await look(page);
    await enter(page, token);
    await opened(page, sessions);
    await until(page, () => document.querySelectorAll("#events li").length > 0);
    const after = await look(page);
    await page.reload();
    await opened(page, sessions);
    return { before, refused, after, reloaded: await look(page) };
  },

  async sort(page, { token, sessions }) {
    await enter(page, token);
    await opened(page, sessions);
    const seen = {};
    for (const [name, title] of [["down", "Tokens"], ["up", "Tokens"], ["tenant", "Tenant"]]) {
      await page.getByRole("button", { name: title, exact: true }).click();
      seen[name] = await look(page);
    }
    await page.getByLabel("Tenant", { exact: true }).selectOption("roomy");
    await until(page, () => document.querySelectorAll("#tenants > li").length === 1);
    return { ...seen, filtered: await look(page) };
  },

  async end(page, { token, sessions }) {
    await enter(page, token);
    await opened(page, sessions);
    const id = await page.evaluate(() => document.querySelector("#sessions-body tr").session.id);
    const button = page.getByRole("button", { name: `End session ${id}` });
    await button.click();
    const question = await page.getByRole("dialog").innerText();
    const focused = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press("Escape");
    const kept = await look(page);
    await button.click();
    await page.getByRole("button", { name: "End session", exact: true }).click();
    await until(page, (n) => document.querySelectorAll("#sessions-body tr").length === n - 1, sessions);
    await until(page, () => document.getElementById("events").innerText.includes("ended by operator"));
    return { id, question, focused, kept, after: await look(page) };
  },

  async unreachable(page, { token, sessions }) {
    await enter(page, token);
    await opened(page, sessions);
    await page.context().setOffline(true);
    await until(page, () => document.body.dataset.state === "stale");
    const stale = await look(page);
    await page.context().setOffline(false);
    await until(page, () => document.body.dataset.state === "live");
    const back = await look(page);
    await page.getByRole("button", { name: "Forget token" }).click();
    return { stale, back, after: await look(page) };
  },

  async narrow(page, { token, sessions }) {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark" });
    await enter(page, token);
    await opened(page, sessions);
    return { after: await look(page) };
  },
};

const options = JSON.parse(process.argv[2]);
const browser = await chromium.launch({ executablePath: options.chromium, args: FLAGS });
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  const seen = { console: [], foreign: [], addresses: [] };
  page.on("console", (message) => message.type() === "error" && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("request", (request) => {
    seen.addresses.push(request.url());
    if (new URL(request.url()).origin !== new URL(options.url).origin) seen.foreign.push(request.url());
  });
  const response = await page.goto(options.url);
  seen.policy = response.headers()["content-security-policy"];
  await until(page, () => !document.getElementById("gate").hidden);
  Object.assign(seen, await SCENARIOS[options.scenario](page, options));
  await page.screenshot({ path: options.screenshot, fullPage: true });
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
