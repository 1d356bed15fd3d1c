"""`python -m anyio_acs_credential` is `acs-credential`, which begins here as well.

Ctrl-C ends it quietly from the first line of `main()` on. Before that, a traceback cannot be helped: while Python
starts, while its `site` or a script of pip's is at work, and for the millisecond in which the package and this module
are found. That is why neither imports anything else.
"""

import sys


def main() -> int:
    """Run the command that this process was started with.

    Returns:
        The exit status.
    """
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before or after the part that handles it
        return 130


if __name__ == "__main__":
    sys.exit(main())
