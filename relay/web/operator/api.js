/* The admin API as this page uses it: JSON in, errors with words out. Knows nothing of the page. */

const PATIENCE_MS = 10_000;

export class ApiError extends Error {
  /** `status` is 0 where nobody answered. */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  sessions = () => this.#ask("GET", "/admin/sessions");
  tenants = () => this.#ask("GET", "/admin/tenants");
  activity = (tenant) => this.#ask("GET", "/admin/activity", { tenant });
  days = (from, to, tenant) => this.#ask("GET", "/admin/usage", { from, to, by: "day", tenant });
  end = (id) => this.#ask("DELETE", `/admin/sessions/${encodeURIComponent(id)}`);

  async #ask(method, path, parameters = {}) {
    const given = Object.entries(parameters).filter(([, value]) => value);
    const query = given.length ? `?${new URLSearchParams(given)}` : "";
    let response;
    try {
      response = await fetch(path + query, {
        method,
        headers: { Authorization: `Bearer ${this.#token}` },
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
    } catch {
      throw new ApiError(0, "The relay does not answer.");
    }
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new ApiError(response.status, body.error?.message ?? `The relay answered ${response.status}.`);
    return body;
  }
}
