/* What the page asks of its relay over HTTP: its own configuration, and faults where the simulator is at the other end. */

const DEADLINE_MS = 4000;

/** Asked for before every dial: a relay that was restarted has a new key for this page. */
export async function loadConfig() {
  const answer = await fetch(new URL("config.json", import.meta.url), {
    cache: "no-store",
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (!answer.ok) throw new Error(`config.json: ${answer.status}`);
  return answer.json();
}

/** "cut" or "go_away", for every call at the simulator; how many connections were hit. */
export async function orderFault(config, kind) {
  const answer = await fetch(new URL("fault", import.meta.url), {
    method: "POST",
    headers: { "Content-Type": "application/json", "x-goog-api-key": config.key },
    body: JSON.stringify({ kind }),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (!answer.ok) throw new Error(`fault: ${answer.status}`);
  return (await answer.json()).connections;
}
