"""The ONNX file: the same images as PyTorch's, whatever the family, with nothing of ours to run."""

import dataclasses
import functools
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from synesthete import artefact, cli, config, export, families, family, material
from synesthete.data import audio
from synesthete.data.spectrogram import pad
from synesthete.export import Drawing
from synesthete.family import Generator, noise
from synesthete.files import whole_directory
from synesthete.generate import Model, load, to_uint8
from synesthete.judges import load_judge, read
from tiny import untrained

GUIDE = Path(__file__).parents[1] / "docs" / "export.md"
GENERATORS = [
    name
    for name in family.names()
    if issubclass(importlib.import_module(f"{families.__name__}.{name}").Model, Generator)
]


def of_family(name: str) -> Model:
    """In colour, by a preset of that family."""
    preset = next(known for known in config.names() if config.read(known).get("family") == name)
    return untrained(preset, (3, 32, 48))


def clips(*seconds: float) -> list[audio.Wave]:
    """Chirps that fade."""
    waves = []
    for number, length in enumerate(seconds):
        time = np.arange(int(length * audio.RATE)) / audio.RATE
        wave = np.sin(2 * np.pi * (300 + 200 * number + 400 * time) * time) * np.exp(-4 * time)
        waves.append(wave.astype(np.float32))
    return waves


def drawn(file: Path, waves: list[audio.Wave], noises: NDArray[np.float32]) -> NDArray[np.float32]:
    waveform, lengths = pad(waves)
    feed = {"waveform": waveform.numpy(), "lengths": lengths.numpy(), "noise": noises}
    images: NDArray[np.float32] = export.session(file).run(["images"], feed)[0]
    return images


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """An untrained model of a family, and its file; each is exported once, for that takes seconds.

    Where the network is evaluated several times, twice is enough to see that it is.
    """

    @functools.cache
    def one(name: str) -> tuple[Model, Path]:
        model, path = of_family(name), tmp_path_factory.mktemp(name) / "model.onnx"
        if model.generator.evaluations is not None:
            model.generator.evaluations = 2
        export.export(model, path)
        return model, path

    return one


Exported = Callable[[str], tuple[Model, Path]]


