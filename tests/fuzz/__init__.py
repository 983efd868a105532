"""Every parser of what others send, under bytes that nobody meant well.

A target is a plain function of bytes that raises when a promise is broken. `test_targets.py` runs each with Hypothesis
in every test run; `make fuzz` (`python -m tests.fuzz`) runs them with atheris, guided by coverage, for as long as one
likes.
"""
