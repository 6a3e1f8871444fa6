"""Degradations do what their names say, by the amount that they say, and stay usable."""

import numpy as np
import pytest

from synesthete.data import audio, degrade
from synesthete.data.audio import RATE, Wave
from synesthete.data.degrade import CONDITIONS


@pytest.fixture(scope="module")
def word() -> Wave:
    """0.5 s of a voice-like buzz with a formant that moves, fading in and out, peak 0.3."""
    time = np.arange(RATE // 2) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * time)) / RATE
    wave = sum(np.sin(k * pitch) / k * np.exp(-(((k * 120 - 700 - 800 * time) / 500) ** 2))
               for k in range(1, 25))  # fmt: skip
    wave = wave * np.sin(np.pi * time / time[-1]) ** 0.5
    return np.asarray(0.3 * wave / np.abs(wave).max(), np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def samples(degraded: degrade.Degraded) -> Wave:
    assert not isinstance(degraded, bytes)
    assert degraded[1] == RATE
    return degraded[0]


def power(wave: Wave) -> float:
    return float(np.square(wave, dtype=np.float64).mean())


def likeness(a: Wave, b: Wave) -> float:
    """The largest correlation of two clips over all delays."""
    both = np.correlate(a, b, "full")
    return float(both.max() / np.sqrt(np.square(a).sum() * np.square(b).sum()))


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_leaves_a_clip_and_is_a_function_of_its_generator(
    name: str, word: Wave
) -> None:
    before = word.copy()
    once, again = (CONDITIONS[name](word, rng()) for _ in range(2))
    assert np.array_equal(word, before)
    heard, repeated = (
        audio.load(found) if isinstance(found, bytes) else audio.load(*found)
        for found in (once, again)  # the bytes of an Ogg file hold a random serial number
    )
    assert np.array_equal(heard, repeated)
    assert 0.3 < len(heard) / RATE < 2.7


@pytest.mark.parametrize("kind", [degrade.noise, degrade.pink])
@pytest.mark.parametrize("snr", [20, 0])
def test_noise_has_the_power_asked_for(kind: degrade.Degradation, snr: float, word: Wave) -> None:
    added = samples(kind(word, rng(), snr=snr)) - word  # type: ignore[call-arg]
    assert 10 * np.log10(power(word) / power(added)) == pytest.approx(snr, abs=0.01)


def test_pink_noise_falls_by_3_db_an_octave_and_white_does_not(word: Wave) -> None:
    long = np.tile(word, 20)
    for kind, fall in ((degrade.noise, 0.0), (degrade.pink, 3.0)):
        added = samples(kind(long, rng(), snr=0.0)) - long
        density = np.abs(np.fft.rfft(added)) ** 2
        low, high = (density[a : 2 * a].mean() for a in (len(density) // 16, len(density) // 4))
        assert 10 * np.log10(low / high) == pytest.approx(2 * fall, abs=0.5)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_another_rate_comes_back_as_the_same_clip(rate: int, word: Wave) -> None:
    degraded = degrade.sampled(word, rng(), rate=rate)
    assert isinstance(degraded, tuple)
    assert len(degraded[0]) == pytest.approx(len(word) * rate / RATE, abs=1)
    back = audio.load(*degraded, trim=False)
    assert likeness(back, word) > 0.999


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("mu-law", 0.995, 1.0), ("mp3, middle", 0.9, 1.0), ("mp3, smallest", 0.6, 0.9999),
     ("opus, middle", 0.8, 1.0), ("opus, smallest", 0.6, 0.9999)],
)  # fmt: skip
def test_a_codec_changes_the_clip_but_not_beyond_recognition(
    name: str, least: float, most: float, word: Wave
) -> None:
    data = CONDITIONS[name](word, rng())
    assert isinstance(data, bytes)
    assert least < likeness(audio.load(data, trim=False), word) < most


def test_the_smallest_file_is_smaller() -> None:
    word = np.asarray(np.random.default_rng(0).normal(0, 0.1, 4 * RATE), np.float32)
    for codec in ("mp3", "opus"):
        small, middle = (CONDITIONS[f"{codec}, {size}"](word, rng())
                         for size in ("smallest", "middle"))  # fmt: skip
        assert len(small) < len(middle)


def test_silence_is_quiet_and_where_it_should_be(word: Wave) -> None:
    padded = samples(degrade.silence(word, rng(), before=0.5, after=1.0))
    assert len(padded) == len(word) + 1.5 * RATE
    quiet = padded[: RATE // 2]
    assert 10 * np.log10(power(word) / power(quiet)) == pytest.approx(50, abs=0.5)
    assert likeness(padded[RATE // 2 : RATE // 2 + len(word)], word) > 0.999


def test_a_noisy_room_is_as_loud_as_asked_before_and_after(word: Wave) -> None:
    padded = samples(degrade.silence(word, rng(), before=0.5, after=0.5, snr=20))
    for room in (padded[: RATE // 2], padded[-RATE // 2 :]):
        assert 10 * np.log10(power(word) / power(room)) == pytest.approx(20, abs=0.5)


def test_a_telephone_passes_its_band_alone() -> None:
    time = np.arange(RATE) / RATE
    tones = {hertz: np.sin(2 * np.pi * hertz * time) for hertz in (200, 1_000, 3_600)}
    heard = samples(degrade.telephone(np.asarray(sum(tones.values()), np.float32), rng()))
    np.testing.assert_allclose(heard, tones[1_000], atol=1e-4)


def test_the_mains_hum_at_50_hz_and_its_harmonics(word: Wave) -> None:
    second = np.tile(word, 2)
    added = samples(degrade.hum(second, rng(), snr=15)) - second
    assert 10 * np.log10(power(second) / power(added)) == pytest.approx(15, abs=0.01)
    spectrum = np.abs(np.fft.rfft(added)) / len(added)
    assert {*np.flatnonzero(spectrum > 0.05 * spectrum.max())} == {*range(50, 501, 50)}


def test_a_word_cut_off_is_a_part_of_it(word: Wave) -> None:
    third = round(len(word) / 3)
    assert np.array_equal(samples(CONDITIONS["first third lost"](word, rng())), word[third:])
    assert np.array_equal(samples(CONDITIONS["last third lost"](word, rng())), word[:-third])


def test_gain_clips_and_rounds_to_16_bits(word: Wave) -> None:
    louder = samples(degrade.gain(word, rng(), decibels=20))
    assert (np.abs(louder) > 0.99).mean() > 0.05
    assert np.abs(louder).max() <= 1
    quieter = samples(degrade.gain(word, rng(), decibels=-20))
    np.testing.assert_allclose(quieter, word / 10, atol=2**-16)
    assert np.array_equal(quieter * 2**15, np.round(quieter * 2**15))


def test_a_room_rings_for_its_time(word: Wave) -> None:
    click = np.zeros(800, np.float32)
    click[0] = 1
    heard = samples(degrade.room(click, rng(), seconds=0.5))
    assert power(heard) * len(heard) == pytest.approx(2, rel=0.2)
    start, end = power(heard[1:400]), power(heard[3_600:4_000])
    assert 10 * np.log10(start / end) == pytest.approx(54, abs=4)  # over 0.45 of 0.5 s


def test_clicks_are_at_the_peak(word: Wave) -> None:
    struck = samples(degrade.clicks(word, rng(), count=3))
    changed = np.flatnonzero(struck != word)
    assert 1 <= len(changed) <= 3
    assert np.allclose(np.abs(struck[changed]), np.abs(word).max())
