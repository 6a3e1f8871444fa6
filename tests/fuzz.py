"""Throw damaged files at what opens files, in a process of its own that stops at the first harm.

    python tests/fuzz.py TARGET --seconds 60

Harm is any error but a `UserError`, any file that takes over `SECONDS` or makes the process larger
than `MEMORY`, and anything written, run or looked up on the way. Hypothesis draws the damage, which
is done to each of the target's files, and shrinks what does harm.
"""

import argparse
import faulthandler
import gzip
import hashlib
import io
import itertools
import json
import os
import resource
import signal
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from PIL import Image

from damage import HARMS, TWISTS, Harm, Twist, damage, twist
from recorded import KINDS, recorded
from synesthete import artefact, config, family
from synesthete.data import audio, fsdd, labels, mnist, pictures, shards, storage, toy
from synesthete.data.download import inflate
from synesthete.errors import UserError
from synesthete.generate import Model
from synesthete.matching import Model as MatchModel
from tiny import artefact_of

SECONDS = 5
"""Of computing; six times that by the clock, as another process may be computing too."""
MEMORY = 10**9
"""Bytes: the process, its libraries included."""
HARM = frozenset((
    "os.exec os.fork os.link os.mkdir os.posix_spawn os.remove os.rename os.rmdir os.spawn "
    "os.symlink os.system pickle.find_class shutil.rmtree socket.connect socket.getaddrinfo "
    "subprocess.Popen"
).split())  # fmt: skip
"""Audit events (PEP 578) that opening a file must not raise; nor `open` for writing."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Attempts = Iterator[Callable[[], object]]
Target = Callable[[Sequence[Harm], Sequence[Twist]], Attempts]
"""What damage does to each of some files, as calls that open them."""

watched = False


def main() -> None:
    """Damage, open, repeat until the time is over; say how many were opened, and how many well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faulthandler.enable()
    for number in (signal.SIGALRM, signal.SIGPROF):
        faulthandler.register(number, chain=True)
    sys.addaudithook(_forbid)
    with tempfile.TemporaryDirectory() as folder:
        target = TARGETS[arguments.target](Path(folder))
        _allow(MEMORY)
        print(*_fuzz(target, arguments.seconds, arguments.seed))


def _allow(more: int) -> None:
    """Have the system refuse more memory than so many bytes beyond what is reserved by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _fuzz(target: Target, seconds: float, first: int) -> tuple[int, int]:
    """How many files were opened, and how many of them were no error."""
    opened = good = 0
    end = time.monotonic() + seconds

    def attempt(harms: Sequence[Harm], twists: Sequence[Twist]) -> None:
        nonlocal opened, good
        if not opened or time.monotonic() < end:
            for call in target(harms, twists):
                opened += 1
                good += _well(call)

    once = settings(
        max_examples=100, database=None, deadline=None, print_blob=True,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for number in itertools.count(first):
        seed(number)(once(given(HARMS, TWISTS)(attempt)))()
        if time.monotonic() >= end:
            break
    return opened, good


def _well(call: Callable[[], object]) -> bool:
    """Whether a file was opened; False after a `UserError`. All else ends the process."""
    global watched
    _alarm(SECONDS)
    watched = True
    try:
        call()
    except UserError as error:
        str(error).encode()
        return False
    finally:
        watched = False
        _alarm(0)
        used = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert used < MEMORY, f"{used:,} bytes of memory"
    return True


def _alarm(seconds: float) -> None:
    """End the process once the time is over, even from within a library; 0 for no end."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 6 * seconds)


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """End the process where opening a file does more than read."""
    if watched and (event in HARM or (event == "open" and arguments[2] & WRITING)):
        print(f"harm: {event} {arguments}", file=sys.stderr, flush=True)
        os._exit(3)


