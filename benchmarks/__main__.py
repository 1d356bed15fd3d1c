"""`python -m benchmarks [NAME...] [--quick] [--write]`: measure, print, and put the tables into the README."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ._report import HEAD, section, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._report import Row

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="shorter and less certain; never written")
    parser.add_argument("--write", action="store_true", help="put the results into benchmarks/README.md")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.quick and options.write:
        parser.error("what --quick measures is too uncertain to --write")
    reached = [_run(name, options.quick, options.write) for name in options.names or NAMES]
    return 0 if all(reached) else 1


def _run(name: str, quick: bool, into_readme: bool) -> bool:
    rows: list[Row] = []
    measured: Iterator[Row] = import_module(f"benchmarks.{name}").measure(quick)
    print(f"\n## {name}\n\n{HEAD}", end="", flush=True)
    for row in measured:
        print(row, end="", flush=True)
        rows.append(row)
    if into_readme:
        write(name, section(rows, f"python -m benchmarks {name}"))
    return all(row.reached for row in rows)


if __name__ == "__main__":
    sys.exit(main())
