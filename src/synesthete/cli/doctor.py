"""What works on this machine, what does not, and how to mend it; nothing is sent or fetched."""

import importlib.metadata
import io
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from synesthete.cli import options, show
from synesthete.cli.options import Arguments, Commands

ROOM = 1 << 30
"""Free bytes that the demo's data and runs want."""


@dataclass(frozen=True)
class Check:
    """One thing that was tried."""

    part: str
    works: bool
    found: str
    mend: str = ""
    """What to do where it does not work."""
    needed: bool = False
    """Whether the main job, `synesthete demo`, needs it."""


def doctor(a: Arguments) -> int:
    """What works on this machine, and how to mend what does not; without the network."""
    checks = list(examine())
    works = all(check.works for check in checks if check.needed)
    if a.json:
        show.write_json({"works": works, "checks": [asdict(check) for check in checks]}, a.json)
    if a.json != "-":
        _print(checks, works)
    return 0 if works else 2


def _print(checks: list[Check], works: bool) -> None:
    from synesthete import tables

    state = {(True, True): "yes", (True, False): "yes", (False, True): "NO", (False, False): "no"}
    body = [(c.part, state[c.works, c.needed], c.found, "" if c.works else c.mend) for c in checks]
    tables.show(("", "works", "found", "to mend it"), body)
    print("the main job works here" if works else "the main job needs what is marked NO")


def examine() -> Iterator[Check]:
    """Every check in turn; a fault of any kind is a finding of its own."""
    parts: tuple[tuple[str, Callable[[], Iterator[Check]], str], ...] = (
        ("Python", _python, "install Python 3.11 or newer"),
        ("torch", _torch, "pip install --force-reinstall torch"),
        ("audio", _audio, "pip install --force-reinstall soundfile soxr"),
        ("data", _data, "set SYNESTHETE_DATA to a readable directory"),
        ("cache", _cache, "set SYNESTHETE_CACHE to a directory that can be written"),
        ("model digits", _model, "pip install --force-reinstall synesthete"),
        ("espeak-ng", _voices, "pip install 'synesthete[speech]'"),
        ("extras", _extras, "pip install --force-reinstall synesthete"),
    )
    for part, look, mend in parts:
        try:
            yield from look()
        except Exception as error:  # noqa: BLE001 - whatever is wrong is what was looked for
            needed = part not in ("espeak-ng", "extras")
            yield Check(part, False, _line(error), mend, needed)


def _python() -> Iterator[Check]:
    able = sys.version_info >= (3, 11)
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield Check("Python", able, found, "install Python 3.11 or newer", needed=True)


def _torch() -> Iterator[Check]:
    import torch

    from synesthete.config import TrainingConfig
    from synesthete.train import precision

    torch.ones(8, 8) @ torch.ones(8, 8)
    cpu = torch.backends.cpu.get_cpu_capability()
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    yield Check("torch", True, f"{torch.__version__}, {cpu}, {threads}", needed=True)
    fast = precision(TrainingConfig(steps=1, precision="auto")) != "32-true"
    yield Check("bfloat16", fast, "fast" if fast else "only emulated",
                "nothing: training uses float32 instead")  # fmt: skip


def _audio() -> Iterator[Check]:
    for name, kind, subtype in (
        ("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III"),
    ):  # fmt: skip
        yield _codec(name, kind, subtype)
    version = _version("av")
    yield Check("video", bool(version), f"PyAV {version}" if version else "PyAV is not installed",
                "pip install 'synesthete[video]'")  # fmt: skip


def _codec(name: str, kind: str, subtype: str) -> Check:
    """Whether a beep survives being written and read."""
    import numpy as np
    import soundfile

    from synesthete.data import audio

    beep, stream = 0.5 * np.sin(np.arange(4_000) / 4), io.BytesIO()
    version, mend = soundfile.__libsndfile_version__, "pip install --upgrade soundfile"
    try:
        soundfile.write(stream, beep, 8_000, format=kind, subtype=subtype)
        heard = audio.load(stream.getvalue())
    except (soundfile.SoundFileError, ValueError, audio.AudioError) as error:
        return Check(name, False, _line(error), mend, needed=name == "wav")
    good = abs(float(np.abs(heard).max()) - 0.5) < 0.1
    found = f"libsndfile {version}" if good else "a beep comes back changed"
    return Check(name, good, found, mend, needed=name == "wav")


def _data() -> Iterator[Check]:
    from synesthete.data import fsdd, mnist
    from synesthete.data.download import SourceError
    from synesthete.data.sources import cache_directory, look, user_directory

    for name, data, read in (
        ("fsdd", fsdd.release(), fsdd.read), ("mnist", mnist.RELEASE, mnist.read)
    ):  # fmt: skip
        try:
            place = look(data, read, directory=user_directory(), cache=cache_directory())
            yield Check(data.name, True, f"{place.kind} {place.detail}, verified")
        except SourceError as error:
            yield Check(data.name, False, _line(error), f"synesthete fetch {name}")


def _cache() -> Iterator[Check]:
    from synesthete.data.sources import cache_directory

    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache) as file:
        file.write(b"written")
    yield Check("cache", True, f"{cache} can be written", needed=True)
    free = shutil.disk_usage(cache).free
    yield Check("room", free >= ROOM, f"{free / 2**30:.1f} GiB free there",
                "set SYNESTHETE_CACHE to a directory on another disk")  # fmt: skip


def _model() -> Iterator[Check]:
    import numpy as np

    from synesthete.generate import load
    from synesthete.judges import load_judge

    images = load("digits").generate(np.sin(np.arange(4_000) / 4), 1, sample_rate=8_000)
    height, width = images.shape[1:3]
    yield Check("model digits", True, f"draws {height}x{width} pixels", needed=True)
    load_judge("lenet5")
    load_judge("judge2")
    yield Check("judges", True, "lenet5 and judge2 load", needed=True)


def _voices() -> Iterator[Check]:
    from synesthete.data import espeak

    voices = espeak.voices()
    found = f"{voices.version}, {len(voices.accents)} accents, {len(voices.variants)} variants"
    yield Check("espeak-ng", bool(voices.variants), found, "pip install 'synesthete[speech]'")


def _extras() -> Iterator[Check]:
    """The optional parts of the package, as its own metadata names them."""
    from packaging.requirements import Requirement

    lines = importlib.metadata.requires("synesthete") or []
    extras = importlib.metadata.metadata("synesthete").get_all("Provides-Extra") or []
    for extra in sorted(set(extras) - {"dev"}):
        wanted = [
            r for r in map(Requirement, lines) if r.marker and r.marker.evaluate({"extra": extra})
        ]
        versions = {r.name: _version(r.name) for r in wanted}
        found = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
        yield Check(f"extra {extra}", all(versions.values()), found,
                    f"pip install 'synesthete[{extra}]'")  # fmt: skip


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def add(commands: Commands) -> None:
    """The command `doctor`."""
    p = options.command(commands, "doctor", doctor, """
  synesthete doctor
  synesthete doctor --json -                        # for scripts
""")  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="write it as JSON; - for standard output")
