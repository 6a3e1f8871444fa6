"""Cut pairs out of a video: frames, and the sound around each."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from synesthete.data import audio, containers, pictures
from synesthete.data.own import Form
from synesthete.errors import UserError

try:
    import av
except ModuleNotFoundError:  # an optional extra
    av = None  # type: ignore[assignment]

SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .m2ts .mts .wmv .flv .ogv .3gp .vob".split()
)
"""What a folder is searched for."""

FORMATS = f"{containers.FORMATS},asf,avi,flv,mpeg,mpegts,ogg"
"""FFmpeg's readers that may look at a file, whatever it is called."""
MAX_PIXELS = 7_680 * 4_320
"""Of a frame, before it is decoded."""
WINDOW = (0.2, 10.0)  # s
SMALLEST = 16  # pixels a side
SCENE = 0.1  # mean change of brightness, of 0..1, from one frame to the next that is a cut
GAP = 0.05  # s without sound that are filled with silence, rather than closed
MOMENT = 0.02  # s, the grain in which loudness is looked at

SILENT = 10 ** (audio.LIMITS.silence_dbfs / 20)

Floats = npt.NDArray[np.float32]


class VideoError(UserError):
    """A video that gives no pairs; the message says why."""


@dataclass(frozen=True)
class Cut:
    """Which frames are taken, and how much sound with each."""

    frames: str = "rate"
    """`"rate"`: evenly spaced; `"scenes"`: the middle of every scene; `"peaks"`: where the sound
    is loudest."""
    fps: float = 1.0
    """Frames a second; of scenes and peaks, at most."""
    before: float = 0.5
    """Seconds of sound before a frame."""
    after: float = 0.5
    """Seconds of sound after it."""

    def __post_init__(self) -> None:
        if self.frames not in CHOICES:
            raise VideoError(f"frames by '{self.frames}'; wanted one of: {', '.join(CHOICES)}")
        if not 0 < self.fps <= 100:
            raise VideoError(f"{self.fps} frames a second; wanted above 0, at most 100")
        seconds = self.before + self.after
        if min(self.before, self.after) < 0 or not WINDOW[0] <= seconds <= WINDOW[1]:
            raise VideoError(
                f"{self.before} s before a frame and {self.after} s after it; wanted 0 or more "
                f"each, {WINDOW[0]:g} to {WINDOW[1]:g} together"
            )


@dataclass(frozen=True)
class Clips:
    """The pairs of one video."""

    seconds: npt.NDArray[np.float64]
    """float64[N], when each frame is shown."""
    pixels: pictures.Pixels
    """uint8[N, C, H, W]."""
    waves: Floats
    """float32[N, T], the sound around each frame."""


@dataclass(frozen=True)
class _Sound:
    """A sound track on the video's clock."""

    wave: Floats
    rate: int  # Hz
    start: float  # s, of the first sample

    @property
    def end(self) -> float:
        return self.start + len(self.wave) / self.rate

    def around(self, moment: float, cut: Cut) -> Floats | None:
        """The sound around a moment; None where there is less of it than asked for, or silence."""
        first = round((moment - cut.before - self.start) * self.rate)
        wave = self.wave[
            max(0, first) : max(0, first + round((cut.before + cut.after) * self.rate))
        ]
        whole = first >= 0 and len(wave) == round((cut.before + cut.after) * self.rate)
        return wave if whole and np.abs(wave).max() >= SILENT else None


def clips(path: Path, form: Form, cut: Cut) -> Clips:
    """Every chosen frame of a video that has sound around it, at the form asked for.

    Raises:
        VideoError: no video, no sound, silence throughout, frames too small to see anything on, a
            file that is damaged or cut short, or no frame with enough sound around it.
    """
    if av is None:
        raise VideoError("videos need PyAV: pip install 'synesthete[video]'")
    sound = _sound(path, form.rate)
    if np.abs(sound.wave).max(initial=0) < SILENT:
        raise VideoError("its sound track is silent")
    taken = []
    for moment, frame in _at(path, CHOICES[cut.frames](path, sound, cut)):
        if (wave := sound.around(moment, cut)) is not None:
            taken.append((moment, _pixels(frame, form), wave))
    if not taken:
        raise VideoError(
            f"no frame has {cut.before:g} s of sound before and {cut.after:g} s after it"
        )
    moments, frames, waves = zip(*taken, strict=True)
    return Clips(np.array(moments, np.float64), np.stack(frames), np.stack(waves))


