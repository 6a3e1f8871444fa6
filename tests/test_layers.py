"""The folder's order: a file imports only from files earlier in the flow, and never labels."""

import ast
import subprocess
import sys
from pathlib import Path

import soundfile

import synesthete
from tiny import tone

ROOT = Path(synesthete.__file__).parent

LAYERS = (
    ("errors", "files", "pixels", "tables", "engines", "torchrun", "__init__", "data"),
    ("progress",),
    (
        "hub",
        "locks",
        "ray_engine",
        "data.download",
        "data.containers",
        "data.content",
        "data.pictures",
        "data.sides",
        "data.tables",
    ),
    ("data.audio",),
    ("data.sources", "inputs"),
    ("data.fsdd", "data.mnist", "data.espeak_worker", "data.espeak"),
    ("data.speech",),
    ("data.shards", "data.spectrogram", "data.labels"),
    ("data.alignment",),
    ("data.storage", "data.own", "data.remote"),
    ("data.joining", "data.pair_shards"),
    ("data.folder", "data.manifest", "data.video"),
    ("data.videos",),
    ("data.mix",),
    ("data.toy", "data.augment", "data.degrade"),
    ("data.scenes",),
    ("data.batches",),
    ("data.streaming",),
    ("config",),
    ("nets", "losses"),
    ("deck",),
    ("families",),
    ("family",),
    ("families.*",),
    ("checkpoint", "distributed"),
    ("train",),
    ("artefact", "judges", "metrics.shapes"),
    ("metrics.*",),
    ("metrics.jackknife",),
    ("metrics",),
    ("runs", "material", "pairs", "generate", "figures", "matching", "similarity"),
    ("deliver", "evaluate", "export", "report", "inspection"),
    ("baselines", "dial", "robustness", "evaluate_images", "evaluate_matches", "retrieve"),
    ("pairs_exam",),
    ("evaluate_pairs", "viewer"),
    ("markup",),
    ("answers",),
    ("app",),
    ("demo",),
    ("demo_pairs",),
    ("reproduce.*",),
    ("reproduce.stage",),
    ("reproduce.story",),
    ("reproduce",),
    ("cli.options", "cli.show"),
    ("cli.completion", "cli.own"),
    ("cli.*",),
    ("cli",),
    ("cli.__main__",),
)
"""From sources to the command line; files of one line may not import each other."""

TRAINING = (
    "data.alignment data.content data.shards data.tables data.storage data.remote data.pair_shards "
    "data.batches data.streaming data.augment data.degrade data.scenes config nets deck losses "
    "family families families.* checkpoint torchrun distributed train artefact runs"
).split()
"""What touches a model while it is being trained."""

LABELLED = {
    "data.labels",
    "data.mnist",
    "data.fsdd",
    "data.mix",
    "data.toy",
    "judges",
    "material",
    "data.own",
    "data.joining",
}
"""What knows labels, or names that tell them."""


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return names


def imports(path: Path) -> set[str]:
    """The modules of ours that a file imports while it is being imported."""
    found: set[str] = set()
    for node in _at_import(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "synesthete"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "synesthete":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if _ours(inner) in modules() else str(node.module))
    return {_ours(name) for name in found} - {""}


def _at_import(tree: ast.AST) -> list[ast.AST]:
    """Every node but those below functions and `if TYPE_CHECKING`."""
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        guarded = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not guarded and not isinstance(node, ast.FunctionDef):
            found += [node, *_at_import(node)]
    return found


def _ours(name: str) -> str:
    return name.removeprefix("synesthete").removeprefix(".")


def layer(name: str) -> int:
    for pattern in (name, f"{name.rpartition('.')[0]}.*"):
        for number, line in enumerate(LAYERS):
            if pattern in line:
                return number
    raise AssertionError(f"{name} has no place in LAYERS: which step of the flow is it?")


def test_a_file_imports_only_from_earlier_in_the_flow() -> None:
    for name, path in modules().items():
        for imported in imports(path):
            if imported != name.rpartition(".")[0]:
                assert layer(imported) < layer(name), f"{name} imports {imported}"


def test_the_check_sees_imports() -> None:
    """The parser above finds what is there: a check that found nothing would pass."""
    found = modules()
    assert imports(found["train"]) >= {"checkpoint", "config", "family", "data.batches"}
    assert "data.labels" in imports(found["evaluate"])
    assert imports(found["metrics.shares"]) == {"metrics.shapes"}


def test_training_has_no_path_to_a_label() -> None:
    """Nothing that training code imports, however indirectly, knows labels."""
    found = modules()
    names = [n for n in found if n in TRAINING or f"{n.rpartition('.')[0]}.*" in TRAINING]
    assert len(names) > len(TRAINING) - 2
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports(found[name])
    assert not reached & LABELLED


def test_the_command_line_and_the_package_import_without_torch() -> None:
    code = (
        "import sys, synesthete, synesthete.cli; synesthete.cli.parser(); "
        "heavy = {'torch', 'numpy', 'rich', 'lightning_fabric'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_generate_loads_nothing_heavy_beside_torch(tmp_path: Path) -> None:
    """A cold process draws soon: plots, tables of data and other judges' tools stay away."""
    soundfile.write(tmp_path / "tone.wav", tone(300), 8_000)
    code = (
        "import sys; from synesthete import cli; cli.main(['generate', 'digits', 'tone.wav']); "
        "heavy = {'scipy', 'matplotlib', 'pyarrow', 'pandas', 'sklearn', 'sympy', 'tensorboard', "
        "'lightning_fabric', 'requests', 'huggingface_hub'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0 if 'torch' in sys.modules else 'no torch')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
