"""What both kinds of legs ask of TCP: bounded kernel buffers, and a dead peer noticed without pings."""

import socket
import struct
import sys
from fcntl import ioctl

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


_RTT_OFFSET = 68  # tcpi_rtt in struct tcp_info of linux/tcp.h: microseconds, smoothed
UNKNOWN_ROUND_TRIP_S = 0.1
"""What a path is taken for where the system does not tell: across a continent."""


def round_trip_s(sock: socket.socket | None) -> float:
    """TCP's own measure of the round trip to the peer, in seconds."""
    option = getattr(socket, "TCP_INFO", None)
    if sock is None or option is None:
        return UNKNOWN_ROUND_TRIP_S
    told = sock.getsockopt(socket.IPPROTO_TCP, option, _RTT_OFFSET + 4)
    if len(told) < _RTT_OFFSET + 4:
        return UNKNOWN_ROUND_TRIP_S
    (microseconds,) = struct.unpack_from("=I", told, _RTT_OFFSET)
    return float(microseconds) / 1e6


_SIOCOUTQ = 0x5411  # linux/sockios.h: bytes sent or to be sent that are not acknowledged


def unacknowledged_bytes(sock: socket.socket | None) -> int:
    """What the kernel holds of what was written because the peer's TCP has not acknowledged it."""
    if sock is None or sys.platform != "linux":
        return 0
    answer = ioctl(sock.fileno(), _SIOCOUTQ, struct.pack("i", 0))
    (held,) = struct.unpack("i", answer)
    return int(held)
