"""What browsers and telephones record: decoded as other files are, within the same limits."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorded import KINDS, recorded
from synesthete.data import audio


def pitch(wave: npt.NDArray[np.float32]) -> float:
    """Frequency of the strongest partial, Hz."""
    strength = np.abs(np.fft.rfft(wave))
    return float(np.fft.rfftfreq(len(wave), 1 / audio.RATE)[strength.argmax()])


@pytest.mark.parametrize(("container", "codec"), KINDS)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_the_sound_is_the_one_that_was_recorded(container: str, codec: str, layout: str) -> None:
    wave = audio.load(recorded(container, codec, layout=layout))
    assert len(wave) / audio.RATE == pytest.approx(0.5, abs=0.06)  # coders pad to whole packets
    assert pitch(wave) == pytest.approx(440, abs=3)
    assert wave.std() == pytest.approx(0.5 / np.sqrt(2), abs=0.05)


def test_limits_hold_before_all_is_decoded() -> None:
    long = recorded("webm", "libopus", seconds=3.0)
    with pytest.raises(audio.TooLong, match=r"1\.0.* s; wanted at most 1 s") as caught:
        audio.load(long, limits=replace(audio.LIMITS, max_seconds=1.0))
    assert "3 s" not in str(caught.value)
    with pytest.raises(audio.TooManyChannels):
        audio.load(
            recorded("mp4", "aac", layout="stereo"), limits=replace(audio.LIMITS, max_channels=1)
        )
    with pytest.raises(audio.UnsupportedSampleRate):
        audio.load(long, limits=replace(audio.LIMITS, max_rate=44_100))
    with pytest.raises(audio.TooShort):
        audio.load(recorded("webm", "libopus", seconds=0.03))
    with pytest.raises(audio.Silent):
        audio.load(recorded("webm", "libopus", peak=0.0))


def test_other_sounds_in_a_container_are_refused() -> None:
    """Plain samples in one packet could be of any size."""
    with pytest.raises(audio.NotAudio, match="coded as pcm_s16le"):
        audio.load(recorded("matroska", "pcm_s16le"))


def test_no_address_in_a_file_is_followed(tmp_path: Path) -> None:
    """A playlist that names a sound is no sound."""
    (tmp_path / "tone.m4a").write_bytes(recorded("mp4", "aac"))
    list_of_one = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/tone.m4a\n"
    concatenation = f"ffconcat version 1.0\nfile '{tmp_path}/tone.m4a'\n"
    for text in (list_of_one, concatenation):
        with pytest.raises(audio.NotAudio, match="nor is it webm or m4a"):
            audio.load(text.encode())


def test_of_a_file_cut_short_what_is_there_counts() -> None:
    whole = recorded("webm", "libopus", seconds=2.0)
    wave = audio.load(whole[: len(whole) // 2])
    assert 0.5 < len(wave) / audio.RATE < 1.5
    assert pitch(wave) == pytest.approx(440, abs=3)


@settings(max_examples=100)
@given(st.sampled_from(KINDS), st.data())
def test_damage_gives_a_sound_or_one_clear_error(
    kind: tuple[str, str], data: st.DataObject
) -> None:
    damaged = bytearray(recorded(*kind, seconds=0.3))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(audio.AudioError):
        assert np.isfinite(audio.load(bytes(damaged))).all()


def test_without_the_decoder_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = recorded("webm", "libopus")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(audio.NotAudio, match=r"need PyAV: pip install 'synesthete\[video\]'"):
        audio.load(data)
