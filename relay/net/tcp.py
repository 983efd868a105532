"""What both kinds of legs ask of TCP: bounded kernel buffers, and a dead peer noticed without pings."""

import socket

SEND_BUFFER_BYTES = 128 * 1024
"""The kernel's share of what waits for a slow peer; left alone it grows to 4 MiB a socket."""
RECEIVE_BUFFER_BYTES = 256 * 1024
"""The kernel's share of what Gemini sends to a client that is not reading; left alone it grows to 6 MiB a socket."""


def tune(sock: socket.socket, user_timeout_ms: int) -> None:
    """Bound what the kernel buffers, and let TCP itself notice a dead peer: after 15 s idle, or while sending."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 15),
        ("TCP_KEEPINTVL", 5),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", user_timeout_ms),
    ):
        if hasattr(socket, name):  # Linux has all four
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
