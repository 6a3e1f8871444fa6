"""Videos: which frames, which sound, at which moment; faults that cost one video; resuming."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from synesthete import cli
from synesthete.data import joining, storage, video, videos
from synesthete.data.own import Form
from synesthete.data.video import Cut, VideoError
from synesthete.engines import Local

RATE, FPS = 16_000, 10
FORM = Form(rate=8_000, size=32)
Frames = npt.NDArray[np.uint8]


def film(
    path: Path,
    frames: Frames,
    wave: npt.NDArray[np.floating] | None,
    codecs: tuple[str, str] = ("libx264", "aac"),
) -> Path:
    """Write uint8[T, H, W, 3] at 10 frames a second with sound float[N] at 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        picture: Any = container.add_stream(codecs[0], rate=FPS)
        picture.height, picture.width = frames.shape[1:3]
        picture.pix_fmt = "yuv420p"
        sound: Any = wave is not None and container.add_stream(codecs[1], rate=RATE, layout="mono")
        for pixels in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode(None))
        if wave is not None:
            samples = (wave * 32_767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = RATE
            resampler = av.AudioResampler(format=sound.format, layout="mono", rate=RATE)
            for piece in resampler.resample(frame):
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
    return path


def brightening(seconds: float, height: int = 48, width: int = 64) -> Frames:
    """Frames whose brightness is 20 a second."""
    level = np.arange(int(seconds * FPS)) * 20 / FPS
    return np.broadcast_to(level[:, None, None, None], (len(level), height, width, 3)).astype(
        np.uint8
    )


def rising(seconds: float) -> npt.NDArray[np.float64]:
    """A tone of 300 Hz, 100 Hz higher in every second."""
    step = np.floor(np.arange(int(seconds * RATE)) / RATE)
    return 0.5 * np.sin(2 * np.pi * np.cumsum(300 + 100 * step) / RATE)


def pitch(wave: npt.NDArray[np.float32], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
    return float(spectrum.argmax() * rate / (8 * len(wave)))


@pytest.mark.parametrize(
    ("suffix", "codecs"),
    [
        ("mp4", ("libx264", "aac")),
        ("mkv", ("ffv1", "pcm_s16le")),
        ("webm", ("libvpx-vp9", "libopus")),
    ],
)
def test_a_frame_meets_the_sound_of_its_own_moment(
    tmp_path: Path, suffix: str, codecs: tuple[str, str]
) -> None:
    path = film(tmp_path / f"a.{suffix}", brightening(6), rising(6), codecs)
    clips = video.clips(path, FORM, Cut(fps=1, before=0.25, after=0.25))
    np.testing.assert_allclose(clips.seconds, np.arange(6) + 0.3, atol=0.06)
    assert clips.waves.shape == (6, 4_000)
    assert clips.pixels.shape == (6, 3, 32, 32)
    brightness = clips.pixels.mean((1, 2, 3))
    np.testing.assert_allclose(brightness, 20 * clips.seconds, atol=4)
    for second, heard in enumerate(clips.waves):
        assert pitch(heard[500:3_000], 8_000) == pytest.approx(300 + 100 * second, abs=8)


def test_a_frame_of_more_pixels_than_a_screen_has_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", brightening(3), rising(3))
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(VideoError, match="damaged"):
        video.clips(path, FORM, Cut())


def test_scenes_give_their_middles_and_peaks_what_is_loudest(tmp_path: Path) -> None:
    frames = np.zeros((60, 48, 48, 3), np.uint8)
    frames[20:30], frames[30:] = (200, 30, 30), (30, 30, 200)
    wave = 0.01 * rising(6)
    for moment in (1.5, 3.0, 3.2, 4.5):
        wave[int(moment * RATE) : int((moment + 0.1) * RATE)] *= 60
    path = film(tmp_path / "a.mp4", frames, wave)
    scenes = video.clips(path, FORM, Cut("scenes", fps=1, before=0.2, after=0.2))
    np.testing.assert_allclose(scenes.seconds, [1.0, 2.5, 4.45], atol=0.11)
    assert scenes.pixels.mean((2, 3)).argmax(1).tolist()[1:] == [0, 2]
    peaks = video.clips(path, FORM, Cut("peaks", fps=1, before=0.2, after=0.2))
    assert len(peaks.seconds) == 3
    np.testing.assert_allclose(peaks.seconds[[0, 2]], [1.55, 4.55], atol=0.16)


def truncated(path: Path) -> None:
    data = film(path, brightening(4), rising(4)).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def playlist(path: Path) -> None:
    """A film that is elsewhere."""
    film(path.with_name("named.nut"), brightening(4), rising(4))
    path.write_text("ffconcat version 1.0\nfile named.nut\n")


FAULTY: dict[str, tuple[Callable[[Path], object], str]] = {
    "none.mp4": (lambda p: film(p, brightening(3), None), "no sound"),
    "silent.mp4": (lambda p: film(p, brightening(3), np.zeros(3 * RATE)), "silent"),
    "corrupt.mp4": (lambda p: p.write_bytes(b"no video" * 500), "damaged or cut short"),
    "truncated.mp4": (truncated, "damaged or cut short"),
    "playlist.mp4": (playlist, "no video"),
    "empty.mp4": (lambda p: p.write_bytes(b""), "0 bytes"),
    "short.mp4": (lambda p: film(p, brightening(0.3), rising(0.3)), "no frame has"),
    "tiny.mp4": (lambda p: film(p, brightening(3, 8, 64), rising(3)), "frames of 64x8"),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good videos, one of them in a folder and of odd size, and one of each fault."""
    folder = tmp_path_factory.mktemp("films")
    for number in range(5):
        sound = rising(4) * (0.5 + 0.1 * number)
        film(folder / f"{number}.mp4", brightening(4) + np.uint8(7 * number), sound)
    film(
        folder / "deep" / "odd.mkv", brightening(4, 37, 51), 0.3 * rising(4), ("ffv1", "pcm_s16le")
    )
    for name, (make, _) in FAULTY.items():
        make(folder / name)
    return folder


def build(films: Path, out: Path, workers: int = 1, *options: str) -> dict[str, bytes]:
    command = ["pairs", "from-video", str(films), "--out", str(out), "--workers", str(workers)]
    assert cli.main([*command, "--size", "32", "--test", "0.3", "--fps", "2", *options]) == 0
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_faulty_videos_are_told_and_the_others_are_split_by_video(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = build(films, tmp_path / "one")
    told = capsys.readouterr().err
    rows = pq.read_table(tmp_path / "one" / joining.FILES).to_pylist()
    faults = {Path(row["file"]).name: row["fault"] for row in rows if row["fault"]}
    assert {*faults} == {*FAULTY}
    for name, (_, match) in FAULTY.items():
        assert match in faults[name], name
        assert name in told
    alignment = storage.load(tmp_path / "one")
    alignment.check_leakage()
    assert len({*alignment.audio_groups}) == 6
    homes = {*zip(alignment.audio_groups, alignment.audio_splits, strict=True)}
    assert len(homes) == 6
    assert {side for _, side in homes} == {"train", "test"}
    assert not [*tmp_path.glob(".videos-*")]
    assert build(films, tmp_path / "two", 2) == one


def test_a_killed_build_goes_on_and_comes_out_the_same(films: Path, tmp_path: Path) -> None:
    whole = build(films, tmp_path / "whole")
    out, work = tmp_path / "killed", tmp_path / ".videos-killed"
    command = [
        sys.executable,
        "-m",
        "synesthete.cli",
        "pairs",
        "from-video",
        str(films),
        "--out",
        str(out),
    ]
    options = ["--size", "32", "--test", "0.3", "--fps", "2", "--workers", "1"]
    running = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    while len([*work.glob("*.npz")]) < 3 and running.poll() is None:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert 3 <= len(kept) < 13
    assert build(films, out) == whole
    assert not work.exists()


def test_a_video_that_crashes_its_decoder_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = film(tmp_path / "in" / "good.mp4", brightening(3), rising(3))
    bad = film(tmp_path / "in" / "bad.mp4", brightening(3), rising(3))
    monkeypatch.setattr(videos, "work", crash)
    found = videos.found(tmp_path / "in", FORM, Cut(), tmp_path / "work", Local(2))
    assert found.left_out == {str(bad): videos.CRASHED}
    assert {item.file for item in found.sounds} == {str(good)}


def crash(task: videos.Task) -> None:
    """Stands in for `videos.work`: a decoder that ends its process on one video."""
    if task.path.name == "bad.mp4":
        os._exit(139)
    clips = video.clips(task.path, task.form, task.cut)
    samples = (clips.waves * 32_768).round().astype(np.int16)
    videos._keep(task, "", seconds=clips.seconds, pixels=clips.pixels, samples=samples)


@pytest.mark.parametrize(
    "options",
    [
        {"frames": "often"},
        {"fps": 0.0},
        {"before": 0.1, "after": 0.05},
        {"before": 9.0, "after": 2.0},
    ],
)
def test_cuts_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(VideoError, match="wanted"):
        Cut(**options)  # type: ignore[arg-type]


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "av", None)
    with pytest.raises(VideoError, match=r"synesthete\[video\]"):
        video.clips(tmp_path / "a.mp4", FORM, Cut())
