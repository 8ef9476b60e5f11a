"""The ports on which this machine answers a browser: one that is taken is said before anything starts."""

import argparse
import socket

from pipeline.errors import UserError

HOST = "127.0.0.1"
"""Nobody but this machine is answered."""


def port(word: str) -> int:
    """A port of the command line."""
    if not word.isdecimal() or not 0 < int(word) < 2**16:
        raise argparse.ArgumentTypeError(f"found '{word}'; a number from 1 to 65535")
    return int(word)


def check(number: int, target: str) -> None:
    """Whether a server can listen at a port.

    Args:
        number: of the port.
        target: of `make`, for which another port can be named.

    Raises:
        UserError: somebody else listens there, as AirPlay of macOS does on 5000, or this user may not.
    """
    if reason := _refusal(number):
        other = next((each for each in range(max(number, 1024) + 1, 2**16) if not _refusal(each)), number)
        raise UserError(f"port {number}: {reason}; name another, as in: make {target} PORT={other}")


def _refusal(number: int) -> str | None:
    with socket.socket() as probe:
        if probe.connect_ex((HOST, number)) == 0:  # macOS lets two listen, one of them on all addresses
            return "somebody listens there already"
    try:
        socket.create_server((HOST, number)).close()
    except OSError as error:
        return str(error.strerror).lower()
    return None