@contextmanager
def _stream(path: Path, kind: Literal["audio", "video"]) -> Iterator[tuple[Any, Any]]:
    """An open container, and its best stream of a kind; faults in reading become VideoErrors."""
    if not path.stat().st_size:
        raise VideoError("empty: 0 bytes")
    try:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": ""}
        with path.open("rb") as file, av.open(file, options=options) as container:
            stream: Any = container.streams.best(kind)
            if stream is None:
                raise VideoError(f"no {'sound' if kind == 'audio' else 'picture'}")
            stream.thread_type = "NONE"  # a core a video; the same frames on every machine
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            yield container, stream
    except (av.FFmpegError, ValueError, IndexError, EOFError, OSError) as error:
        raise VideoError(f"damaged or cut short, or no video ({error})") from error


def _sound(path: Path, rate: int) -> _Sound:
    """The whole sound track, mono, at `rate`; gaps in it are silence."""
    parts: list[Floats] = []
    own, start, length = rate, 0.0, 0
    with _stream(path, "audio") as (container, stream):
        mono = av.AudioResampler(format="flt", layout="mono")
        for frame in container.decode(stream):
            if not parts:
                own, start = frame.sample_rate, frame.time or 0.0
            missing = (frame.time or 0.0) - start - length / own
            new = [np.zeros(round(missing * own), np.float32)] if missing > GAP else []
            new += [piece.to_ndarray()[0] for piece in mono.resample(frame)]
            length += sum(map(len, new))
            parts += new
        parts += [piece.to_ndarray()[0] for piece in mono.resample(None)]
    if not parts:
        raise VideoError("no sound in its sound track")
    return _Sound(audio.resample(np.concatenate(parts), own, rate), rate, start)


def _frames(path: Path) -> Iterator[tuple[float, Any]]:
    """Every frame with the moment at which it is shown."""
    with _stream(path, "video") as (container, stream):
        for frame in container.decode(stream):
            if min(frame.width, frame.height) < SMALLEST:
                raise VideoError(f"frames of {frame.width}x{frame.height} pixels")
            if frame.time is not None:
                yield frame.time, frame


def _at(path: Path, moments: list[float]) -> Iterator[tuple[float, Any]]:
    """The first frame at or after each moment, once."""
    waiting = sorted(moments, reverse=True)
    for shown, frame in _frames(path):
        if waiting and shown >= waiting[-1] - 1e-6:
            yield shown, frame
        while waiting and shown >= waiting[-1] - 1e-6:
            waiting.pop()


def _evenly(path: Path, sound: _Sound, cut: Cut) -> list[float]:
    first = max(0.0, sound.start + cut.before)
    count = math.floor((sound.end - cut.after - first) * cut.fps) + 1
    return [first + number / cut.fps for number in range(max(0, count))]


def _scenes(path: Path, sound: _Sound, cut: Cut) -> list[float]:
    """The middle of each stretch between cuts that lasts as long as a frame's share."""
    starts, shown, before = [], 0.0, None
    for shown, frame in _frames(path):
        small = frame.reformat(width=16, height=16, format="gray").to_ndarray() / 255
        if before is None or np.abs(small - before).mean() > SCENE:
            starts.append(shown)
        before = small
    stretches = zip(starts, [*starts[1:], shown], strict=True)
    return [(start + end) / 2 for start, end in stretches if end - start >= 1 / cut.fps]


def _peaks(path: Path, sound: _Sound, cut: Cut) -> list[float]:
    """The loudest moments, loudest first, each as far from those before as frames may be near."""
    size = max(1, round(MOMENT * sound.rate))
    frames = sound.wave[: len(sound.wave) // size * size].reshape(-1, size)
    power = np.convolve(np.square(frames, dtype=np.float64).mean(1), np.ones(5) / 5, "same")
    found: list[float] = []
    for row in np.argsort(-power, kind="stable"):
        moment = sound.start + (row + 0.5) * size / sound.rate
        if power[row] < power.mean():
            break
        top = power[max(0, row - 2) : row + 3].max() == power[row]
        if top and all(abs(moment - other) >= 1 / cut.fps for other in found):
            found.append(moment)
    return found


CHOICES = {"rate": _evenly, "scenes": _scenes, "peaks": _peaks}
"""How frames are chosen: path, sound and cut -> moments, s."""


def _pixels(frame: Any, form: Form) -> pictures.Pixels:
    """A frame, upright, as every image is."""
    upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return pictures.fitted(Image.fromarray(upright), form.size, form.channels)
