"""relay: a WebSocket relay proxy for Google's Gemini Live API.

Reading order for a newcomer:

1. `relay.core` decides. It is pure and synchronous: messages (`schema`, `wire`), what a tenant may ask for
   (`policy`), what was used (`meter`), and the session's state machine (`session`), which turns *events* into
   *commands*. It knows no socket, no clock, no event loop.
2. `relay.net` does. `server` admits a client, `auth` finds its tenant, `upstream` dials Gemini, a `leg` is one
   WebSocket, and a `driver` runs one session: input and output become events, commands become input and output.
3. `relay.app` puts the parts together from `relay.config`; `relay.cli` is the command line.
4. `relay.sim` plays Gemini (a product of its own: `relay sim`), `relay.web` holds the demo page.

`docs/life-of-a-session.md` follows one frame through all of it.
"""

__version__ = "0.1.0"
