/* Numbers, money and times as people read them. */

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) => whole.format(value);
export const short = (value) => (Math.abs(value) < 10_000 ? whole.format(Math.round(value)) : compact.format(value));

/** Money to the cent, and small change to a ten-thousandth: $12.34, $0.0015. Columns give `digits`, to line up. */
export function money(amount, currency, digits) {
  const value = Number(amount);
  const wanted = digits ?? (Math.abs(value) >= 0.1 || value === 0 ? 2 : 4);
  const form = { style: "currency", currency, minimumFractionDigits: wanted, maximumFractionDigits: wanted };
  return new Intl.NumberFormat("en", form).format(value);
}

/** Seconds as 0:07, 12:34 or 5:06:07. */
export function clock(seconds) {
  const total = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A span in its largest unit: "40 s", "3 min", "5 h", "12 days". */
export function span(seconds) {
  if (seconds < 90) return `${Math.max(Math.round(seconds), 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export const timeOfDay = (stamp) => new Date(stamp).toLocaleTimeString("en-GB");

/** `client_left` as "client left". */
export const words = (name) => name.replaceAll("_", " ");
export const model = (name) => (name ?? "–").replace(/^.*models\//, "");

/** For whom a session is, in the words of the tenant's backend: "user-17 · plan gold". */
export function user({ end_user: id, labels }) {
  const said = Object.entries(labels).map(([name, value]) => `${name} ${value}`);
  return [id, ...said].filter(Boolean).join(" · ") || "–";
}

/** An amount of a budget: the API gives decimal texts in tokens, seconds or money. */
export function inUnit(amount, unit, currency) {
  if (unit === "currency") return money(amount, currency);
  return unit === "seconds" ? clock(Number(amount)) : short(Number(amount));
}
