"""What proves each promise: reads the tests and the benchmarks, and writes the last column of docs/promises.md."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (?P<number>R\d+) \| (?P<promise>[^|]+) \|(?P<proof>.*)\|$", re.MULTILINE)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Proof(NamedTuple):
    """A test, or a benchmark as a whole, and the promise that it proves."""

    number: str
    path: str
    name: str


def marked(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The numbers in `pytest.mark.promise(...)`, wherever in these expressions it stands."""
    for node in (child for root in nodes for child in ast.walk(root)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="mark"), attr="promise"), args=numbers):
                yield from map(ast.literal_eval, numbers)


def constant(module: ast.Module, name: str) -> Iterator[ast.expr]:
    """What a module assigns to a name of its own."""
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                yield value
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                yield value


def proofs_in_test(path: str, module: ast.Module) -> Iterator[Proof]:
    for number in marked(constant(module, "pytestmark")):
        yield Proof(number, path, "")
    for node in ast.walk(module):
        if isinstance(node, Definition):
            for number in marked(node.decorator_list):
                yield Proof(number, path, node.name)


def proofs_in_benchmark(path: str, module: ast.Module) -> Iterator[Proof]:
    for value in constant(module, "PROMISES"):
        for number in ast.literal_eval(value):
            yield Proof(number, path, "")


def all_proofs(root: Path = ROOT) -> list[Proof]:
    """Every proof in the project, sorted, none twice."""
    found: set[Proof] = set()
    for folder, read in (("tests", proofs_in_test), ("benchmarks", proofs_in_benchmark)):
        for path in (root / folder).rglob("*.py"):
            found.update(read(path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"))))
    return sorted(found)


def promised(table: str) -> list[str]:
    """The numbers of the promises in the table, as they stand there."""
    return [row["number"] for row in ROW.finditer(table)]


def with_proofs(table: str, proofs: Iterable[Proof]) -> str:
    """The table, each promise followed by what proves it."""
    names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for proof in proofs:
        names[proof.number][proof.path].append(f" `{proof.name}`" if proof.name else "")

    def row(match: re.Match[str]) -> str:
        places = names[match["number"]].items()
        proof = "<br>".join(f"[{path}](../{path}){','.join(found)}" for path, found in places)
        return f"| {match['number']} | {match['promise']} | {proof} |"

    return ROW.sub(row, table)


def main() -> None:
    """Write the table; an up-to-date one is left alone."""
    page = ROOT / "docs" / "promises.md"
    table = page.read_text("utf-8")
    written = with_proofs(table, all_proofs())
    if written != table:
        page.write_text(written, "utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)} was out of date: commit it.\n")


if __name__ == "__main__":
    main()
