"""Images from audio: any source, any batch, any thread, one seed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from synesthete import family, generate
from synesthete.data.audio import AudioError
from synesthete.errors import UserError
from synesthete.generate import Model, to_uint8
from tiny import tone, untrained


@pytest.fixture(scope="module")
def vae() -> Model:
    return untrained()


def test_a_path_bytes_and_samples_of_one_clip_give_the_same_images(
    vae: Model, sounds: Path
) -> None:
    path = sounds / "t0.wav"
    expected = vae.generate(path, n=3)
    assert expected.shape == (3, 28, 28)
    assert expected.dtype == np.uint8
    for source in (str(path), path.read_bytes()):
        np.testing.assert_array_equal(vae.generate(source, n=3), expected)
    np.testing.assert_array_equal(vae.generate(tone(300), n=3, sample_rate=8_000), expected)


@pytest.mark.parametrize("preset", ["archetype", "deck-vae", "vae-gan", "flow"])
def test_a_clip_gives_the_same_at_its_place_in_any_batch(preset: str) -> None:
    """Within a grey level, across blocks of clips; batch norm has statistics of its own."""
    model = untrained(preset)
    shake(model)
    clips = [tone(200 + 40 * i, 0.2 + 0.02 * i) for i in range(generate.CLIPS + 6)]
    together = model.generate(clips, n=2, sample_rate=8_000, seed=5)
    assert together.shape == (generate.CLIPS + 6, 2, 28, 28)
    assert together[0].std() > 10
    for i in (0, 33, generate.CLIPS + 5):
        alone = model.draw([clips[i]], 2, seed=5, rows=[i])[0]
        assert np.abs(together[i].astype(int) - alone).max() <= 1


def shake(model: Model) -> None:
    """Give an untrained model weights and statistics that make its images differ."""
    rng = torch.Generator().manual_seed(3)
    for name, value in model.generator.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=rng)
            value += noise if name.endswith("running_var") else 0.2 * (noise - 0.5)


def test_many_images_of_one_clip_are_the_same_in_several_goes(
    vae: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vae.generate(tone(300), 20, sample_rate=8_000).astype(int)
    monkeypatch.setattr(generate, "IMAGES", 8)
    parts = vae.generate(tone(300), 20, sample_rate=8_000)
    assert np.abs(whole - parts).max() <= 1


def test_a_long_list_is_held_and_drawn_a_block_at_a_time(
    vae: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory grows by the images alone, however many clips there are."""
    heard, drawn = [], []
    spectrogram, sample = vae.spectrogram, vae.generator.sample

    def listen(waveforms):  # type: ignore[no-untyped-def]
        heard.append(len(waveforms))
        return spectrogram(waveforms)

    def draw(audio, noise, diversity):  # type: ignore[no-untyped-def]
        drawn.append(noise.shape[0] * noise.shape[1])
        return sample(audio, noise, diversity)

    monkeypatch.setattr(vae, "spectrogram", listen)
    monkeypatch.setattr(vae.generator, "sample", draw)
    vae.generate([tone(300)] * 200, n=3, sample_rate=8_000)
    assert sum(heard) == 200
    assert max(heard) <= generate.CLIPS
    assert sum(drawn) == 600
    assert max(drawn) <= generate.IMAGES


def test_an_empty_list_gives_no_images_and_no_vectors(vae: Model) -> None:
    assert vae.generate([], n=3).shape == (0, 3, 28, 28)
    assert vae.embed([]).shape == (0, 64)


def test_threads_may_share_a_model(vae: Model) -> None:
    def draw(seed: int):  # type: ignore[no-untyped-def]
        clips = [tone(200 + 50 * seed), tone(3000 - 50 * seed)]
        return vae.generate(clips, n=3, sample_rate=8_000, seed=seed)

    serial = [draw(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for alone, shared in zip(serial, pool.map(draw, range(24)), strict=True):
            np.testing.assert_array_equal(alone, shared)


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
    drawing = untrained(name)
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
    colour = untrained("archetype", image=(3, 32, 48))
    assert colour.generate(tone(300), 2, sample_rate=8_000).shape == (2, 32, 48, 3)


def test_bad_input_is_a_typed_error(vae: Model, sounds: Path) -> None:
    for source in (sounds / "bad.wav", sounds / "missing.wav", b"", np.zeros(8_000)):
        with pytest.raises(AudioError):
            vae.generate(source, sample_rate=8_000)
    with pytest.raises(UserError, match="n is 0"):
        vae.generate(tone(300), 0, sample_rate=8_000)
