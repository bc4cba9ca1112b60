"""The rooms and the direction of their imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "models": {"models"},
    "stream": {"models", "stream"},
    "compress": {"compress", "models"},
    "deploy": {"compress", "deploy", "models", "stream"},
}
TRAINING_ONLY = {"matplotlib", "onnx", "onnxscript", "sklearn", "sncosmo", "torch"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))
}


def imports(path: Path, *, only_at_load: bool = False) -> Iterator[str]:
    """Yield the dotted names that a module imports; ``from a import b`` yields ``a.b``."""
    tree = ast.parse(path.read_text())
    for node in _statements(tree) if only_at_load else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is loaded: no function bodies, no ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        yield child
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _statements(child)


def own(name: str) -> str | None:
    """Return the module of ours that an imported name belongs to."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_from_below(module: str) -> None:
    room = module.split(".")[0]
    rooms = {name.split(".")[0] for name in imports(MODULES[module])} & (
        set(MAY_IMPORT) | {"tests"}
    )
    assert rooms <= MAY_IMPORT[room]


def test_no_modules_import_each_other() -> None:
    graph = {
        module: {other for name in imports(path, only_at_load=True) if (other := own(name))}
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter({m: others - {m} for m, others in graph.items()}).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_serving_and_replay_load_nothing_that_training_needs() -> None:
    serving = [m for m in MODULES if m.split(".")[0] == "stream"]
    modules = [*serving, "models.runtime", "deploy.cli", "deploy.http", "deploy.wiring"]
    code = (
        f"import sys, importlib\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted({TRAINING_ONLY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == []
