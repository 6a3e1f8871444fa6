"""Turn waveforms into log-mel pictures: batched, differentiable, one size whatever the length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from synesthete.data.audio import RATE
from synesthete.errors import UserError

# Mel-band power below which a clip counts as silent. A full-scale sine gives about 100, the
# faintest click that `audio.load` accepts about 3e-8: nothing audible comes near.
SILENT_POWER = 1e-12

LARGEST = 4_096
"""The longest transform, samples, and the most windows of a clip: more is no picture of a word, and
the matrices grow with the square."""


@dataclass(frozen=True)
class SpectrogramConfig:
    """How a waveform becomes a picture of `bands` rows and `columns` columns.

    Time becomes columns by stretching: `columns * windows_per_column` analysis windows are
    centred at evenly spaced points of the clip, so the hop adapts to the clip. A word spoken
    slowly or quickly gives nearly the same picture and every clip costs the same; what is lost
    is duration, which says little about which word it is. Neighbouring windows touch every
    sample of clips up to `covered_seconds`; of longer ones they take evenly spaced glimpses.
    """

    rate: int = RATE
    """Samples per second of the waveforms, Hz."""
    window: int = 256
    """Length of the Hann window, samples (even). 32 ms: two periods of a low voice (65 Hz), so
    that formants and, for higher voices, harmonics show, yet shorter than most phonemes."""
    dft: int = 512
    """Length of the zero-padded transform, samples (even). Twice the window: bins 15.6 Hz apart,
    so that the narrowest mel band still has several of them."""
    bands: int = 48
    """Mel bands, the picture's rows; band 0 is the lowest."""
    columns: int = 48
    """Moments in time, the picture's columns; a syllable of 0.2 s still gets some 20."""
    windows_per_column: int = 2
    """Windows whose power is averaged within a column: steadier than one (Welch's method), and
    twice the clip length is covered without gaps."""
    low_hz: float = 50.0
    """Lower edge of the lowest band, Hz: below the lowest voice, above an offset's leakage."""
    high_hz: float = 3_800.0
    """Upper edge of the highest band, Hz. Half the rate less the resampler's roll-off, so that
    one sound recorded at 8 kHz and at 48 kHz gives one picture."""
    dynamic_range_db: float = 60.0
    """Decibels below the clip's own peak that map to 0; the peak maps to 1. Less than the usual
    80, as what lies deeper is the noise of the room, another for each speaker: a linear
    classifier names the digits of an unheard FSDD speaker right 83% of the time against 81%."""

    def __post_init__(self) -> None:
        if not (0 < self.window <= self.dft and self.window % 2 == self.dft % 2 == 0):
            raise UserError(
                f"spectrogram: window = {self.window}, dft = {self.dft}; "
                "wanted two even numbers, the window no longer than the transform"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise UserError(
                f"spectrogram: low_hz = {self.low_hz}, high_hz = {self.high_hz}; "
                f"wanted 0 <= low_hz < high_hz <= {self.rate / 2} (half the rate)"
            )
        if min(self.bands, self.columns, self.windows_per_column) < 1 or self.dynamic_range_db <= 0:
            raise UserError(
                "spectrogram: bands, columns, windows_per_column and dynamic_range_db "
                "must be greater than 0"
            )
        if max(self.dft, self.windows) > LARGEST or self.bands > LARGEST // 4:
            raise UserError(
                f"spectrogram: dft = {self.dft}, columns * windows_per_column = {self.windows}, "
                f"bands = {self.bands}; wanted at most {LARGEST}, {LARGEST} and {LARGEST // 4}"
            )

    def fitted(self, rate: int, seconds: float) -> "SpectrogramConfig":
        """The same for recordings at `rate` Hz of up to `seconds`; what a recipe chose stays.

        Windows keep their length in time and the bands their share of the spectrum; a column
        takes as many windows as leave no gap in the longest recording.
        """
        usual = SpectrogramConfig()
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen = {name: value for name, value in own.items() if value != getattr(usual, name)}
        scale = chosen.get("rate", rate) / usual.rate
        window = chosen.get("window", 2 * round(usual.window * scale / 2))
        found = {
            "rate": rate,
            "window": window,
            "dft": 2 * window,
            "high_hz": usual.high_hz * scale,
            "windows_per_column": max(
                usual.windows_per_column,
                math.ceil(seconds * usual.rate * scale / (self.columns * window)),
            ),
        }
        return replace(self, **(found | chosen))

    @property
    def windows(self) -> int:
        """Analysis windows in one clip."""
        return self.columns * self.windows_per_column

    @property
    def covered_seconds(self) -> float:
        """Longest clip whose every sample lies within a window; by default 3.07 s."""
        return self.windows * self.window / self.rate


def hz_to_mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Slaney's mel scale (Auditory Toolbox, 1998): linear below 1 kHz, logarithmic above.

    Chosen over HTK's, whose lowest bands would be 26 Hz apart, closer than a 32 ms Hann window
    resolves (47 Hz); Slaney's are 46 Hz apart.
    """
    hz = np.asarray(hz, np.float64)
    return np.where(
        hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    )


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def mel_filters(config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """Triangular filters of unit area, [bands, dft // 2 + 1], from DFT bins to mel bands.

    Unit area (Slaney's normalisation) makes white noise flat over the bands, wide or narrow.
    Raises `UserError` where a band is too narrow to hold a bin.
    """
    bins = np.arange(config.dft // 2 + 1) * config.rate / config.dft
    low, high = hz_to_mel([config.low_hz, config.high_hz])
    edges = mel_to_hz(np.linspace(low, high, config.bands + 2))
    left, centre, right = (edges[i : i + config.bands, None] for i in range(3))
    rise, fall = (bins - left) / (centre - left), (right - bins) / (right - centre)
    filters = np.maximum(0, np.minimum(rise, fall)) * 2 / (right - left)
    if not filters.any(axis=1).all():
        raise UserError(
            f"spectrogram: {config.bands} bands leave some without a frequency bin; "
            "wanted fewer bands or a longer dft"
        )
    return filters


def half_window_dft(config: SpectrogramConfig) -> tuple[Tensor, Tensor]:
    """Hann-windowed cosines and sines, [window / 2, dft / 2 + 1] each, from the centre outwards.

    The window is symmetric about its centre, so cosines need only the even part of the sound
    around it, x[m] + x[-m], and sines the odd part: half the work of a transform of the whole
    window. The centre itself is counted twice in the even part, hence the halved first row.
    """
    sample = torch.arange(config.window // 2, dtype=torch.float64)
    frequency = torch.arange(config.dft // 2 + 1, dtype=torch.float64) / config.dft
    hann = 0.5 + 0.5 * torch.cos(2 * math.pi * sample / config.window)
    angle = 2 * math.pi * torch.outer(sample, frequency)
    cosines, sines = hann[:, None] * angle.cos(), hann[:, None] * angle.sin()
    cosines[0] /= 2
    return cosines, sines


class LogMel(nn.Module):
    """Waveforms to log-mel pictures, with fixed weights and nothing to train.

    Written as gathers and real matrix products, so that it has gradients and exports to ONNX.
    """

    cosines: Tensor
    sines: Tensor
    filters: Tensor
    odds: Tensor
    offsets: Tensor

    def __init__(self, config: SpectrogramConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SpectrogramConfig()
        cosines, sines = half_window_dft(config)
        for name, matrix in (
            ("cosines", cosines),
            ("sines", sines),
            ("filters", torch.from_numpy(mel_filters(config).T.copy())),
        ):
            self.register_buffer(name, matrix.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("odds", 2 * torch.arange(config.windows) + 1, persistent=False)
        self.register_buffer("offsets", torch.arange(config.window // 2), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Float[B, T] at `rate`, int64[B] (each at most T) to float[B, bands, columns] in 0..1.

        Row 0 is the lowest band, column 0 the earliest. Samples at or beyond a clip's length have
        no influence; a silent clip gives zeros. Never computed in half precision, whose noise
        would lie only some 50 dB below the peak.
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            return self._decibels(self._mel_power(waveforms, lengths))

    def _mel_power(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Return power per column and band, [B, columns, bands]."""
        columns, windows = self.config.columns, self.config.windows_per_column
        before, after = self._around_centres(waveforms, lengths)
        real, imaginary = (after + before) @ self.cosines, (after - before) @ self.sines
        power = real.square() + imaginary.square()
        return power.view(-1, columns, windows, power.shape[-1]).mean(2).matmul(self.filters)

    def _around_centres(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return samples before and after the centres, nearest first, [B, windows, window / 2]."""
        half = self.config.window // 2
        inside = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
        padded = F.pad(torch.where(inside, waveforms, 0), (half, half))
        centres = lengths[:, None] * self.odds // (2 * self.config.windows) + half
        shape = (-1, self.config.windows, half)
        before = padded.gather(1, (centres[:, :, None] - self.offsets).flatten(1))
        after = padded.gather(1, (centres[:, :, None] + self.offsets).flatten(1))
        return before.view(shape), after.view(shape)

    def _decibels(self, power: Tensor) -> Tensor:
        """[B, columns, bands] powers to [B, bands, columns] in 0..1 below each clip's peak.

        The floor under the powers lies a whole dynamic range below the floor under the peaks:
        silence is all 0, and no gradient is ever 0 / 0.
        """
        span = self.config.dynamic_range_db
        peak = power.amax((1, 2), keepdim=True).clamp_min(SILENT_POWER)
        level = power.clamp_min(SILENT_POWER * 10 ** (-span / 10))
        decibels = 10 * (level.log10() - peak.log10())
        return (1 + decibels / span).clamp(0, 1).transpose(1, 2)


def pad(waveforms: Sequence[npt.NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Stack waveforms into float32[B, T], zeros after their ends, and their lengths int64[B]."""
    lengths = [len(waveform) for waveform in waveforms]
    padded = np.zeros((len(waveforms), max(lengths)), np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return torch.from_numpy(padded), torch.tensor(lengths)
