"""The log-mel picture: against librosa, against closed forms, and what must not change it."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synesthete.data import audio
from synesthete.data.spectrogram import (
    LogMel,
    SpectrogramConfig,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
    pad,
)
from synesthete.errors import UserError

CONFIG = SpectrogramConfig()
MEL: dict[str, Any] = {
    "sr": CONFIG.rate,
    "n_fft": CONFIG.dft,
    "n_mels": CONFIG.bands,
    "fmin": CONFIG.low_hz,
    "fmax": CONFIG.high_hz,
}
Wave = npt.NDArray[np.float32]


def noise(samples: int, seed: int = 0) -> Wave:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def tone(hz: float, samples: int) -> Wave:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(samples) / audio.RATE)).astype(np.float32)


def picture(*waveforms: Wave) -> torch.Tensor:
    pictures: torch.Tensor = LogMel()(*pad(waveforms))
    return pictures


def librosa_picture(wave: Wave) -> npt.NDArray[np.float64]:
    """Librosa on each window by itself, cut around the same centres."""
    centres = [(2 * k + 1) * len(wave) // (2 * CONFIG.windows) for k in range(CONFIG.windows)]
    padded = np.pad(wave, CONFIG.dft // 2)
    frames = np.stack([padded[centre : centre + CONFIG.dft] for centre in centres])
    power = librosa.feature.melspectrogram(
        y=frames, center=False, win_length=CONFIG.window, hop_length=CONFIG.dft, **MEL
    )[:, :, 0]
    columns = power.reshape(CONFIG.columns, CONFIG.windows_per_column, -1).mean(axis=1).T
    decibels = librosa.power_to_db(columns, ref=np.max, amin=1e-20, top_db=CONFIG.dynamic_range_db)
    return np.asarray(1 + decibels / CONFIG.dynamic_range_db)


def recordings(every: int) -> list[Wave]:
    root = os.environ.get("SYNESTHETE_DATA")
    if not root:
        pytest.skip("SYNESTHETE_DATA is not set: no real recordings")
    files = sorted((Path(root) / "fsdd" / "recordings").glob("*.wav"))
    return [audio.load(file) for file in files[::every]]


def test_filters_are_librosas() -> None:
    expected = librosa.filters.mel(**MEL, dtype=np.float64)
    np.testing.assert_allclose(mel_filters(CONFIG), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [800, 1148, 3600, 8_001, 40_000])
def test_picture_of_synthetic_sound_is_librosas(samples: int) -> None:
    wave = noise(samples) * np.linspace(0, 1, samples, dtype=np.float32) + tone(440, samples)
    np.testing.assert_allclose(picture(wave)[0], librosa_picture(wave), atol=1e-4)


def test_pictures_of_real_recordings_are_librosas() -> None:
    waves = recordings(every=50)
    for ours, wave in zip(picture(*waves), waves, strict=True):
        np.testing.assert_allclose(ours, librosa_picture(wave), atol=1e-4)


def test_windows_are_a_plain_stft_where_the_hop_is_a_whole_number() -> None:
    hop, wave = 40, noise(40 * CONFIG.windows)
    padded = np.pad(wave, (CONFIG.dft // 2 - hop // 2, CONFIG.dft // 2))
    power = librosa.feature.melspectrogram(
        y=padded, center=False, win_length=CONFIG.window, hop_length=hop, **MEL
    )
    assert power.shape[1] >= CONFIG.windows
    columns = power[:, 0 : CONFIG.windows : 2] + power[:, 1 : CONFIG.windows : 2]
    expected = 1 + librosa.power_to_db(columns, ref=np.max) / CONFIG.dynamic_range_db
    np.testing.assert_allclose(picture(wave)[0], expected, atol=1e-4)


def test_what_lies_beyond_a_clips_length_plays_no_part() -> None:
    waveforms, lengths = pad([noise(900), noise(5_000)])
    expected = LogMel()(waveforms, lengths)
    waveforms[0, 900:] = torch.nan
    wider = torch.nn.functional.pad(waveforms, (0, 3_000), value=1e9)
    torch.testing.assert_close(LogMel()(wider, lengths), expected, rtol=0, atol=1e-6)


def test_a_batch_is_its_clips_one_by_one() -> None:
    waves = [noise(samples, seed=samples) for samples in (800, 1_148, 4_000, 18_262)]
    alone = torch.cat([picture(wave) for wave in waves])
    torch.testing.assert_close(picture(*waves), alone, rtol=0, atol=1e-5)


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=3), st.floats(1e-3, 1e4))
@settings(max_examples=10)
def test_pictures_are_48_by_48_in_0_to_1_and_blind_to_gain(lengths: list[int], gain: float) -> None:
    waves = [noise(samples) for samples in lengths]
    pictures = picture(*waves)
    assert pictures.shape == (len(lengths), 48, 48)
    assert pictures.dtype == torch.float32
    torch.testing.assert_close(pictures.amax((1, 2)), torch.ones(len(lengths)))
    assert pictures.min() >= 0
    louder = picture(*(wave * np.float32(gain) for wave in waves))
    torch.testing.assert_close(louder, pictures, rtol=0, atol=1e-4)


def test_silence_is_black_and_harms_neither_neighbours_nor_gradients() -> None:
    waveforms, lengths = pad([np.zeros(3_000, np.float32), noise(3_000)])
    waveforms.requires_grad_()
    pictures = LogMel()(waveforms, lengths)
    assert torch.equal(pictures[0], torch.zeros(48, 48))
    torch.testing.assert_close(pictures[1:], picture(noise(3_000)))
    pictures.sum().backward()
    assert waveforms.grad is not None
    assert waveforms.grad.isfinite().all()
    assert waveforms.grad[1].abs().sum() > 0


def test_gradients_are_those_of_finite_differences() -> None:
    waveforms, lengths = pad([noise(850), noise(800)])
    model = LogMel().double()
    assert torch.autograd.gradcheck(
        lambda waves: model(waves, lengths), waveforms.double().requires_grad_(), fast_mode=True
    )


def test_rows_rise_with_pitch_and_columns_run_with_time() -> None:
    pitches = [200.0, 400.0, 800.0, 1_600.0, 3_200.0]
    centres = librosa.mel_frequencies(50, fmin=CONFIG.low_hz, fmax=CONFIG.high_hz)[1:-1]
    rows = picture(*(tone(hz, 4_000) for hz in pitches)).mean(2).argmax(1).tolist()
    assert rows == [int(np.abs(centres - hz).argmin()) for hz in pitches]
    first_low_then_high = picture(np.concatenate([tone(200, 2_000), tone(3_200, 2_000)]))[0]
    assert first_low_then_high[:, 3].argmax() == rows[0]
    assert first_low_then_high[:, -4].argmax() == rows[-1]


def test_a_word_said_twice_as_slowly_looks_nearly_the_same() -> None:
    def word(length: int) -> Wave:
        return np.concatenate([tone(hz, length // 4) for hz in (300, 2_000, 600, 1_200)])

    fast, slow, reverse = picture(word(4_000), word(8_000), word(4_000)[::-1])
    assert (fast - slow).abs().mean() < 0.25 * (fast - reverse).abs().mean()


def test_neighbouring_windows_leave_no_gap_up_to_the_covered_length() -> None:
    samples = int(CONFIG.covered_seconds * CONFIG.rate)
    waveforms = torch.from_numpy(noise(samples))[None].requires_grad_()
    LogMel()(waveforms, torch.tensor([samples])).sum().backward()
    assert waveforms.grad is not None
    blind = (waveforms.grad[0] == 0).nonzero().flatten()
    assert (blind.diff() > 1).all(), "two samples in a row are seen by no window"


def test_half_precision_training_leaves_the_picture_alone() -> None:
    expected = picture(noise(4_000))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(picture(noise(4_000)), expected, rtol=0, atol=0)


def test_nothing_is_stored_with_a_model() -> None:
    assert not LogMel().state_dict()
    assert not list(LogMel().parameters())


def test_another_configuration_gives_another_size() -> None:
    model = LogMel(SpectrogramConfig(bands=32, columns=20, windows_per_column=3, window=200))
    assert model(*pad([noise(2_000)])).shape == (1, 32, 20)


@pytest.mark.parametrize(
    "change",
    [
        {"window": 1_024},
        {"window": 255},
        {"high_hz": 4_001.0},
        {"low_hz": 3_900.0},
        {"columns": 0},
        {"dynamic_range_db": 0.0},
    ],
)
def test_an_impossible_configuration_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]


def test_more_bands_than_the_transform_can_tell_apart_are_refused() -> None:
    with pytest.raises(UserError, match="wanted fewer bands or a longer dft"):
        LogMel(SpectrogramConfig(bands=400))


def test_pad_keeps_every_waveform_whole_and_zeroes_the_rest() -> None:
    waves = [noise(5), noise(9), noise(7)]
    waves[1].setflags(write=False)
    padded, lengths = pad(waves)
    assert lengths.tolist() == [5, 9, 7]
    for row, wave in zip(padded.numpy(), waves, strict=True):
        np.testing.assert_array_equal(row[: len(wave)], wave)
        assert not row[len(wave) :].any()


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.2, 3.0, 10.0])
def test_a_front_end_fits_its_recordings_and_leaves_no_gap(rate: int, seconds: float) -> None:
    config = SpectrogramConfig().fitted(rate, seconds)
    assert config.rate == rate
    assert config.covered_seconds >= seconds
    assert config.window / rate == pytest.approx(0.032, rel=0.01)
    assert config.high_hz == pytest.approx(0.475 * rate)
    time = np.arange(int(rate * seconds)) / rate
    clip = np.sin(2 * np.pi * 1_000 * time).astype(np.float32)
    picture = LogMel(config)(*pad([clip]))[0]
    assert picture.shape == (48, 48)
    low, high = hz_to_mel([config.low_hz, config.high_hz])
    edges = mel_to_hz(np.linspace(low, high, 50))
    band = int(picture.mean(1).argmax())
    assert edges[band] <= 1_000 <= edges[band + 2]


def test_what_a_recipe_chose_stays_and_the_usual_front_end_is_as_it_was() -> None:
    usual = SpectrogramConfig()
    assert usual.fitted(8_000, 3.0) == usual
    chosen = SpectrogramConfig(window=200, high_hz=3_000, columns=60).fitted(16_000, 1.0)
    assert (chosen.window, chosen.dft, chosen.high_hz, chosen.columns) == (200, 400, 3_000, 60)
    assert SpectrogramConfig(rate=12_000).fitted(48_000, 1.0).rate == 12_000