def sounds(folder: Path) -> Target:
    """Recordings in every format of libsndfile but one without header and one of two files."""
    tone = 0.3 * np.sin(np.arange(2_000) / 3)
    samples = []
    for kind, subtype in itertools.product(
        sorted({*soundfile.available_formats()} - {"RAW", "SD2"}), soundfile.available_subtypes()
    ):
        file = io.BytesIO()
        with suppress(soundfile.LibsndfileError, ValueError):  # not every one takes two channels
            soundfile.write(file, np.stack([tone, -tone / 2], 1), 8_000, subtype, format=kind)
            samples.append(file.getvalue())

    def attempts(harms: Sequence[Harm], _: Sequence[Twist]) -> Attempts:
        for data in samples:
            yield partial(audio.load, damage(data, harms))

    return attempts


def containers(folder: Path) -> Target:
    """Recordings of browsers and telephones."""
    samples = [recorded(*kind, seconds=0.2) for kind in KINDS]

    def attempts(harms: Sequence[Harm], _: Sequence[Twist]) -> Attempts:
        for data in samples:
            yield partial(audio.load, damage(data, harms))

    return attempts


def images(folder: Path) -> Target:
    """Images in every format that is read, in every mode that it takes."""
    ramp = np.arange(24 * 20 * 4).astype(np.uint8).reshape(24, 20, 4)
    samples = []
    for kind, mode in itertools.product(pictures.FORMATS, ("L", "P", "RGB", "RGBA", "I;16")):
        file = io.BytesIO()
        with suppress(OSError, ValueError):  # not every one takes every mode
            Image.fromarray(ramp).convert(mode).save(file, kind)
            samples.append(file.getvalue())
    path = folder / "image"

    def attempts(harms: Sequence[Harm], _: Sequence[Twist]) -> Attempts:
        for data in samples:
            path.write_bytes(damage(data, harms))
            yield partial(pictures.load, path, 32, 3)

    return attempts


def archives(folder: Path) -> Target:
    """Tar and zip archives and idx files, packed and not."""
    idx = b"\0\0\x08\x03\0\0\0\2\0\0\0\3\0\0\0\4" + bytes(24)
    names = (*mnist.RELEASE.sha256, "x/recordings/1_a_0.wav", f"{99 * 'y'}/recordings/2_a_0.wav")
    tars = [_tar(kind, names, idx) for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT)]
    tars.append(_tar(tarfile.PAX_FORMAT, names, idx, {"comment": "c" * 40}))
    zips = [_zip(method, names, idx) for method in mnist.METHODS]
    path = folder / "archive"

    def attempts(harms: Sequence[Harm], _: Sequence[Twist]) -> Attempts:
        for data in tars:
            yield partial(fsdd.unpack, damage(data, harms))
            yield partial(fsdd.unpack, _summed(damage(data, harms)))
        yield partial(fsdd.unpack, damage(gzip.compress(tars[0]), harms))
        for data in zips:
            path.write_bytes(damage(data, harms))
            yield partial(mnist.unpack, path)
        yield partial(inflate, damage(gzip.compress(idx), harms))
        yield partial(mnist.parse_idx, damage(idx, harms))

    return attempts


