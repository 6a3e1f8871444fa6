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

gradio_client: Any = pytest.importorskip("gradio_client", reason="needs Gradio: make test-app")
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
    client = gradio_client.Client(app.url, verbose=False, download_files=False)
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
    upload = f"{app.url}gradio_api/upload"
    giant = requests.post(upload, files={"files": bytes(LIMITS.max_bytes + 1)}, timeout=300)
    assert giant.status_code == 413
    rng = np.random.default_rng(0)
    for name in ("noise.wav", "../../outside.wav", "a" * 300 + ".webm", "nul\0.mp3"):
        answer = requests.post(upload, files={"files": (name, rng.bytes(5_000))}, timeout=300)
        for path in answer.json() if answer.ok else ():
            assert Path(path).resolve().is_relative_to(app.folder.resolve())
            there = {"path": path, "meta": {"_type": "gradio.FileData"}}
            client = gradio_client.Client(app.url, verbose=False)
            with pytest.raises(Exception, match="not a sound file"):
                client.predict(there, api_name="/generate")
    for place in ("/etc/passwd", str(tone)):
        there = {"path": place, "meta": {"_type": "gradio.FileData"}}
        with pytest.raises(gradio_client.exceptions.AppError):
            gradio_client.Client(app.url, verbose=False).predict(there, api_name="/generate")
    assert ask(app, tone) == [16]


def test_visitors_who_leave_do_not_hold_up_those_who_stay(app: Served, tone: Path) -> None:
    """A hundred close their tabs between asking and being answered."""
    with tone.open("rb") as file:
        [path] = requests.post(
            f"{app.url}gradio_api/upload", files={"files": file}, timeout=300
        ).json()
    asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, 16, 1.0, 0, "digits"]}
    for _ in range(100):
        answer = requests.post(f"{app.url}gradio_api/call/generate", json=asked, timeout=300)
        event = answer.json()["event_id"]
        address = f"{app.url}gradio_api/call/generate/{event}"
        requests.get(address, stream=True, timeout=300).close()
    assert ask(app, tone) == [16]


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
