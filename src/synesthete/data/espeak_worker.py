"""Speak through espeak-ng in a process of its own: a JSON request on stdin, JSON and samples out.

Run as a script by `espeak.py` and never imported: the library is GPL, not thread-safe and free to
crash. It answers with one line of JSON and the int16 samples of the utterances behind it, or with
a reason on stderr and exit status 1.

The C interface is espeak-ng's `speak_lib.h` (API revision 12), the seed `espeak_ng.h`'s.
"""

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

AUDIO_OUTPUT_SYNCHRONOUS = 2
CHARS_UTF8 = 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
SEED = 0  # of the breath noise; the library would seed it with the time


class Voice(ctypes.Structure):
    """`espeak_VOICE`: a voice found, or the language of the voices looked for."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),  # of a voice found: a priority byte, then its first code
        ("identifier", ctypes.c_char_p),  # its file, below the folder of voices
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def load() -> tuple[ctypes.CDLL, int]:
    """Return the initialised library and its sample rate in Hz."""
    loader = importlib.import_module("espeakng_loader")  # an extra: no need of it to import this
    # The library holds the path of its data in 160 characters: it is given a relative one.
    os.chdir(Path(loader.get_data_path()).parent)
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(Voice))
    library.espeak_Synth.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint),
        *(ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
    )
    rate: int = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, b".", 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
    return library, rate


def found(library: ctypes.CDLL, language: bytes | None = None) -> Iterator[tuple[str, str]]:
    """(language code, file) of each voice that speaks `language`, or any."""
    asked = None if language is None else ctypes.byref(Voice(languages=language))
    voices = library.espeak_ListVoices(asked)
    index = 0
    while voices[index]:
        voice = voices[index].contents
        yield voice.languages[1:].decode(), voice.identifier.decode()
        index += 1


def voices(library: ctypes.CDLL) -> tuple[dict[str, str], list[str]]:
    """Return the English accents (code: file) and the variants: what names voices."""
    files = {code: file for code, file in found(library, b"en") if not file.startswith("!v/")}
    del files["en-shaw"]  # reads nothing but the Shavian alphabet
    variants = sorted(file.removeprefix("!v/") for _, file in found(library, b"variant"))
    return dict(sorted(files.items())), variants


def speak(library: ctypes.CDLL, utterances: list[list[Any]]) -> Iterator[bytes]:
    """Int16 samples of each [text, voice, rate, pitch, range]."""
    samples = bytearray()

    def keep(wave: Any, count: int, _events: Any) -> int:
        if wave:
            samples.extend(ctypes.string_at(wave, 2 * count))
        return 0

    callback = Callback(keep)  # must live as long as the library may call it
    library.espeak_SetSynthCallback(callback)
    accents, variants = voices(library)
    files = {code: file for code, file in found(library) if code != "en-shaw"} | accents
    for text, voice, *parameters in utterances:
        accent, plus, variant = voice.partition("+")
        if accent not in files or (plus and variant not in variants):
            sys.exit(f"it has no voice {voice!r}")
        # By file: it doesn't find every voice by its code, and passes over unknown variants.
        check(library.espeak_SetVoiceByName(f"{files[accent]}{plus}{variant}".encode()))
        for parameter, value in zip((RATE, PITCH, RANGE), parameters, strict=True):
            check(library.espeak_SetParameter(parameter, value, 0))
        data = text.encode()
        check(library.espeak_Synth(data, len(data) + 1, 0, 0, 0, CHARS_UTF8, None, None))
        yield bytes(samples)
        samples.clear()


def check(status: int) -> None:
    """Stop at a status other than `EE_OK`."""
    if status != 0:
        sys.exit(f"it failed with status {status}")


def answer(utterances: list[list[Any]], out: BinaryIO) -> None:
    """Write the header and the samples of every utterance."""
    library, rate = load()
    accents, variants = voices(library)
    spoken = list(speak(library, utterances))
    header = {
        "version": library.espeak_Info(None).decode().split()[0],
        "rate": rate,
        "accents": list(accents),
        "variants": variants,
        "lengths": [len(data) // 2 for data in spoken],  # samples
    }
    out.write(json.dumps(header).encode() + b"\n")
    out.writelines(spoken)


if __name__ == "__main__":
    reply = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not mix with the answer
    with reply:
        answer(json.load(sys.stdin), reply)
