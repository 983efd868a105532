/* Each tenant's budgets as bars, the fullest first; tenants without any say what they used. */

import { count, inUnit, money, short, span } from "./format.js";

const WARNING = 0.8;
const LATE_WARNING = 0.95;

const level = (ratio) => (ratio >= 1 ? "spent" : ratio >= LATE_WARNING ? "late" : ratio >= WARNING ? "warning" : "fine");
const fullest = (tenant) => Math.max(...tenant.budgets.map(({ used_ratio }) => used_ratio), -1);

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bar(budget, currency) {
  const made = element("div", "budget");
  made.dataset.level = level(budget.used_ratio);
  const [used, limit] = [inUnit(budget.used, budget.unit, currency), inUnit(budget.limit, budget.unit, currency)];
  const top = element("p", "budget-top");
  top.append(element("span", "budget-name", `${budget.measure} this ${budget.window}`));
  top.append(element("span", "budget-amount", `${used} of ${limit}`));
  const track = element("div", "track");
  track.setAttribute("role", "meter");
  track.setAttribute("aria-valuemin", "0");
  track.setAttribute("aria-valuemax", "100");
  track.setAttribute("aria-valuenow", String(Math.round(Math.min(budget.used_ratio, 1) * 100)));
  track.setAttribute("aria-label", `${budget.measure} this ${budget.window}: ${used} of ${limit}`);
  const fill = element("div", "fill");
  fill.style.width = `${Math.min(budget.used_ratio, 1) * 100}%`;
  track.append(fill);
  const renews = span((Date.parse(budget.renews_at) - Date.now()) / 1000);
  const percent = `${(budget.used_ratio * 100).toFixed(budget.used_ratio < 0.1 ? 1 : 0)} %`;
  made.append(top, track, element("p", "budget-bottom", `${percent} used · anew in ${renews}`));
  return made;
}

function card(tenant, currency) {
  const made = element("li", "card");
  const limit = tenant.limits.concurrent_sessions;
  const top = element("p", "tenant-top");
  top.append(element("strong", "", tenant.id));
  const sessions = limit === null ? count(tenant.sessions) : `${count(tenant.sessions)} of ${count(limit)}`;
  top.append(element("span", "", `${sessions} ${tenant.sessions === 1 && limit === null ? "session" : "sessions"}`));
  const { day, month } = tenant.used;
  const used = `Today ${money(day.cost, currency)}, ${short(day.tokens)} tokens · this month ${money(month.cost, currency)}`;
  made.append(top, element("p", "tenant-used", used));
  if (!tenant.current) made.append(element("p", "tenant-stale", "The ledger does not answer: what is known here only."));
  for (const budget of tenant.budgets) made.append(bar(budget, currency));
  return made;
}

/** Shows tenants; returns how many have a budget that has reached its first warning. */
export function showTenants(list, tenants, currency) {
  const sorted = [...tenants].sort((one, other) => fullest(other) - fullest(one) || other.sessions - one.sessions);
  list.replaceChildren(...sorted.map((tenant) => card(tenant, currency)));
  return tenants.filter((tenant) => fullest(tenant) >= WARNING).length;
}
