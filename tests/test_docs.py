"""Whatever the documentation tells a reader to type is typed here."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from pages import PAGES, ROOT, Shown, shown
from served import served
from synesthete import cli, config, demo_pairs, material
from synesthete.cli import training
from synesthete.data import fsdd, mix, mnist, pair_shards, storage, toy
from synesthete.data.alignment import Alignment
from synesthete.data.labels import Labels
from synesthete.data.sources import Origin
from test_video import brightening, film
from tiny import tone

SHOWN = shown()
TARGETS = [piece for piece in SHOWN if not piece.language and piece.command.startswith("make ")]

OTHERS = {
    r"source \.venv/bin/activate": "a shell's own",
    r"export SYNESTHETE_DATA=DIR": "a shell's own; test_sources.py reads the variable",
    r'eval "\$\(synesthete completion bash\)"': "test_completion.py, in the shells themselves",
    r"pip install 'synesthete\[[\w,]+\]'": "the test of extras below",
    r"pip install s3fs": "another project's",
    r"python examples/\w+\.py .*": "test_own_example.py runs both, whole",
    r"python tests/fuzz\.py TARGET": "test_fuzz.py, each target",
    r"python3 -m http\.server .*": "Python's own; test_web.py serves that folder",
    r"python bench/video_rate\.py": "make bench's kin; writes the table of its page",
    r"synesthete (generate|train)": "a name, nothing to type",
    r"synesthete: .*": "what we say, nothing to type",
}
"""What is no command of ours, and what runs it."""

RECORDS = "docs/reproduction.md", "bench/README.md", "src/synesthete/models/digits/README.md"
NOT_RUN = {
    r"synesthete reproduce\b": "hours; test_reproduce.py runs its stages, small",
    r"synesthete train flow\b": "50 minutes; families/test_flow.py trains it, small",
    r"synesthete .* --engine ray": "test_engines.py compares both engines",
    r"synesthete app\b": "serves until it is stopped; test_app.py speaks to it",
}
"""Commands that are only understood, not run, and why; so are the trainings in `RECORDS`, each of
which test_families.py does with the toy world."""

PROGRAMS_ELSEWHERE = {
    "docs/export.md": "test_export.py runs it, without anything of ours",
    "docs/streaming.md": "its clips are the reader's; test_pair_shards.py writes from an iterator",
}
LAUNCHED = "docs/cluster.md"
"""What starts torchrun: test_cluster_page.py has it parsed."""
SERVED = "docs/app.md"
"""Its program speaks to the page."""

SLOW = [pytest.mark.slow, pytest.mark.timeout(1_500)]
QUICK = ["--steps", "2", "--batch-size", "8"]
OPENED = {"generate": ["digits", "seven.wav"], "train": ["archetype"], "evaluate": ["digits"]}
STAND_INS = {"MODEL": "digits", "PRESET": "archetype", "FILE": "pairs.csv"}
MATERIAL = {"from-folder": "takes", "from-video": "clips"}
"""What `DIR` is to them; to others, `pairs`."""
WRITERS = "--out", "--json", "--npz", "--onnx", "--sheet"


def ours(piece: Shown) -> str:
    """The part of a command that is `synesthete …`, empty where there is none."""
    last = piece.command.rpartition(" | ")[2]
    return last if last.startswith("synesthete ") and not other(piece) else ""


def other(piece: Shown) -> bool:
    return any(re.fullmatch(pattern, piece.command) for pattern in OTHERS)


COMMANDS = [piece for piece in SHOWN if not piece.language and ours(piece)]


def arguments(piece: Shown) -> list[str]:
    """What a shell would make of a command, with something in the place of what is left open."""
    words = shlex.split(ours(piece))[1:]
    if "…" in words:
        opened = OPENED[words[0]]
        at = words.index("…")
        words[at : at + 1] = opened
    folder = next((MATERIAL[word] for word in words if word in MATERIAL), "pairs")
    return [{**STAND_INS, "DIR": folder}.get(word, word) for word in words]


def kept_short(piece: Shown) -> bool:
    """It is only understood, not run."""
    record = piece.page in RECORDS and piece.command.startswith("synesthete train ")
    return record or any(re.match(pattern, piece.command) for pattern in NOT_RUN)


def named(pieces: list[Shown], slow: str = "^$") -> list[Any]:
    """Test cases that say what and where; those that match `slow` are."""
    return [
        pytest.param(
            piece,
            id=f"{piece.page}: {piece.command[:60]}",
            marks=SLOW if re.search(slow, piece.command) else [],
        )
        for piece in pieces
    ]


def test_the_pages_are_read() -> None:
    """Were nothing found, nothing below could fail."""
    assert len(COMMANDS) > 80
    assert {"README.md", "docs/first-five-minutes.md"} <= {piece.page for piece in COMMANDS}
    assert len([piece for piece in SHOWN if piece.language == "python"]) >= 8


def test_nothing_is_left_out_in_silence() -> None:
    for piece in SHOWN:
        told = piece in COMMANDS or piece in TARGETS or piece.language in ("python", "toml")
        assert told or other(piece) or piece.page == LAUNCHED, piece
    for pattern in NOT_RUN:
        assert any(re.match(pattern, piece.command) for piece in COMMANDS), pattern
    for pattern in OTHERS:
        assert any(re.fullmatch(pattern, piece.command) for piece in SHOWN), pattern


def test_every_extra_that_is_named_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    lists = [names for text in texts for names in re.findall(r"synesthete\[([\w,]+)\]", text)]
    named = {name for names in lists for name in names.split(",")}
    assert {"app", "export", "video"} <= named <= {*project["optional-dependencies"]}


@pytest.mark.parametrize("piece", named(COMMANDS))
def test_every_command_is_understood(piece: Shown, world: Path, monkeypatch: Any) -> None:
    """Every option, and for a training every key of its preset."""
    monkeypatch.chdir(world)
    parsed, rest = cli.parser().parse_known_args(arguments(piece))
    if parsed.command != "train":
        assert not rest
        return
    config.from_table(config.read(parsed.preset), training.overrides(rest))


@pytest.mark.parametrize("piece", named(TARGETS))
def test_every_target_is_one_of_the_makefile(piece: Shown) -> None:
    """Make says what it would do; the targets take long or set up environments."""
    command = ["make", "--dry-run", *shlex.split(piece.command)[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that commands name: recordings, pairs, models of two steps."""
    folder = tmp_path_factory.mktemp("world")
    words = "seven.wav", "recordings/7_anna_0.wav", "recordings/3_anna_1.wav", "more/eight.flac"
    for name in words:
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, tone(400), 8_000)
    own_material(folder)
    alignment, labels = digits()
    for name in ("pairs", "tones", "anna"):
        storage.save(alignment, folder / name, beside=labels.save)
    pair_shards.convert(folder / "pairs", folder / "shards", split="train")
    recipe = next(piece for piece in SHOWN if piece.language == "toml")
    (folder / "my.toml").write_text(recipe.text)
    for preset in ("archetype", "ave"):
        run = ["train", preset, "--pairs", str(folder / "pairs"), "--out", str(folder / preset)]
        assert cli.main([*run, *QUICK]) == 0
    models = ("demo", "archetype", "my", "my-1", "mine", "tones", "without-theo", "unseen-theo")
    for name in (*models, "ave"):
        kept = folder / ("ave" if name == "ave" else "archetype")
        for file in ("config.json", "model.safetensors", "README.md"):
            (folder / "runs" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(kept / file, folder / "runs" / name)
    return folder


def own_material(folder: Path) -> None:
    """Sounds and images of one's own: takes, a table of them, films."""
    rows = ["audio,image"]
    for number in range(12):
        sound, image = f"takes/a/{number}.wav", f"takes/b/{number}.png"
        for name in (sound, image):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / sound, tone(300 + 20 * number), 16_000)
        Image.new("RGB", (64, 64), (20 * number, 90, 90)).save(folder / image)
        rows.append(f"{sound},{image}")
    (folder / "pairs.csv").write_text("\n".join(rows))
    for number in range(4):
        wave = tone(300 + 100 * number, seconds=4)  # 8 kHz: two seconds at the film's 16 kHz
        film(folder / f"clips/{number}.mp4", brightening(2) + np.uint8(number), wave)