def _tar(kind: int, names: Sequence[str], data: bytes, more: dict[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), more or {}
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _zip(method: int, names: Sequence[str], data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name in names:
            opened.writestr(name, data)
    return file.getvalue()


def _summed(data: bytes) -> bytes:
    """A tar with its headers' sums put right, so that the damage is not caught by them."""
    blocks = [bytearray(data[at : at + 512]) for at in range(0, len(data), 512)]
    for block in blocks:
        if len(block) == 512 and any(block):
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def artefacts(folder: Path) -> Target:
    """Configurations and weights, with the hash that vouches for them put right."""
    made = [_artefact(folder / preset, preset, changes) for preset, changes in MODELS.items()]
    files = [
        ((path / artefact.CONFIG).read_bytes(), (path / artefact.WEIGHTS).read_bytes())
        for path in made
    ]
    target = folder / "damaged"
    target.mkdir()

    def attempts(harms: Sequence[Harm], twists: Sequence[Twist]) -> Attempts:
        for about, weights in files:
            told, size = json.loads(about), 8 + int.from_bytes(weights[:8], "little")
            head = json.dumps(twist(json.loads(weights[8:size]), twists)).encode()
            headed = len(head).to_bytes(8, "little") + head + weights[size:]
            for config_json, model in (
                (json.dumps(twist(told, twists)).encode(), weights),
                (json.dumps({**told, "preset": twist(told["preset"], twists)}).encode(), weights),
                (damage(about, harms), weights),
                (_vouching(told, damage(weights, harms)), damage(weights, harms)),
                (_vouching(told, headed), headed),
            ):
                (target / artefact.CONFIG).write_bytes(config_json)
                (target / artefact.WEIGHTS).write_bytes(model)
                yield partial(_use, str(target))

    return attempts


MODELS: dict[str, dict[str, int]] = {
    "archetype": {"width": 8, "code": 8},
    "flow": {"encoder_width": 8, "width": 8, "inner_width": 8, "code": 8},
    "ave": {"width": 8},
    "image-autoencoder": {"encoder_width": 8, "decoder_width": 8},
}


def _artefact(path: Path, preset: str, changes: dict[str, int]) -> Path:
    held = artefact_of(preset, model={**config.read(preset).get("model", {}), **changes})
    data = {"split": "random", "origins": [{"name": "a", "place": "b", "sha256": "c"}]}
    artefact.write(replace(held, data=data), path)
    return path


def _vouching(told: dict[str, Any], weights: bytes) -> bytes:
    return json.dumps({**told, "weights_sha256": hashlib.sha256(weights).hexdigest()}).encode()


def _use(folder: str) -> None:
    """Load a model and ask it for what it is there for."""
    held = artefact.read(folder)
    tone = 0.3 * np.sin(np.arange(2_000) / 3)
    with torch.inference_mode():
        if isinstance(held.model, family.Generator):
            model = Model(held)
            assert model.generate(tone, 1, sample_rate=8_000).dtype == np.uint8
            model.embed(tone, sample_rate=8_000)
        elif isinstance(held.model, family.Matcher):
            matcher = MatchModel(held)
            matcher.embed_audio(matcher.spectrogram([tone.astype(np.float32)]))
        elif isinstance(held.model, family.ImageModel):
            held.model.reconstruct(held.model.draw(torch.zeros(1, held.model.noise_size)))


def alignments(folder: Path) -> Target:
    """A stored alignment: header, tables, shards, with the hashes that vouch for them put right."""
    alignment, named = toy.build(recordings=16, images=16)
    target = folder / "alignment"
    storage.save(alignment, target, beside=named.save)
    paths = [path for path in target.rglob("*") if path.is_file()]
    files = {path.relative_to(target).as_posix(): path.read_bytes() for path in paths}
    header = json.loads(files[storage.HEADER])

    def attempts(harms: Sequence[Harm], twists: Sequence[Twist]) -> Attempts:
        (target / storage.HEADER).write_text(json.dumps(twist(header, twists)))
        yield partial(_look, target)
        for name, data in files.items():
            changed = damage(data, harms)
            told = {**header, "files": {**header["files"], name: shards.stamp(changed)}}
            (target / storage.HEADER).write_text(json.dumps(told))
            (target / name).write_bytes(changed)
            yield partial(_look, target)
            (target / name).write_bytes(data)

    return attempts


def _look(folder: Path) -> None:
    """Load an alignment and its labels, and count what is there."""
    labels.load(folder)
    found = storage.load(folder)
    found.check_leakage()
    found.summary()
    found.digest()


TARGETS: dict[str, Callable[[Path], Target]] = {
    "alignments": alignments,
    "archives": archives,
    "artefacts": artefacts,
    "containers": containers,
    "images": images,
    "sounds": sounds,
}

if __name__ == "__main__":
    main()
