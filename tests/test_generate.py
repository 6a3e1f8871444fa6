"""Images from audio: any source, any batch, one seed; files, folders and globs."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

from synesthete import config, family
from synesthete.artefact import Artefact
from synesthete.data.audio import AudioError
from synesthete.deliver import deliver
from synesthete.errors import UserError
from synesthete.family import Shapes
from synesthete.generate import Model, find_audio, to_uint8


def model(name: str = "deck-vae", image: tuple[int, int, int] = (1, 28, 28)) -> Model:
    """Untrained: what it draws does not matter here."""
    torch.manual_seed(0)
    preset = config.from_table(config.read(name))
    shapes = Shapes(image=image)
    return Model(Artefact(family.from_preset(preset, shapes).eval(), preset, shapes, {}, {}))


@pytest.fixture(scope="module")
def vae() -> Model:
    return model()


def tone(hertz: float, seconds: float = 0.4) -> NDArray[np.float32]:
    time = np.arange(int(8_000 * seconds)) / 8_000
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as file:
        return file.size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, hertz in enumerate((300, 500, 700)):
        (tmp_path / "sub").mkdir(exist_ok=True)
        home = tmp_path / "sub" if number == 2 else tmp_path
        soundfile.write(home / f"t{number}.wav", tone(hertz), 8_000, subtype="FLOAT")
    (tmp_path / "bad.wav").write_bytes(b"RIFF, but not really")
    (tmp_path / "notes.txt").write_text("not audio")
    return tmp_path


def test_a_path_bytes_and_samples_of_one_clip_give_the_same_images(
    vae: Model, folder: Path
) -> None:
    path = folder / "t0.wav"
    expected = vae.generate(path, n=3)
    assert expected.shape == (3, 28, 28)
    assert expected.dtype == np.uint8
    for source in (str(path), path.read_bytes()):
        np.testing.assert_array_equal(vae.generate(source, n=3), expected)
    np.testing.assert_array_equal(vae.generate(tone(300), n=3, sample_rate=8_000), expected)


def test_a_list_gives_what_each_clip_gives_at_its_place(vae: Model) -> None:
    clips = [tone(200 + 40 * i, 0.2 + 0.02 * i) for i in range(70)]  # more than one batch
    together = vae.generate(clips, n=2, sample_rate=8_000, seed=5)
    assert together.shape == (70, 2, 28, 28)
    for i in (0, 33, 69):
        alone = vae.draw([clips[i]], 2, seed=5, first=i)[0]
        assert np.abs(together[i].astype(int) - alone).max() <= 1


def test_seeds_and_samples_differ_and_repeat(vae: Model) -> None:
    once, again, other = (vae.generate(tone(300), 4, sample_rate=8_000, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()
    assert (once[0] != once[1]).any()
    np.testing.assert_array_equal(once[:2], vae.generate(tone(300), 2, sample_rate=8_000, seed=1))


def test_the_dial_goes_from_one_image_to_many(vae: Model) -> None:
    clips = [tone(300), tone(500)]
    drawn = {
        d: vae.generate(clips, n=6, sample_rate=8000, diversity=d).astype(float)
        for d in (0.0, 0.5, 1.0, 1.5)
    }
    assert (drawn[0.0] == drawn[0.0][:, :1]).all()
    spread = [images.std(axis=1).mean() for images in drawn.values()]
    assert spread == sorted(spread)
    assert spread[0] == 0 < spread[1]
    assert np.array_equal(drawn[1.0], vae.generate(clips, n=6, sample_rate=8000))
    for wrong in (-0.1, 1.6, float("nan")):
        with pytest.raises(UserError, match=r"diversity is .*, wanted 0 to 1\.5"):
            vae.generate(clips, sample_rate=8000, diversity=wrong)


@pytest.mark.parametrize("name", ["archetype", "deck-vae", "vae-gan", "flow"])
def test_a_morph_holds_the_noise_and_meets_both_recordings(name: str) -> None:
    drawing = model(name)
    waves = [tone(300), tone(900)]
    ends = drawing.spectrogram(waves)
    way = drawing.morph(ends, [0.0, 0.5, 1.0], 3, seed=4, diversity=0.5)
    assert way.shape == (3, 3, 28, 28)
    for place, wave in ((0, waves[0]), (2, waves[1])):
        alone = drawing.draw([wave], 3, seed=4, diversity=0.5)[0]
        assert np.abs(way[place].astype(int) - alone).max() <= 1
    held = family.noise(4, 0, 1, 3, drawing.generator.noise_size)[0]
    with torch.inference_mode():
        code = drawing.generator.encode(ends).mean(0, keepdim=True).expand(3, -1)
        middle = to_uint8(drawing.generator.decode(code, held, 0.5))
    assert np.abs(way[1].astype(int) - middle).max() <= 1


def test_embeddings_are_vectors_and_tell_clips_apart(vae: Model) -> None:
    one = vae.embed(tone(300), sample_rate=8_000)
    both = vae.embed([tone(300), tone(900)], sample_rate=8_000)
    assert one.shape == (64,)
    assert one.dtype == np.float32
    np.testing.assert_allclose(both[0], one, atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 1e-3


def test_colour_images_have_their_channels_last() -> None:
    colour = model("archetype", image=(3, 32, 48))
    assert colour.generate(tone(300), 2, sample_rate=8_000).shape == (2, 32, 48, 3)


def test_bad_input_is_a_typed_error(vae: Model, folder: Path) -> None:
    for source in (folder / "bad.wav", folder / "missing.wav", b"", np.zeros(8_000)):
        with pytest.raises(AudioError):
            vae.generate(source, sample_rate=8_000)
    with pytest.raises(UserError, match="n is 0"):
        vae.generate(tone(300), 0, sample_rate=8_000)


def test_files_are_found_in_folders_and_by_globs(folder: Path) -> None:
    names = [Path(f).name for f in find_audio([str(folder)])]
    assert names == ["bad.wav", "t2.wav", "t0.wav", "t1.wav"]  # by path: sub/ before t0
    assert [Path(f).name for f in find_audio([str(folder / "t*.wav")])] == ["t0.wav", "t1.wav"]
    assert find_audio(["missing.wav"]) == ["missing.wav"]
    for nothing in (folder / "*.flac", folder / "empty"):
        (folder / "empty").mkdir(exist_ok=True)
        with pytest.raises(UserError, match="no audio file"):
            find_audio([str(nothing)])


def test_delivery_goes_on_past_bad_files(
    vae: Model, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = find_audio([str(folder)])
    status = deliver(vae, files, 4, npz=folder / "out.npz", out=folder / "pictures")
    shown = capsys.readouterr()
    assert status == 2
    assert len(shown.err.strip().splitlines()) == 1
    assert "bad.wav" in shown.err
    with np.load(folder / "out.npz", allow_pickle=False) as held:
        assert held["files"].tolist() == files
        assert [bool(e) for e in held["error"]] == [True, False, False, False]
        assert held["images"].shape == (4, 4, 28, 28)
        assert not held["images"][0].any()
        np.testing.assert_array_equal(held["images"][2], vae.draw([tone(300)], 4, first=2)[0])
    assert size(folder / "pictures" / "t0.png") == (2 * 28 + 1, 2 * 28 + 1)
    assert not (folder / "pictures" / "bad.png").exists()


def test_files_of_one_name_do_not_overwrite_each_other(vae: Model, folder: Path) -> None:
    soundfile.write(folder / "sub" / "t0.wav", tone(400), 8_000)
    status = deliver(vae, find_audio([str(folder / "sub"), str(folder / "t0.wav")]), 1, out=folder)
    assert status == 0
    assert (folder / "t0.png").exists()
    assert (folder / "t0-2.png").exists()


def test_the_listing_is_json_and_standard_output_stays_clean(
    vae: Model, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(vae, [str(folder / "t0.wav"), "gone.wav"], 1, out=folder, listing="-")
    told = json.loads(capsys.readouterr().out)
    assert [record["file"] for record in told] == [str(folder / "t0.wav"), "gone.wav"]
    assert told[0]["error"] == ""
    assert "gone.wav" in told[1]["error"]
    assert Path(told[0]["written"]).exists()
    assert size(Path(told[0]["written"])) == (28, 28)