def digits() -> tuple[Alignment, Labels]:
    """The toy world with its shapes called digits, so that the judges can be asked."""
    alignment, labels = toy.build(recordings=80, images=400)
    digit = {name: str(number) for number, name in enumerate(labels.classes)}
    audio, images = (
        {key: digit[name] for key, name in kind.items()} for kind in (labels.audio, labels.images)
    )
    alignment = with_validation(alignment)
    unseen = frozenset(alignment.subset("train").image_ids[:100])
    return alignment, Labels(audio, images, labels.groups, unseen)


def with_validation(alignment: Alignment) -> Alignment:
    """The same with a third of the train recordings, and all of their images, kept for tuning."""
    kept = {
        row for row, side in enumerate(alignment.audio_splits) if side == "train" and row % 3 == 0
    }
    seen = {image for audio, image in alignment.edges.tolist() if audio in kept}
    sides = (
        tuple("validation" if row in rows else side for row, side in enumerate(splits))
        for rows, splits in ((kept, alignment.audio_splits), (seen, alignment.image_splits))
    )
    audio, images = sides
    return replace(alignment, audio_splits=audio, image_splits=images)


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world to work in, where the data sets are those of the toy world."""
    origin = Origin("toy", "directory", "", "0" * 64, verified=True)
    sources = SimpleNamespace(origin=origin)
    monkeypatch.setattr(fsdd, "load", lambda *_, **__: sources)
    monkeypatch.setattr(mnist, "load", lambda *_, **__: sources)
    monkeypatch.setattr(mix, "build", lambda *_, **__: digits())
    monkeypatch.setattr(material, "default", lambda _: Path("pairs"))
    monkeypatch.setattr(material, "check_same", lambda *_, **__: None)
    target = tmp_path / "here"
    shutil.copytree(world, target)
    monkeypatch.chdir(target)
    return target


RUN = [piece for piece in COMMANDS if not kept_short(piece)]


@pytest.mark.parametrize(
    "piece", named(RUN, slow="demo --pairs|evaluate|export|from-video|retrieve|train (unseen|ave)")
)
def test_the_command_does_its_work(
    piece: Shown, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = arguments(piece)
    if words[0] in ("train", "demo"):
        shutil.rmtree("runs")
    if words[0] == "demo":
        monkeypatch.setattr(config, "read", partial(hurried, config.read))
        monkeypatch.setattr(demo_pairs, "MATCHER_STEPS", 2)
    if words[0] == "train":
        words += QUICK
        if "--resume" in words:
            assert cli.main([word for word in words if word != "--resume"]) == 0
    if words[0] == "pairs" and "--out" in words:
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    heard = io.BytesIO(Path("seven.wav").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(heard))
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert cli.main(words) == 0, capsys.readouterr().err
    written = {path for path in here.rglob("*") if before.get(path) != path.stat().st_mtime_ns}
    assert written or capsys.readouterr().out
    for name in promised(words, piece.text):
        assert any(here / name in (path, *path.parents) for path in written), name


def promised(words: list[str], line: str) -> list[str]:
    """The files and folders that a command is told to write, or says that it does."""
    named = [words[place + 1] for place, word in enumerate(words) if word in WRITERS]
    return [*named, *re.findall(r"# (\S+\.png)", line)]


def hurried(read: Callable[[str], dict[str, Any]], preset: str) -> dict[str, Any]:
    """A preset of two steps, for a command that cannot be told so."""
    table = read(preset)
    return {**table, "training": {**table["training"], "steps": 2, "batch_size": 8}}


PROGRAMS = [piece for piece in SHOWN if piece.language == "python"]


@pytest.mark.parametrize(
    "piece", named([p for p in PROGRAMS if p.page not in {*PROGRAMS_ELSEWHERE, SERVED}])
)
def test_the_python_runs(piece: Shown, here: Path) -> None:
    exec(compile(piece.text, piece.page, "exec"), {})


@pytest.mark.slow
def test_the_program_for_the_page_runs(world: Path, tmp_path: Path) -> None:
    for word in ("seven", "three", "eight"):
        shutil.copy(world / "seven.wav", tmp_path / f"{word}.wav")
    (program,) = (piece.text for piece in PROGRAMS if piece.page == SERVED)
    after = "\nprint(images[3]['image'], len(reading['digits']), between[15]['image'])"
    with served(tmp_path, "digits") as page:
        told = program.replace("http://127.0.0.1:7860", page.url)
        assert told != program
        run = [sys.executable, "-c", told + after]
        here = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "got")}
        done = subprocess.run(
            run, cwd=tmp_path, env=here, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    image, count, between = done.stdout.split()[-3:]
    assert count == "4"
    for name in (image, between):
        with Image.open(name) as opened:
            assert opened.size == (28, 28)


@pytest.mark.parametrize("piece", named([piece for piece in SHOWN if piece.language == "toml"]))
def test_the_presets_are_ones(piece: Shown) -> None:
    config.from_table({"name": "shown", **tomllib.loads(piece.text)})
