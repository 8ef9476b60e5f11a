"""What the user did wrong, in one line; everything else is a bug and keeps its traceback."""

import argparse
import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class UserError(Exception):
    """Bad input. The message is one line: the file or key at fault, what was found, what would be right."""


DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
"""What a full disk, or one that may not be written, answers."""


def of_the_disk(error: OSError) -> str | None:
    """A line for what a disk refuses; None for any other error, which is a bug."""
    if error.errno not in DISK:
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{os.strerror(error.errno).lower()}; what was there is kept, and the next start goes on"


def positive(word: str) -> int:
    """A number of things of the command line, as a type of argparse."""
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"found '{word}'; a whole number, 1 or more")
    return int(word)


def command(main: Callable[P, None]) -> Callable[P, None]:
    """Decorates a stage's main function: a UserError, and what a disk refuses, becomes one line on stderr and exit
    status 1; who reads no further, such as `head`, ends it in silence. Where no argparse answers `--help`, the module's
    docstring does."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if "argparse" not in main.__globals__ and {"-h", "--help"}.intersection(sys.argv[1:]):
            sys.exit(print(main.__globals__["__doc__"]))
        try:
            main(*args, **kwargs)
            sys.stdout.flush()
        except UserError as error:
            sys.exit(f"error: {error}")
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more
            sys.exit(141)  # as a shell says of SIGPIPE
        except OSError as error:
            line = of_the_disk(error)
            if line is None:
                raise
            sys.exit(f"error: {line}")
        except KeyboardInterrupt:
            sys.exit(130)

    return run
