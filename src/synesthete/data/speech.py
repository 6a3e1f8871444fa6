"""Synthesise speakers: four that stand in for FSDD, and a crowd for training beside it."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from synesthete.data import audio, espeak, fsdd, sources
from synesthete.data.download import reason
from synesthete.errors import UserError
from synesthete.files import whole_file
from synesthete.progress import bar

RECIPE = 1
"""Raised with every change to how the speakers sound, so that no cache holds the former ones."""
TAKES = 50
"""Recordings of each digit by each speaker, as in FSDD."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROOM_SECONDS = 0.1
"""Reverberation that is heard, s."""
ROOM_DECAY = 35.0
"""Of its amplitude, 1/s: 60 dB in 0.2 s, a small furnished room."""
SHORTEST = 0.12
"""Seconds of the shortest recording; a quick "eight" is filled up with the room's silence."""
SILENCE = 0.003
"""Of the peak: -50 dB. Clean synthetic speech is far below it before and after a word."""


@dataclass(frozen=True)
class Speaker:
    """A synthetic person: a voice, its habits and the room and microphone it is heard through."""

    name: str
    voice: str
    rate: float  # words a minute
    pitch: float  # 0 to 100
    peak: float  # of the recording, 0 to 1
    tilt: float  # of the spectrum: above 0 brighter, below 0 duller, within -1 to 1
    echo: float  # energy of the room's reverberation beside the voice's own
    noise: float  # dB below the voice


SPEAKERS = (
    Speaker("synth-anna", "en-us+f2", 165, 45, peak=0.45, tilt=0.1, echo=0.02, noise=35),
    Speaker("synth-beth", "en-gb-x-rp+f5", 185, 55, peak=0.1, tilt=-0.1, echo=0.15, noise=30),
    Speaker("synth-carl", "en-us+adam", 175, 50, peak=0.25, tilt=0.0, echo=0.05, noise=40),
    Speaker("synth-dave", "en-gb-scotland+m5", 160, 40, peak=0.05, tilt=0.2, echo=0.1, noise=25),
)


LARGEST_CROWD = 10_000
CROWD_TAKES = 1
"""Recordings of each digit by each speaker of a crowd: many voices teach more than many takes."""


FOREIGN = 0.35
"""Share of a crowd that speaks English with the sounds of another language."""
SPELLINGS = {
    "de": "sirro wonn tuh srih fohr faif siks sewwen eht nein",
    "es": "siro uan tu zri for faif siks seven eit nain",
    "fr-fr": "zirro ouanne tou sri fore faïve sixe sévène éite naïne",
    "hi": "ज़ीरो वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन",
    "id": "ziro wan tu tri for faiv siks seven eit nain",
    "it": "siro uan tu tri for faiv sics seven eit nain",
    "nl": "ziero wan toe srie foor faaiv siks zeven eet naain",
    "pl": "ziro łan tu sri for fajw syks sewen ejt najn",
    "pt-br": "zirou uan tu tri for faive sics seven eite naine",
    "ru": "зиро уан ту сри фор файв сикс сэвэн эйт найн",
    "sv": "siro wan tu tri får fajv siks seven ejt najn",
    "tr": "ziro van tu tri for fayv siks sevın eyt nayn",
}
"""The English digits as other languages would spell what they hear, in the order of `WORDS`."""


def crowd(count: int, cache: Path | None = None, *, seed: int = 0) -> fsdd.Recordings:
    """Return `count` synthetic speakers, each another voice in another room, as a training aid.

    Voices are drawn from all English accents and voice variants of espeak-ng, and a share of
    `FOREIGN` from other languages' (`SPELLINGS`); the first speakers do not change when more are
    asked for. Otherwise as `synthesise`.

    Raises:
        UserError: as `synthesise`, or `count` is not 1 to `LARGEST_CROWD`.
    """
    if not 1 <= count <= LARGEST_CROWD:
        raise UserError(f"a crowd of {count} speakers: wanted 1 to {LARGEST_CROWD:,}")
    known = espeak.voices()
    people = tuple(_stranger(number, known, seed) for number in range(count))
    return _recordings(
        f"crowd{count}x{CROWD_TAKES}f{FOREIGN:g}",
        people,
        CROWD_TAKES,
        cache,
        seed,
        f"{count} voices",
    )


