"""The benchmark: what a frame costs in the relay, beside a naive aiohttp pump and nginx, in the same run.

Reading order: `payloads` (what a voice session says), `frames` (WebSocket framing by hand), `ends` (the client and the
mock of Gemini, both in this process), `subjects` (the processes under test, pinned to a core of their own), `measure`
(one measurement of one subject), `run` (interleaved repetitions), `report` (medians, ratios, the table).
Nothing here imports `relay`: the relay is a process under test like the others.
"""