@pytest.fixture
def traced(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model whose graph is at hand: exporting it again takes no time."""
    model, path = exported("vae_gan")
    monkeypatch.setattr(export, "_traced", lambda _: onnx.load(path))
    return model


@pytest.mark.parametrize("name", GENERATORS)
def test_every_family_draws_what_pytorch_draws(name: str, exported: Exported) -> None:
    """Of clips, lengths and counts that the exporter never saw; the dial is a factor of noise."""
    model, file = exported(name)
    waves = clips(0.3, 1.2, 0.5, 0.11)
    noises = noise(0, 0, len(waves), 5, model.generator.noise_size)
    with torch.inference_mode():
        for diversity in (1.0, 0.3):
            wanted = model.generator.sample(model.spectrogram(waves), noises, diversity).numpy()
            images = drawn(file, waves, (diversity * noises).numpy())
            assert images.shape == (4, 5, 3, 32, 48)
            np.testing.assert_allclose(images, wanted, atol=export.TOLERANCE, rtol=0)


def test_the_file_says_what_it_is(exported: Exported) -> None:
    file = exported("vae_gan")[1]
    held = onnx.load(file)
    tensors = {t.name: t for t in (*held.graph.input, *held.graph.output)}
    sizes = {
        name: [d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim]
        for name, tensor in tensors.items()
    }
    assert sizes == {
        "waveform": ["B", "T"], "lengths": ["B"], "noise": ["B", "n", 64],
        "images": ["B", "n", 3, 32, 48],
    }  # fmt: skip
    assert all(tensor.doc_string == export.MEANING[name] for name, tensor in tensors.items())
    about = {entry.key: entry.value for entry in held.metadata_props}
    assert about == {
        "name": "gan", "family": "vae_gan", "sample_rate": "8000",
        "licence": artefact.LICENCE,
    }  # fmt: skip
    assert held.producer_name == "synesthete"
    assert not re.search(rb"[\w/]+\.py\b", file.read_bytes()), "it tells where it was made"


def test_half_precision_halves_the_file_and_hardly_changes_an_image(
    traced: Model, exported: Exported, tmp_path: Path
) -> None:
    half, file = tmp_path / "half.onnx", exported("vae_gan")[1]
    assert export.export(traced, half, half=True) < export.HALF_TOLERANCE
    assert 0.45 < half.stat().st_size / file.stat().st_size < 0.55
    noises = noise(0, 0, 1, 4, 64).numpy()
    whole, halved = (drawn(path, clips(0.4), noises) for path in (file, half))
    assert 0 < np.abs(whole - halved).mean() < 1e-3


def test_a_file_that_draws_other_images_is_not_left(
    traced: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.nn.init.normal_(next(traced.generator.parameters()), std=9)
    with pytest.raises(RuntimeError, match="differ from PyTorch's"):
        export.export(traced, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_a_model_recalls_is_in_the_file(tmp_path: Path) -> None:
    """Other codes remembered, other images, of the file as of the model."""
    model, found = untrained("unseen"), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        codes = 10 * torch.randn(512, 64)
        model.generator.memory.codes.copy_(codes)  # type: ignore[union-attr, operator]
        export.export(model, tmp_path / "model.onnx")
        found.append(drawn(tmp_path / "model.onnx", clips(0.4, 0.6), np.zeros((2, 1, 0), "f")))
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_the_command_writes_the_file_and_names_it(
    traced: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with whole_directory(tmp_path / "model") as draft:
        facts = {"steps": 0, "seed": 0, "seconds": 0.0, "threads": 1, "torch": "", "command": ""}
        artefact.write(dataclasses.replace(traced.artefact, training=facts), draft)
    out = tmp_path / "deep" / "model.onnx"
    assert cli.main(["export", str(tmp_path / "model"), "--onnx", str(out), "--half"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out}\n"
    assert "differ from PyTorch's by" in shown.err
    assert out.stat().st_size > 1_000_000
    assert cli.main(["export", "nothing", "--onnx", str(out)]) == 2


def test_what_is_missing_is_named() -> None:
    code = "import sys; sys.modules['onnxscript'] = None; import synesthete.cli as c; "
    code += "sys.exit(c.main(['export', 'digits', '--onnx', 'x.onnx']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = "synesthete: export needs onnxscript: pip install 'synesthete[export]'\n"
    assert done.stderr == told


def guide() -> str:
    """The program in the guide."""
    (program,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return str(program)


def run_guide(folder: Path, file: Path, before: str, *options: str) -> NDArray[np.float32]:
    """What the guide's program draws of a clip, in a Python that `before` prepares."""
    (folder / "digits.onnx").write_bytes(file.read_bytes())
    soundfile.write(folder / "seven.wav", clips(0.5)[0], audio.RATE, subtype="FLOAT")
    after = "\nnp.save('images.npy', images)"
    subprocess.run(
        [sys.executable, "-I", *options, "-c", before + guide() + after], cwd=folder, check=True
    )
    found: NDArray[np.float32] = np.load(folder / "images.npy")
    return found


def test_the_guide_s_program_draws_without_anything_of_ours(
    exported: Exported, tmp_path: Path
) -> None:
    file = exported("vae_gan")[1]
    ours = "torch synesthete onnx onnxscript safetensors soxr PIL".split()
    images = run_guide(tmp_path, file, f"import sys\nsys.modules.update(dict.fromkeys({ours}))\n")
    assert images.shape == (1, 16, 3, 32, 48)
    noises = np.random.default_rng(0).standard_normal((1, 16, 64)).astype(np.float32)
    wave = audio.load(tmp_path / "seven.wav")
    np.testing.assert_allclose(images, drawn(file, [wave], 0.8 * noises), atol=1e-5)


@pytest.mark.slow
def test_the_guide_s_program_needs_only_what_it_says(exported: Exported, tmp_path: Path) -> None:
    """In a Python that holds numpy, onnxruntime and soundfile, and what these ask for."""
    target, constraints = tmp_path / "packages", GUIDE.parents[1] / "constraints.txt"
    packages = ["numpy", "onnxruntime", "soundfile"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints)]
    subprocess.run([*pip, "--target", str(target), *packages], check=True)
    before = (
        f"import sys, importlib.util\nsys.path.insert(0, {str(target)!r})\n"
        "assert not any(map(importlib.util.find_spec, ('torch', 'synesthete', 'onnx')))\n"
    )
    assert run_guide(tmp_path, exported("vae_gan")[1], before, "-S").shape == (1, 16, 3, 32, 48)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_bundled_model_is_read_alike_on_every_test_recording(tmp_path: Path) -> None:
    """All of the default mix, at the model's own diversity: pixels and what the judge reads."""
    model = load("digits")
    export.export(model, tmp_path / "digits.onnx")
    alignment, _ = material.load(material.default(material.MixConfig()), ("test",))
    judge, recordings = load_judge("lenet5"), alignment.waveforms
    assert len(recordings) == 200
    noises = noise(0, 0, len(recordings), 2, model.generator.noise_size)
    for first in range(0, len(recordings), 50):
        waves, few = list(recordings[first : first + 50]), noises[first : first + 50]
        with torch.inference_mode():
            wanted = Drawing(model)(*pad(waves), few).numpy()
        found = drawn(tmp_path / "digits.onnx", waves, few.numpy())
        np.testing.assert_allclose(found, wanted, atol=export.TOLERANCE, rtol=0)
        digits = [
            read(judge, to_uint8(torch.from_numpy(images)).reshape(-1, 28, 28))[1].argmax(1)
            for images in (found, wanted)
        ]
        np.testing.assert_array_equal(*digits)


def test_onnxruntime_is_told_to_report_to_nobody(tmp_path: Path) -> None:
    """It would leave the file of its reporting in the temporary folder as soon as it is loaded."""
    code = "import synesthete.export, onnxruntime; print(onnxruntime.__version__)"
    surroundings = {**os.environ, "TMPDIR": str(tmp_path)}
    surroundings.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=surroundings)
    assert not (tmp_path / ".ses").exists()