def _stranger(number: int, known: espeak.Voices, seed: int) -> Speaker:
    """Speaker `number` of the crowd that `seed` draws."""
    rng = np.random.default_rng((seed, 4, number))
    voice = f"{rng.choice(known.accents)}+{rng.choice(known.variants)}"
    if rng.random() < FOREIGN:
        voice = f"{rng.choice([*SPELLINGS])}+{rng.choice(known.variants)}"
    return Speaker(
        f"crowd-{number:04}",
        voice,
        rate=float(rng.uniform(120, 230)),
        pitch=float(rng.uniform(15, 85)),
        peak=float(np.exp(rng.uniform(np.log(0.03), np.log(0.9)))),
        tilt=float(rng.uniform(-0.5, 0.5)),
        echo=float(rng.uniform(0, 0.5) ** 2),
        noise=float(rng.uniform(15, 45)),
    )


def synthesise(cache: Path | None = None, *, seed: int = 0) -> fsdd.Recordings:
    """Return a stand-in for FSDD: 4 synthetic speakers, 10 digits, 50 takes, 8 kHz 16-bit wav.

    Takes of a speaker differ in pitch, rate, intonation, loudness, spectral tilt, room and noise.
    They are a pure function of the seed and the library's version, and are kept in `cache`
    (`sources.cache_directory` otherwise). Raises `UserError` as `espeak.speak` does, and where the
    cache cannot be written.
    """
    people = ", ".join(f"{who.name} ({who.voice})" for who in SPEAKERS)
    return _recordings("", SPEAKERS, TAKES, cache, seed, people)


def examples() -> dict[str, bytes]:
    """A wav file of each of `WORDS`, said by the four speakers in turn; nothing is kept.

    Raises:
        UserError: as `espeak.speak`.
    """
    people = [SPEAKERS[digit % len(SPEAKERS)] for digit in range(len(WORDS))]
    rngs = [np.random.default_rng((5, digit)) for digit in range(len(WORDS))]
    said = [_take(*take) for take in zip(people, WORDS, rngs, strict=True)]
    spoken, rate = espeak.speak(said)
    waves = (audio.load(clean, rate, trim=False) for clean in spoken)
    recorded = [_record(*take) for take in zip(people, waves, rngs, strict=True)]
    return {word: _wav(wave) for word, wave in zip(WORDS, recorded, strict=True)}


def _recordings(
    name: str,
    speakers: Sequence[Speaker],
    takes: int,
    cache: Path | None,
    seed: int,
    people: str,
) -> fsdd.Recordings:
    """What `speakers` say, from the cache or made for it; `people` tells who they are."""
    often = "once" if takes == 1 else f"{takes} times"
    parts = (f"recipe{RECIPE}", f"espeakng{espeak.package_version()}", name, f"seed{seed}")
    archive = "-".join(part for part in parts if part) + ".zip"
    kept = sources.cache_directory(cache) / "speech" / archive
    version, files = _read(kept) or _make(kept, speakers, takes, seed)
    origin = sources.Origin(
        name=f"synthetic speakers (espeak-ng {version})",
        place="synthesised",
        detail=f"recipe {RECIPE}, seed {seed}, each digit {often} by {people}",
        sha256=sources.digest(files),
        verified=False,
    )
    items = tuple(_recording(name, files[name]) for name in sorted(files))
    return fsdd.Recordings(items, origin, synthetic=True)


def _read(kept: Path) -> tuple[str, sources.Files] | None:
    """Return the espeak-ng version and the files kept, or None where they are not whole."""
    try:
        with zipfile.ZipFile(kept) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
            version, sha256 = archive.comment.decode().split()
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return (version, files) if sources.digest(files) == sha256 else None


