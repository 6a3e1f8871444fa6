"""Re-recordings: each lever does what it says, alone, and draws from its generator only."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synesthete.data.audio import RATE, Wave, trim_silence
from synesthete.data.scenes import HIGHEST_SNR, PADDING, SceneConfig, _trimmed, again

EVERYTHING = SceneConfig(
    copies=2, speed=0.2, tilt=6, room=0.6, snr=10, trim=15, overdrive=20, clicks=3
)


def tone(hertz: float, seconds: float = 0.5) -> Wave:
    time = np.arange(int(seconds * RATE)) / RATE
    return np.asarray(0.5 * np.sin(2 * np.pi * hertz * time), np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def loudest(wave: Wave) -> float:
    """The frequency, Hz, with most power."""
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
    return float(spectrum.argmax() * RATE / (8 * len(wave)))


def test_without_levers_a_clip_is_itself_trimmed() -> None:
    padded = np.pad(tone(440), RATE)
    np.testing.assert_array_equal(again(padded, SceneConfig(copies=1), rng()), trim_silence(padded))


def test_speed_moves_pitch_and_length_together_within_its_bounds() -> None:
    pitches = []
    for seed in range(20):
        heard = again(tone(440), SceneConfig(speed=0.25), rng(seed))
        pitch = loudest(heard)
        pitches.append(pitch)
        assert len(heard) / len(tone(440)) == pytest.approx(440 / pitch, rel=0.05)
    assert 440 / 1.26 < min(pitches) < 400 < 480 < max(pitches) < 440 * 1.26


def test_tilt_turns_the_spectrum_around_1_khz() -> None:
    chord = tone(250) + tone(1_000) + tone(2_000)
    levels = []
    for seed in range(20):
        heard = again(chord, SceneConfig(tilt=6), rng(seed))
        power = np.abs(np.fft.rfft(heard)) / len(heard) * 4
        bins = (np.array([250, 1_000, 2_000]) * len(heard) / RATE).astype(int)
        levels.append(20 * np.log10(power[bins]))
    low, middle, high = np.transpose(levels)
    np.testing.assert_allclose(middle, 0, atol=0.1)
    np.testing.assert_allclose(low, -2 * high, atol=0.3)
    assert -6.1 < high.min() < -3 < 3 < high.max() < 6.1


def test_noise_lies_between_its_bounds_below_the_clip() -> None:
    found = []
    for seed in range(20):
        heard = again(tone(440, 2.0), SceneConfig(snr=12), rng(seed))
        spectrum = np.square(np.abs(np.fft.rfft(heard * np.hanning(len(heard)))))
        hertz = np.fft.rfftfreq(len(heard), 1 / RATE)
        voice = abs(hertz - 440) < 10
        found.append(10 * np.log10(spectrum[voice].sum() / spectrum[~voice].sum()))
        assert len(heard) <= (2.0 + 2 * PADDING) * RATE
    assert 9 < min(found) < 20
    assert 35 < max(found) < HIGHEST_SNR + 5


def test_a_room_answers_after_the_sound_has_ended() -> None:
    click = np.zeros(RATE, np.float32)
    click[:80] = tone(1_000, 0.01)
    longest = max(len(again(click, SceneConfig(room=0.6), rng(seed))) for seed in range(20))
    assert len(again(click, SceneConfig(), rng())) <= 6 * 80
    assert 0.15 * RATE < longest < 0.7 * RATE


def test_an_overdriven_clip_keeps_its_shape_but_for_the_tops_that_are_cut_off() -> None:
    word, cut = tone(440, 1.0), []
    for seed in range(40):
        heard = again(word, SceneConfig(overdrive=20), rng(seed))
        full_scale = np.abs(heard).max()
        np.testing.assert_array_equal(heard, np.clip(word, -full_scale, full_scale))
        cut.append(20 * np.log10(np.abs(word).max() / full_scale))
    assert 0.3 < np.mean(np.array(cut) == 0) < 0.7
    assert 15 < max(cut) <= 20


def test_clicks_strike_few_samples_to_the_peak_and_no_others() -> None:
    word, counts = tone(440), set()
    for seed in range(40):
        heard = again(word, SceneConfig(clicks=3), rng(seed))
        changed = np.flatnonzero(heard != word)
        np.testing.assert_array_equal(np.abs(heard[changed]), np.abs(word).max())
        counts.add(len(changed))
    assert counts == {0, 1, 2, 3}


@settings(max_examples=30)
@given(
    st.integers(200, 9_000),
    st.integers(0, 10_000),
    st.sampled_from([f.name for f in dataclasses.fields(SceneConfig)][1:]),
)
def test_any_clip_gives_finite_sound_that_its_generator_alone_decides(
    length: int, seed: int, without: str
) -> None:
    config = SceneConfig(**{k: v for k, v in vars(EVERYTHING).items() if k != without})
    wave = np.asarray(rng(seed).normal(0, 0.1, length), np.float32)
    before = wave.copy()
    heard = again(wave, config, rng(seed))
    assert heard.dtype == np.float32
    assert len(heard) > 0
    assert np.isfinite(heard).all()
    np.testing.assert_array_equal(heard, again(wave, config, rng(seed)))
    np.testing.assert_array_equal(wave, before)
    assert not np.array_equal(heard, again(wave, config, rng(seed + 1)))


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [(30, 30, (1, 4)), (50, 30, (0, 4)), (30, 50, (1, 5)), (50, 50, (0, 5))],
)
def test_trimming_by_level_cuts_off_what_is_weak_at_the_ends_alone(
    start: float, end: float, kept: tuple[int, int]
) -> None:
    """A loud word with a soft start, a soft middle and a soft end: each 100 ms, 40 dB down."""
    part, rng = RATE // 10, np.random.default_rng(0)
    levels = np.repeat([0.01, 1, 0.01, 1, 0.01], part)
    word = (levels * rng.uniform(-1, 1, len(levels))).astype(np.float32)
    first, last = kept
    np.testing.assert_array_equal(_trimmed(word, start, end), word[first * part : last * part])


def test_a_share_of_the_clips_is_left_without_a_room_and_noise() -> None:
    config = SceneConfig(room=0.4, snr=12, clean=0.7)
    word = tone(440)
    kept = [
        np.array_equal(again(word, config, rng(seed)), trim_silence(word)) for seed in range(200)
    ]
    assert 0.6 < np.mean(kept) < 0.8
