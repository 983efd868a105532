"""The relay's WebSockets held to the Autobahn test suite, as server and as client.

`python -m tests.autobahn` runs all of it; `test_core.py` the part that every change has to pass. The suite wants an
echo and the relay speaks JSON, so `echo.py` puts an echo where a session would be, between the product's own listener,
dialler, driver, legs and engine.
"""
