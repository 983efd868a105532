"""Where places, budgets and usage are kept: `sqlite` in a file beside the process, `redis` for many replicas.

Both do what `relay.core.ledger.Ledger` says; tests/store holds them to it. Nothing here decides what happens to a
session, and nothing waits on the way of a frame: `relay.net` asks from outside of it.
"""