def _make(
    kept: Path, speakers: Sequence[Speaker], takes: int, seed: int
) -> tuple[str, sources.Files]:
    """Synthesise every recording and keep all of them in one zip archive."""
    version = espeak.voices().version
    files = {}
    with bar("synthesising speakers", len(speakers) * len(WORDS) * takes) as progress:
        for number, who in enumerate(speakers):
            for name, data in _takes(who, number, takes, seed):
                files[name] = data
                progress.advance()
    try:
        with whole_file(kept) as draft, zipfile.ZipFile(draft, "w") as archive:
            archive.comment = f"{version} {sources.digest(files)}".encode()
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)
    except OSError as error:
        advice = "free space there or set SYNESTHETE_CACHE to another directory"
        raise UserError(f"cannot write {kept} ({reason(error)}): {advice}") from error
    return version, files


def _takes(who: Speaker, number: int, takes: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """File name and wav of each recording by one speaker, the `number`th."""
    keys = [(digit, index) for digit in range(len(WORDS)) for index in range(takes)]
    rngs = [np.random.default_rng((seed, number, *key)) for key in keys]
    words = SPELLINGS.get(who.voice.partition("+")[0], " ".join(WORDS)).split()
    said = [_take(who, words[digit], rng) for (digit, _), rng in zip(keys, rngs, strict=True)]
    spoken, rate = espeak.speak(said)
    for (digit, index), rng, clean in zip(keys, rngs, spoken, strict=True):
        wave = _record(who, audio.load(clean, rate, trim=False), rng)
        yield f"{digit}_{who.name}_{index}.wav", _wav(wave)


def _take(who: Speaker, text: str, rng: np.random.Generator) -> espeak.Utterance:
    """One way of many in which a speaker says a word."""
    rate, pitch = who.rate * rng.lognormal(0, 0.12), rng.normal(who.pitch, 8)
    return espeak.Utterance(
        text,
        who.voice,
        rate=int(np.clip(rate, 100, 300)),
        pitch=int(np.clip(pitch, 0, 100)),
        range=int(rng.integers(20, 80)),
    )


def _record(who: Speaker, clean: audio.Wave, rng: np.random.Generator) -> audio.Wave:
    """Return what a microphone makes of a clean word: float32[T] at 8 kHz, tightly trimmed."""
    loud = np.flatnonzero(np.abs(clean) > SILENCE * np.abs(clean).max())
    margins = rng.integers(40, 240, size=2)  # samples: 5 to 30 ms
    margins[1] += max(0, int(SHORTEST * audio.RATE) - (loud[-1] + 1 - loud[0] + margins.sum()))
    word = np.pad(clean[loud[0] : loud[-1] + 1], margins)
    wave = np.convolve(word, _response(who, rng))[: len(word)]
    level = np.sqrt(np.mean(wave**2)) * 10 ** (-rng.normal(who.noise, 3) / 20)
    wave += rng.normal(0, level, len(wave))
    peak = min(0.95, who.peak * rng.lognormal(0, 0.25))
    return np.asarray(wave * (peak / np.abs(wave).max()), np.float32)


def _response(who: Speaker, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Impulse response of the room and the microphone: an echo of decaying noise, and a tilt."""
    time = np.arange(1, int(ROOM_SECONDS * audio.RATE)) / audio.RATE
    echo = rng.normal(size=len(time)) * np.exp(-ROOM_DECAY * time)
    echo *= np.sqrt(who.echo * rng.lognormal(0, 0.3) / np.sum(echo**2))
    return np.convolve([1.0, *echo], [1.0, -rng.normal(who.tilt, 0.15)])


def _wav(wave: audio.Wave) -> bytes:
    """Write float32[T] at 8 kHz as a 16-bit wav file."""
    file = io.BytesIO()
    soundfile.write(file, wave, audio.RATE, subtype="PCM_16", format="WAV")
    return file.getvalue()


def _recording(name: str, data: bytes) -> fsdd.Recording:
    stem = name.removesuffix(".wav")
    digit, speaker, index = stem.split("_")
    return fsdd.Recording(stem, int(digit), speaker, int(index), data, verified=False)
