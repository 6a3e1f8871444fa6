"""The page under strain: many at once, garbage, visitors who leave; and what remains of them."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import soundfile

from served import Served, served
from synesthete.viewer import LIMITS

gradio_client: Any = pytest.importorskip(
    "gradio_client", reason="needs Gradio: pip install 'synesthete[app]'"
)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

USERS = 50
EACH = 3
"""Requests of each user."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("app"), "digits") as running:
        yield running


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    time = np.arange(4_000) / 8_000
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * time), 8_000)
    return path


def ask(app: Served, tone: Path, times: int = 1) -> list[int]:
    """How many images each of a user's requests brought."""
    client = gradio_client.Client(
        app.url, verbose=False, download_files=False, httpx_kwargs={"timeout": 600}
    )
    file = gradio_client.handle_file(tone)
    return [len(client.predict(file, n=16, api_name="/generate")[0]) for _ in range(times)]


def test_fifty_users_are_all_answered_in_bounded_memory(app: Served, tone: Path) -> None:
    assert ask(app, tone) == [16]
    before = app.mebibytes()
    with ThreadPoolExecutor(USERS) as pool:
        answers = [pool.submit(ask, app, tone, EACH) for _ in range(USERS)]
        assert [answer.result() for answer in answers] == [[16] * EACH] * USERS
    assert app.mebibytes() - before < 250


def test_garbage_and_giants_are_refused_and_the_next_visitor_is_served(
    app: Served, tone: Path
) -> None:
    giant = send(app, "giant.wav", bytes(LIMITS.max_bytes + 1))
    assert giant.status_code == 413
    rng = np.random.default_rng(0)
    names = ("noise.wav", "../../outside.wav", "a" * 300 + ".webm", "letter\0.mp3")
    answers = [send(app, name, rng.bytes(5_000)) for name in names]
    places = [path for answer in answers if answer.ok for path in answer.json()]
    assert len(places) >= 2
    for place in places:
        assert Path(place).resolve().is_relative_to(app.folder.resolve())
        assert "not a sound file" in requests.get(begin(app, place), timeout=300).text
    for place in ("/etc/passwd", str(tone)):
        assert "event: error" in requests.get(begin(app, place), timeout=300).text
    assert ask(app, tone) == [16]


def test_visitors_who_leave_do_not_hold_up_those_who_stay(app: Served, tone: Path) -> None:
    """A hundred close their tabs between asking and being answered."""
    [place] = send(app, "tone.wav", tone.read_bytes()).json()
    for _ in range(100):
        requests.get(begin(app, place), stream=True, timeout=300).close()
    assert ask(app, tone) == [16]


def send(app: Served, name: str, data: bytes) -> requests.Response:
    """Upload a file as a browser does."""
    return requests.post(f"{app.url}gradio_api/upload", files={"files": (name, data)}, timeout=300)


def begin(app: Served, place: str) -> str:
    """Ask for drawings of a file on the server; where the answer is to be had."""
    file = {"path": place, "meta": {"_type": "gradio.FileData"}}
    address = f"{app.url}gradio_api/call/generate"
    asked = requests.post(address, json={"data": [file, 16, 1.0, 0, "digits"]}, timeout=300)
    return f"{address}/{asked.json()['event_id']}"


def test_recordings_and_drawings_are_forgotten_and_examples_are_not(
    tone: Path, tmp_path: Path
) -> None:
    with served(tmp_path, "digits", sweep=(2, 20)) as app:
        assert ask(app, tone) == [16]
        assert len(app.files()) > 1
        patience = time.monotonic() + 120
        while app.files() and time.monotonic() < patience:
            threading.Event().wait(0.5)
        assert app.files() == []
        examples = [path.stem for path in app.folder.glob("synesthete-app-*/*.wav")]
        assert len(examples) in (0, 10)  # none where espeak-ng is not installed
