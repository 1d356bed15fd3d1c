"""What the last `mutmut run` found: counts for each module, and each survivor held against `tests/mutants.txt`.

That file explains a survivor by its function and the line as it was changed, which no renumbering of mutants touches;
the reason is the indented line below:

    _decisions.schedule.backoff: doublings = min(failures - 1, 41)
        Every wait has reached its cap long before.

A mutant that makes a test hang counts as killed. What has not been run counts nowhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

EXPLANATIONS = Path(__file__).with_suffix(".txt")
LOWEST = 95.0  # per cent
NAME = re.compile(r"\w+\.(\w+\.\w+)\.x(?:ǁ(\w+)ǁ|_)(\w+)__mutmut_\d+")
KILLED, NOT_RUN = ("killed", "timeout"), "not checked"


def mutmut(*arguments: str) -> list[str]:
    done = subprocess.run(["mutmut", *arguments], check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if line.strip()]


def results() -> dict[str, str]:
    """The status of each mutant."""
    lines = mutmut("results", "--all", "true")
    return {name: status for name, _, status in (line.strip().rpartition(": ") for line in lines)}


def function_of(mutant: str) -> str:
    match = NAME.fullmatch(mutant)
    assert match is not None, mutant
    return ".".join(part for part in match.groups() if part)


def module_of(function: str) -> str:
    return ".".join(function.split(".", 2)[:2])


def change(mutant: str) -> str:
    """The function and its line as it was changed; or without which it is, where nothing stands in its place."""
    diff = [(line[0], line[1:].partition("  # ")[0].strip()) for line in mutmut("show", mutant)[3:]]
    new = " ".join(text for sign, text in diff if sign == "+")
    old = " ".join(text for sign, text in diff if sign == "-")
    return f"{function_of(mutant)}: {new or f'without {old}'}"


def explanations() -> dict[str, str]:
    lines = [line for line in EXPLANATIONS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {what: why.strip() for what, why in zip(lines[::2], lines[1::2], strict=True)}


def main() -> int:
    statuses = results()
    modules: dict[str, Counter[str]] = {}
    for mutant, status in statuses.items():
        modules.setdefault(module_of(function_of(mutant)), Counter())[status] += 1
    for module, counts in modules.items():
        print(f"{module:25}", ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    total = sum(modules.values(), Counter())
    run = total.total() - total[NOT_RUN]
    killed = sum(total[status] for status in KILLED)
    print(f"{killed} of the {run} mutants run were killed, {total['timeout']} by a timeout: {100 * killed / run:.1f} %")

    survivors = {change(name) for name, status in statuses.items() if status not in {*KILLED, NOT_RUN}}
    explained = explanations()
    unexplained = survivors - explained.keys()
    gone = {what for what in explained.keys() - survivors if not modules[module_of(what)][NOT_RUN]}
    for title, lines in (("Survivors without an explanation", unexplained), ("Explained, and killed", gone)):
        if lines:
            print(f"{title}:", *sorted(lines), sep="\n    ")
    return int(bool(unexplained) or 100 * killed < LOWEST * run)


if __name__ == "__main__":
    sys.exit(main())
