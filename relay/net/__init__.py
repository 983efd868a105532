"""The doing: the only package with sockets, tasks and timers. `driver.Driver` joins one session to its legs."""
