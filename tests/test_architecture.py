"""The shape of the library: imports run one way, `import recon` is light, every public name loads."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A package may import itself and the ones below it.
ALLOWED = {"solvers": {"solvers"}, "priors": {"priors", "solvers"}, "recon": {"recon", "priors", "solvers"}}
HEAVY = {"PIL", "click", "h5py", "matplotlib", "numba", "pydicom", "pywt", "scipy", "skimage", "tifffile", "torch"}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST, path: Path) -> list[str]:
    """Absolute names of the modules that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if not node.level:
        return [node.module or ""]
    package = path.relative_to(ROOT).parent.parts
    base = package[: len(package) - node.level + 1]
    return [".".join([*base, node.module] if node.module else base)]


def upward_imports(tree: ast.AST, path: Path) -> list[str]:
    own = path.relative_to(ROOT).parts[0]
    return [
        f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        for node in ast.walk(tree)
        for name in imported(node, path)
        if name.split(".")[0] in ALLOWED and name.split(".")[0] not in ALLOWED[own]
    ]


def run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not function bodies, not `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from run_at_import(node)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_one_way(path: Path) -> None:
    assert not upward_imports(ast.parse(path.read_text(encoding="utf-8")), path)


@pytest.mark.parametrize(
    "source",
    ["import recon", "from recon import plan", "def f():\n    import priors.wavelet", "from recon.check import x"],
)
def test_an_upward_import_is_found(source: str) -> None:
    assert upward_imports(ast.parse(source), ROOT / "solvers" / "loop.py")


def test_a_downward_and_a_relative_import_are_allowed() -> None:
    tree = ast.parse("from solvers import loop\nfrom . import wavelet\nfrom .wavelet import Wavelet")
    assert not upward_imports(tree, ROOT / "priors" / "sums.py")


TORCH = (
    "priors.networks",
    "priors._fused_blocks",
    "priors.ridge_network",
    "priors._ridge_body",
    "priors._ridge_descent",
    "priors._ridge_maps",
)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_torch_is_imported_where_it_is_needed_only(path: Path) -> None:
    name = module_name(path)
    if name in TORCH or name.startswith("recon.learn"):
        pytest.skip("torch modules live here")
    nodes = run_at_import(ast.parse(path.read_text(encoding="utf-8")))
    found = [node.lineno for node in nodes for module in imported(node, path) if module.split(".")[0] == "torch"]
    assert not found, f"{name} imports torch at import time, line {found[0]}; import it inside the function"


def loaded_by(statement: str) -> set[str]:
    """Top-level modules loaded after ``statement`` in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_recon_is_light() -> None:
    heavy = loaded_by("import recon").intersection(HEAVY)
    assert not heavy, f"`import recon` loads {sorted(heavy)}"


def test_the_operators_load_neither_torch_nor_numba() -> None:
    heavy = loaded_by("from recon import operators\nfor n in operators.__all__: getattr(operators, n)")
    assert not heavy.intersection({"torch", "numba"})


def test_import_recon_is_quick() -> None:
    # The best of three: a busy machine can only make it slower. An empty interpreter is taken off.
    code = "import time; t = time.perf_counter(); import recon; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.25


def every_module() -> list[str]:
    names = []
    for package in ALLOWED:
        names.append(package)
        names += [info.name for info in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")]
    return names


@pytest.mark.parametrize("name", every_module())
def test_every_module_imports(name: str) -> None:
    module = importlib.import_module(name)
    assert Path(module.__file__ or "").is_relative_to(ROOT)
    assert module.__doc__, f"{name} has no docstring"


def lazy_packages() -> list[str]:
    paths = (path for path in FILES if path.name == "__init__.py")
    return [module_name(path) for path in paths if "_lazy import attach" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("package", lazy_packages())
def test_every_export_loads_and_is_typed(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
        if isinstance(child, ast.ImportFrom)
        for alias in child.names
    }
    assert typed == set(module.__all__), "the names for the type checker are not the ones exported"
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)


def test_an_export_wins_over_the_module_of_its_name() -> None:
    code = "import recon.plan, recon.reconstruct, recon as r; assert callable(r.plan) and callable(r.reconstruct)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_unknown_name_gets_a_suggestion() -> None:
    import recon

    with pytest.raises(AttributeError, match="Did you mean 'reconstruct'"):
        recon.reconstrct  # noqa: B018


def test_the_version_is_one() -> None:
    import recon

    cited = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited == [recon.__version__]
