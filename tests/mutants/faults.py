"""Small faults in Python files, and a sample of them.

Cosmic Ray (docs/adr/0015-tests.md) knows the faults: another operator, comparison or number, a condition
turned round, a decorator or a loop left out. Places are drawn with a seed, and at each one of its faults;
faults in annotations and docstrings are none.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Identity = tuple[str, str, str, str]


@dataclass(frozen=True)
class Mutant:
    """One fault in one file."""

    module: str
    line: int
    definition: str
    operator: str
    occurrence: int
    before: str
    after: str

    @property
    def key(self) -> str:
        return f"{self.module}:{self.line}:{self.operator}:{self.occurrence}"

    @property
    def identity(self) -> Identity:
        """What stays the same when lines are put in elsewhere."""
        return self.module, self.definition, self.before, self.after


def sample(root: Path, modules: list[str], each: int, seed: int) -> list[Mutant]:
    """Faults at ``each`` places of these modules.

    A place is drawn by a hash of the seed, the module and the text of its line, so that a change elsewhere
    leaves the sample as it is.
    """
    draws = sorted(draw for module in modules for draw in _draws(root, module, seed))
    chosen: list[Mutant] = []
    for digest, module, faults in draws:
        if len(chosen) == each:
            break
        line, operator, occurrence, definition = random.Random(digest).choice(faults)
        mutant = _mutant(root, module, line, definition, operator, occurrence)
        if mutant is not None:
            chosen.append(mutant)
    return chosen


def _draws(root: Path, module: str, seed: int) -> list[tuple[str, str, list[tuple[int, str, int, str]]]]:
    """Digest of each place of a module, the module, and the faults there."""
    places: dict[tuple[int, int], list[tuple[int, str, int, str]]] = {}
    for (line, column), fault in _faults(root / module):
        places.setdefault((line, column), []).append((line, *fault))
    texts = (root / module).read_text(encoding="utf-8").splitlines()
    draws = []
    for (line, column), faults in places.items():
        text = texts[line - 1]
        which = texts[: line - 1].count(text)
        name = f"{seed} {module} {which} {column - len(text) + len(text.lstrip())} {text.strip()}"
        draws.append((hashlib.sha256(name.encode()).hexdigest(), module, faults))
    return draws


def _faults(path: Path) -> Iterator[tuple[tuple[int, int], tuple[str, int, str]]]:
    """Line and column, and operator, occurrence and definition, of all faults that Cosmic Ray knows."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.ast.ast_query import ASTQuery
    from cosmic_ray.plugins import get_operator, operator_names

    tree = get_ast_from_path(path)
    for name in sorted(operator_names()):
        operator_class = get_operator(name)
        if name.endswith("/NoOp") or operator_class.arguments() or _is_type_error(name):
            continue
        operator = operator_class()
        places = ((node, at) for node in ast_nodes(tree) for at, _ in operator.mutation_positions(node))
        for occurrence, (node, at) in enumerate(places):
            yield (at[0], at[1]), (name, occurrence, ASTQuery(node).get_definition_name() or "")


def _is_type_error(operator: str) -> bool:
    """Bits in place of arithmetic: of floats that is an error at the first call, which every test notices."""
    bits = ("BitOr", "BitAnd", "BitXor", "LShift", "RShift")
    _, _, change = operator.partition("ReplaceBinaryOperator_")
    before, _, after = change.partition("_")
    return after in bits and before not in bits


def mutated(source: str, operator: str, occurrence: int) -> str:
    """The file with the fault in it."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code = mutate_code(source, get_operator(operator)(), occurrence)
    assert code is not None, f"{operator} has no occurrence {occurrence}"
    return str(code)


def _mutant(
    root: Path, module: str, line: int, definition: str, operator: str, occurrence: int
) -> Mutant | None:
    """None where the program stays the same, or is none any more."""
    source = (root / module).read_text(encoding="utf-8")
    code = mutated(source, operator, occurrence)
    try:
        if _program(code) == _program(source):
            return None
    except SyntaxError:
        return None
    changes = [
        text for text in difflib.ndiff(source.splitlines(), code.splitlines()) if text[:2] in ("- ", "+ ")
    ]
    before, after = (" ".join(t[2:].strip() for t in changes if t[0] == sign) for sign in "-+")
    return Mutant(module, line, definition, operator.removeprefix("core/"), occurrence, before, after)


def _program(source: str) -> str:
    """A module's syntax tree without annotations and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.dump(tree)
