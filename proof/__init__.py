"""The proof that a session outlives its connections, with real sockets and a ledger at both ends.

A relay stands between the product's own simulator and clients that number everything they send. The simulator keeps
a ledger of what the state behind its newest handle contains, across connections and roll-backs, and of every frame it
wrote, with its checksum. At the end the lists are compared: sent = received + reported, in both directions. What the
relay reports is read from its log lines (`handover`, `session`), never from its memory.

    python -m proof handovers [--sessions 50] [--handovers 1000] [--mode transparent|handles] [--order O] [--rtt TIME]
    python -m proof matrix [--row NAME]...
    python -m proof leaks [--sessions 10000] [--handovers 500]
    python -m proof usage [--turns 10000] [--sessions 50] [--kills 2] [--store sqlite|redis] [--upstream gemini|vertex]
    python -m proof admission [--crowd 600] [--limit 100] [--sessions 15] [--away TIME]
    python -m proof budget

Each prints a table, writes every figure with `--json FILE`, and exits with 1 when a promise is broken.

- `handovers`: a relay process; goAways at random moments, some in the middle of answers. Stalls are taken from the
  relay's records, and again from outside: the silence at the simulator between two connections, and the longest wait
  of a message from client to simulator. `--rtt` puts the fault proxy in between, half of it in each direction.
- `matrix`: every row of the fault matrix by name, one relay each. A row first proves that its fault happened (packets
  dropped, a close sent, dials met), else it FAILS whatever else was seen. Times are from the fault to the relay's
  noticing, and from there to the first message on the next connection. Rows that lose packets need root, `ip` and
  `nft`: they put one end of the line into a network namespace; without these they are NOT PLAYED, loudly. Rows that
  are judged to 50 ms keep the others quiet for that moment, the two that need a whole core come last.
- `leaks`: a relay process on the standard event loop (uvloop hides its timers) that counts its tasks, timers and open
  files after each thousand sessions and after the handovers; each must be what it was at first. One session in twenty
  is dropped without a close and so parked.

- `usage`: talkers with three models, one relay process, goAways, cuts, closes, clients that drop and come back, and
  kills of the relay, which starts again on the same store. The simulator's reports and the store are added up by
  `tally`, which shares no code with the relay's meter. A line is never cut while a bill is under way on it: the cut
  would swallow what nobody was ever told. What a kill cost is read before the relay is started again, and may be no
  more than the simulator reported from a second before the kill on.
- `admission`: three relay processes and a redis-server of its own that is stopped, paused and killed while sessions
  talk. Two relays are closed meanwhile, one is open. Frames are stamped at both ends, on one clock.
- `budget`: eight tenants, each of which goes over another limit, and what the log, the record and the close say.

What is exact and what is not: in transparent mode lost must equal reported, to the message. With plain handles the
relay can't know whether Gemini had a message that was under way when a handle was issued, so its report is an upper
bound: lost ≤ dropped, doubled ≤ uncertain. The end of an answer that a cut line swallowed is nobody's any more; it
must be reported as a cut turn if any of it had arrived. A row that may lose the state itself is judged for order only.

Modules: `client` (the numbered client), `talker` (one that only talks), `ledger` (the comparison), `tally` (tokens),
`proxy` and `netns` (harm to the line), `records` (the relay's log lines), `relays` and `servers` (their processes),
`stage` (everything in a row; the one place that writes a relay's configuration), `scene`, `rows/` and `verdict` (the
matrix), `outage` (what `admission` measures), `subject` (the watched relay).
"""
