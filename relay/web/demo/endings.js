/* Says in words what the end of a call means and what the person can do about it. The relay's own reason is shown
 * beside these words by the page; it is never interpreted here. */

const BY_CODE = {
  1000: ["Call ended", "The other side ended the call."],
  1001: ["The relay is shutting down", "Wait a few seconds and call again."],
  1002: ["Page and relay disagree", "Reload this page, so that it is as new as the relay, and call again."],
  1003: ["Page and relay disagree", "Reload this page, so that it is as new as the relay, and call again."],
  1005: ["Call ended", "The other side ended the call."],
  1006: ["The connection was lost", "Check your network, then call again."],
  1007: ["The call was not accepted", "Something this page sent is not valid here. Try another voice or language."],
  1008: ["Not allowed here", "The operator's policy does not permit this. Try another voice or language, or ask the operator."],
  1009: ["That was too long", "Call again and send a shorter message."],
  1011: ["Something failed behind the relay", "Call again. If it happens twice, the relay's log names the cause."],
  1012: ["The relay is restarting", "Wait a few seconds and call again."],
  1013: ["Gemini cannot take the call now", "Wait a few seconds and call again."],
  1014: ["Gemini cannot be reached", "Wait a few seconds and call again."],
  4401: ["Your access has expired", "Reload this page to get a new key, then call again."],
  4403: ["Not allowed here", "The operator's policy does not permit this. Ask the operator."],
  4408: ["Your connection is too slow", "The audio piled up on its way to you. Try a better network."],
  4429: ["The budget is used up", "This tenant has spent what it may. Try later, or ask the operator to raise the limit."],
};

/**
 * Title and advice for the end of a call.
 * `ending` is what Call reports; `relayAnswers` tells whether the relay still serves this page.
 */
export function explain(ending, relayAnswers) {
  if (ending.by === "page") return { title: "Call ended", advice: "You hung up.", problem: false };
  if (ending.by === "timeout") {
    const advice = "The relay took the call, but no answer to the setup came within 15 seconds. Call again.";
    return { title: "No answer", advice, problem: true };
  }
  if (!relayAnswers) {
    return { title: "The relay does not answer", advice: "Is it still running? Start it again, then call.", problem: true };
  }
  if (!ending.opened) {
    const advice = "It is running but did not accept this page: it may be full, or the key may have changed. Call again.";
    return { title: "The relay refused the call", advice, problem: true };
  }
  const known = BY_CODE[ending.code] ?? ["The relay ended the call", `It gave the code ${ending.code}. Call again.`];
  return { title: known[0], advice: known[1], problem: ending.code !== 1000 && ending.code !== 1005 };
}
