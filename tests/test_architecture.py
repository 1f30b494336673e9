"""Rules of ARCHITECTURE.md that code can check, beside those of import-linter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "socsim").rglob("*.py"))
HEAVY = (
    *("pandas", "matplotlib", "typer", "rich", "scipy", "tomlkit", "gguf", "tokenizers", "safetensors", "numkong", "plotly", "jinja2"),
    *("pyarrow", "SALib", "distributed", "optuna", "ortools"),
)


def imports(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_are_short(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert {f.name: size for f in functions if (size := (f.end_lineno or 0) - f.lineno + 1) > 60} == {}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("simpy", {"socsim/simulator.py"}),
        ("matplotlib", {"socsim/plots"}),
        ("pandas", {"socsim/timeline.py", "socsim/validation.py"}),
        ("scipy", {"socsim/calibration/fit.py", "socsim/sweeps/dimensions.py"}),
        ("SALib", {"socsim/sweeps"}),
        ("pyarrow", {"socsim/sweeps"}),
        ("distributed", {"socsim/cli"}),
        ("tomlkit", {"socsim/calibration/files.py", "socsim/tuning/engine_file.py"}),
        ("optuna", {"socsim/tuning/search.py"}),
        ("ortools", {"socsim/optimal.py"}),
        ("pydantic", {"socsim/specs"}),
        ("gguf", {"socsim/numerics/checkpoint.py"}),
        ("tokenizers", {"socsim/numerics/tokenizer.py"}),
        ("safetensors", {"socsim/numerics/fetching.py"}),
        ("plotly", {"socsim/report"}),
        ("jinja2", {"socsim/report"}),
        ("typer", {"socsim/cli"}),
        ("rich", {"socsim/cli"}),
    ],
)
def test_packages_are_known_to_their_module_only(package: str, allowed: set[str]) -> None:
    users = {name(path) for path in MODULES if package in imports(path)}
    assert users
    assert {user for user in users if not any(user == place or user.startswith(f"{place}/") for place in allowed)} == set()


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{module.partition('.')[0] for module in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert loaded_by("import socsim").isdisjoint({*HEAVY, "simpy", "pydantic", "numpy"})


@pytest.mark.parametrize(
    "statement", ["from socsim import simulate", "import socsim.simulator", "from socsim import run", "from socsim import check_scheduler"]
)
def test_simulating_loads_no_plotting_dataframes_or_command_line(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "simpy" in loaded
    assert loaded.isdisjoint(HEAVY)


def module_state(path: Path) -> list[str]:
    """Return names of module-level lists, dicts and sets that are not constants by name."""
    body = ast.parse(path.read_text()).body
    targets = [(target, node.value) for node in body if isinstance(node, (ast.Assign, ast.AnnAssign))
               for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]  # fmt: skip
    mutable = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return [
        t.id for t, value in targets if isinstance(t, ast.Name) and isinstance(value, mutable) and not t.id.isupper() and t.id != "__all__"
    ]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_keep_no_state(path: Path) -> None:
    assert module_state(path) == []
    assert not any(isinstance(node, ast.Global) for node in ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_and_public_names_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []
