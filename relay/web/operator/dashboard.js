/* The operator's page: asks for the token once, then asks the admin API again and again and shows what it says.
 * The token is in this tab's session storage and nowhere else; nothing is asked while the tab is hidden. */

import { Api, ApiError } from "./api.js";
import { area, bars, days, events } from "./charts.js";
import { showEvents } from "./events.js";
import { clock, count, money, short, timeOfDay } from "./format.js";
import { SessionTable } from "./sessions.js";
import { showTenants } from "./tenants.js";

const KEY = "relay.operator.token";
const BUCKETS = 60;
const SHORTEST_SPAN_S = 600;
const DAYS = 30;
const DAY_MS = 86_400_000;

const byId = (id) => document.getElementById(id);
const say = (id, text) => {
  if (byId(id).textContent !== text) byId(id).textContent = text;
};

let api = null;
let running = 0;
const table = new SessionTable(confirmEnd);
const last = {};

// The token ------------------------------------------------------------------------------------------------------------

function open(token) {
  sessionStorage.setItem(KEY, token);
  api = new Api(token);
  running += 1;
  byId("gate").hidden = true;
  for (const work of WORK) repeat(work, running);
}

function close(problem = "") {
  sessionStorage.removeItem(KEY);
  api = null;
  running += 1;
  document.body.dataset.state = "closed";
  for (const id of ["main", "leave", "only-label"]) byId(id).hidden = true;
  byId("confirm").close();
  byId("gate").hidden = false;
  byId("token").value = "";
  byId("token").focus();
  say("gate-problem", problem);
  say("health", "");
}

byId("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  say("gate-problem", "");
  open(byId("token").value.trim());
});
byId("leave").addEventListener("click", () => close());

// Asking again and again -----------------------------------------------------------------------------------------------

const WORK = [
  { every: 2_000, ask: () => api.sessions(), show: showSessions },
  { every: 5_000, ask: () => api.tenants(), show: showBudgets },
  { every: 5_000, ask: () => api.activity(only()), show: showActivity },
  { every: 60_000, ask: () => api.days(...monthOfDays(), only()), show: showDays },
];

async function repeat({ every, ask, show }, turn) {
  while (turn === running) {
    if (!document.hidden) await once(ask, show, turn);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

async function once(ask, show, turn = running) {
  let answer;
  try {
    answer = await ask();
  } catch (error) {
    if (turn !== running) return;
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) close("The relay does not know this token.");
    else health("stale", `${error.message.replace(/\.$/, "")} · trying again`);
    return;
  }
  if (turn !== running) return;
  if (byId("main").hidden) for (const id of ["main", "leave", "only-label"]) byId(id).hidden = false;
  show(answer);
  health("live", `Live · ${timeOfDay(new Date())}`);
}

function health(state, text) {
  document.body.dataset.state = state;
  say("health", text);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && api) for (const { ask, show } of WORK) once(ask, show);
});

// Which tenant ---------------------------------------------------------------------------------------------------------

const only = () => byId("only").value;
const mine = (row) => !only() || row.tenant === only();

byId("only").addEventListener("change", () => {
  if (last.sessions) showSessions(last.sessions);
  if (last.tenants) showBudgets(last.tenants);
  for (const { ask, show } of WORK.slice(2)) once(ask, show);
});

function offer(tenants) {
  const known = [...byId("only").options].slice(1).map(({ value }) => value);
  const names = tenants.map(({ id }) => id);
  if (known.join("\n") !== names.join("\n")) {
    const chosen = only();
    byId("only").replaceChildren(new Option("All", ""), ...names.map((name) => new Option(name, name, false, name === chosen)));
  }
}

// What is shown --------------------------------------------------------------------------------------------------------

function showSessions(answer) {
  last.sessions = answer;
  const sessions = answer.sessions.filter(mine);
  const parked = sessions.filter(({ state }) => state === "parked").length;
  const visible = table.show(sessions, answer.currency);
  const cost = sessions.reduce((sum, session) => sum + Number(session.cost), 0);
  say("now-sessions", count(sessions.length));
  say("now-parked", parked ? `${count(parked)} parked` : "");
  const some = visible < sessions.length ? `The first ${count(visible)} of ${count(sessions.length)}` : count(sessions.length);
  const notes = sessions.length ? [some, `${money(cost, answer.currency)} so far`] : [];
  if (answer.unlisted) notes.push(`${count(answer.unlisted)} more elsewhere`);
  if (!answer.current) notes.push("other replicas do not answer");
  say("live-note", notes.join(" · "));
}

function showBudgets(answer) {
  last.tenants = answer;
  offer(answer.tenants);
  const tenants = answer.tenants.filter(({ id }) => !only() || id === only());
  const warned = showTenants(byId("tenants"), tenants, answer.currency);
  say("budgets-note", warned ? `${count(warned)} beyond 80 %` : "");
}

/** Samples summed into `BUCKETS` of equal length, up to now; the span grows with the relay's age, up to an hour. */
function bucketed({ at, sample_s: step, samples }) {
  const now = Date.parse(at);
  const oldest = samples.length ? (now - Date.parse(samples[0].at)) / 1000 + step : 0;
  const length = Math.ceil(Math.max(oldest, SHORTEST_SPAN_S) / BUCKETS / step) * step;
  const buckets = Array.from({ length: BUCKETS }, (_, index) => ({
    at: now - (BUCKETS - index - 0.5) * length * 1000,
    length,
    sessions: 0,
    tokens: 0,
    cost: 0,
    handovers: 0,
    errors: 0,
  }));
  for (const sample of samples) {
    const index = BUCKETS - 1 - Math.floor((now - Date.parse(sample.at)) / 1000 / length);
    const bucket = buckets[index];
    if (bucket === undefined) continue;
    bucket.sessions = Math.max(bucket.sessions, sample.sessions);
    for (const name of ["tokens", "handovers", "errors"]) bucket[name] += sample[name];
    bucket.cost += Number(sample.cost);
  }
  return buckets;
}

function showActivity(answer) {
  const buckets = bucketed(answer);
  const total = (name) => buckets.reduce((sum, bucket) => sum + bucket[name], 0);
  const minutes = Math.round((BUCKETS * buckets[0].length) / 60);
  const rate = (bucket, name) => (bucket[name] * 60) / bucket.length;
  const { currency } = answer;
  const shown = {
    sessions: (bucket) => ({ value: bucket.sessions, title: `${timeOfDay(bucket.at)}: ${count(bucket.sessions)} sessions` }),
    tokens: (bucket) => ({ value: rate(bucket, "tokens"), title: `${timeOfDay(bucket.at)}: ${short(rate(bucket, "tokens"))} tokens a minute` }),
    cost: (bucket) => ({ value: rate(bucket, "cost"), title: `${timeOfDay(bucket.at)}: ${money(rate(bucket, "cost"), currency)} a minute` }),
    events: (bucket) => ({ ...bucket, title: `${timeOfDay(bucket.at)}: ${bucket.handovers} handovers, ${bucket.errors} errors` }),
  };
  const recent = answer.samples.filter(({ at }) => Date.parse(answer.at) - Date.parse(at) < 60_000);
  const perMinute = (name) => recent.reduce((sum, sample) => sum + Number(sample[name]), 0);
  say("now-tokens", short(perMinute("tokens")));
  say("hour-tokens", `${short(total("tokens"))} in ${minutes} min`);
  say("now-cost", money(perMinute("cost"), currency));
  say("hour-cost", `${money(total("cost"), currency)} in ${minutes} min`);
  say("hour-handovers", count(total("handovers")));
  say("hour-errors", `${count(total("errors"))} errors in ${minutes} min`);
  byId("hour-errors").classList.toggle("bad", total("errors") > 0);
  const most = Math.max(...buckets.map(({ sessions }) => sessions));
  area(byId("chart-sessions"), buckets.map(shown.sessions), `Sessions over ${minutes} minutes, at most ${most}`);
  bars(byId("chart-tokens"), buckets.map(shown.tokens), `Tokens over ${minutes} minutes: ${count(total("tokens"))}`);
  bars(byId("chart-cost"), buckets.map(shown.cost), `Cost over ${minutes} minutes: ${money(total("cost"), currency)}`);
  events(byId("chart-events"), buckets.map(shown.events), `${total("handovers")} handovers and ${total("errors")} errors in ${minutes} minutes`);
  showEvents(byId("events"), answer.events);
}

const dayOf = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 10);
const monthOfDays = () => [dayOf(Date.now() - (DAYS - 1) * DAY_MS), dayOf(Date.now())];

function showDays(answer) {
  const byDay = new Map();
  for (const row of answer.rows) {
    const sum = byDay.get(row.day) ?? { cost: 0, tokens: 0, sessions: 0 };
    byDay.set(row.day, { cost: sum.cost + Number(row.cost), tokens: sum.tokens + row.tokens, sessions: sum.sessions + row.sessions });
  }
  const points = [];
  for (let at = Date.parse(answer.from); at <= Date.parse(answer.to); at += DAY_MS) {
    const day = dayOf(at);
    const used = byDay.get(day) ?? { cost: 0, tokens: 0, sessions: 0 };
    const shown = money(used.cost, answer.currency);
    const label = new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
    points.push({ value: used.cost, label, shown, title: `${day}: ${shown}, ${count(used.tokens)} tokens, ${count(used.sessions)} sessions` });
  }
  const total = points.reduce((sum, { value }) => sum + value, 0);
  say("days-note", `${money(total, answer.currency)} in ${points.length} days of UTC · prices of ${answer.prices_as_of}`);
  days(byId("days"), points, `Cost by day: ${money(total, answer.currency)} in ${points.length} days`);
}

// Ending a session -----------------------------------------------------------------------------------------------------

function confirmEnd(session) {
  const dialog = byId("confirm");
  dialog.dataset.session = session.id;
  say("confirm-words", `${session.id} of ${session.tenant}, ${clock(session.age_s)} old, ${count(session.turns)} turns.`);
  dialog.showModal();
}

byId("confirm-no").addEventListener("click", () => byId("confirm").close());
byId("confirm-yes").addEventListener("click", async () => {
  const dialog = byId("confirm");
  dialog.close();
  const gone = (error) => {
    if (error.status !== 404) throw error; // it ended by itself meanwhile
  };
  await once(
    () => api.end(dialog.dataset.session).catch(gone),
    () => once(() => api.sessions(), showSessions),
  );
});

const kept = sessionStorage.getItem(KEY);
if (kept) open(kept);
else close();
