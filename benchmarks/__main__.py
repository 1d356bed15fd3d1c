"""`python -m benchmarks [NAME...] [--quick | --full] [--write]`: measure, print, and put the tables into the README."""

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
    parser.add_argument(
        "--full", action="store_true", help="as many processes as are promised: fleet_week alone has it"
    )
    parser.add_argument("--write", action="store_true", help="put the results into benchmarks/README.md")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.quick and options.write:
        parser.error("what --quick measures is too uncertain to --write")
    if options.full and (options.quick or options.names != ["fleet_week"]):
        parser.error("--full is for fleet_week alone, and not --quick")
    if options.full:
        return 0 if _run("fleet_week_full", import_module("benchmarks.fleet_week").measure_full(), options.write) else 1
    measured = ((name, import_module(f"benchmarks.{name}").measure(options.quick)) for name in options.names or NAMES)
    reached = [_run(name, rows, options.write) for name, rows in measured]
    return 0 if all(reached) else 1


def _run(name: str, measured: Iterator[Row], into_readme: bool) -> bool:
    rows: list[Row] = []
    print(f"\n## {name}\n\n{HEAD}", end="", flush=True)
    for row in measured:
        print(row, end="", flush=True)
        rows.append(row)
    if into_readme:
        write(name, section(rows, f"python -m benchmarks {name.replace('_full', ' --full')}"))
    return all(row.reached for row in rows)


if __name__ == "__main__":
    sys.exit(main())
