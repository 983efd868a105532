/* What a tab remembers of its call across a reload: where to take up the line again, and what the page showed. It is
 * kept in this tab's sessionStorage only, so it ends with the tab; the handle in it is useless without the relay's key. */

const VERSION = 1;
const LINE = "relay.demo.line";
const PAGE = "relay.demo.page";
const RECENT_MS = 60_000;
const TOO_OLD_MS = 2 * 3600_000; // Gemini forgets a session after two hours
const CLAIM_WITHIN_MS = 2000;

function put(key, value) {
  try {
    sessionStorage.setItem(key, JSON.stringify({ version: VERSION, ...value }));
  } catch {
    // Full, or forbidden by the browser: the call works all the same, but will not outlive a reload.
  }
}

function get(key) {
  try {
    const value = JSON.parse(sessionStorage.getItem(key));
    return value?.version === VERSION ? value : null;
  } catch {
    return null;
  }
}

/** `line` is {id, handle, received, setup}; kept with every message, because a crash gives no notice. */
export function rememberLine(line) {
  put(LINE, { ...line, savedAt: Date.now() });
}

/** What the page showed, as plain data. */
export function rememberPage(page) {
  put(PAGE, page);
}

export function forget() {
  try {
    sessionStorage.removeItem(LINE);
    sessionStorage.removeItem(PAGE);
  } catch {
    // Nothing was remembered either.
  }
}

/** {line, page, recent}, or null when there is nothing to go on with. */
export function recall() {
  const [line, page] = [get(LINE), get(PAGE)];
  const age = Date.now() - (line?.savedAt ?? 0);
  if (!line?.handle || !page || age > TOO_OLD_MS) return null;
  return { line, page, recent: age < RECENT_MS };
}

/** Whether this tab alone has the call: a duplicated tab starts with a copy of the storage. Held until the tab goes. */
export function claim(id) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((answer) => {
    const hold = () => {
      answer(true);
      return new Promise(() => {});
    };
    const signal = AbortSignal.timeout(CLAIM_WITHIN_MS); // the page before a reload may take a moment to go
    navigator.locks.request(`relay.demo.${id}`, { signal }, hold).catch(() => answer(false));
  });
}
