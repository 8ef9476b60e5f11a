"""What the user did wrong, in one line; everything else is a bug and keeps its traceback."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


class UserError(Exception):
    """Bad input. The message is one line: the file or key at fault, what was found, what would be right."""


def command(main: Callable[P, None]) -> Callable[P, None]:
    """Decorates a stage's main function: a UserError becomes one line on stderr and exit status 1."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            sys.exit(f"error: {error}")
        except KeyboardInterrupt:
            sys.exit(130)

    return run
