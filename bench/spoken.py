"""From the end of speech to the first drawing in a browser: `python bench/spoken.py` -> ms, a take.

The page of `synesthete app digits`, its server warm; Debian's Chromium without a screen hears the
word from a file. Timed in the page, from the click on "Stop" until a frame with the drawings.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import browser, spoken
from served import served
from synesthete.data import audio, speech

TAKES, WARM = 40, 5
SPOKEN_MS = 1_500
STOP = """() => new Promise(done => {
  const drawn = () => document.querySelector("#drawn .grid img");
  const stop = [...document.querySelectorAll("button")].find(b => b.textContent.trim() === "Stop");
  const began = performance.now();
  new MutationObserver((_, observer) => {
    if (!drawn()) return;
    observer.disconnect();
    drawn().decode().then(() => requestAnimationFrame(() => done(performance.now() - began)));
  }).observe(document.body, { childList: true, subtree: true });
  stop.click();
})"""


def main() -> None:
    """Speak into new pages; print the milliseconds of each take as JSON."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        word = audio.load(speech.examples()["seven"])
        taken: list[float] = []
        with (
            served(folder, "digits") as app,
            browser(spoken(word, audio.RATE, folder / "microphone.wav")) as page,
        ):
            for _ in range(WARM + TAKES):
                page.goto(app.url)
                page.get_by_role("button", name="Record", exact=True).first.click()
                page.wait_for_timeout(SPOKEN_MS)
                taken.append(page.evaluate(STOP))
    print(json.dumps([round(took, 1) for took in taken[WARM:]]))


if __name__ == "__main__":
    main()
