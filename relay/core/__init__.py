"""The decisions of the relay, pure: no event loop, no socket, no clock, no log, no environment.

`session.Session.handle(event, now)` is the centre; everything else here is something a session has.
"""
