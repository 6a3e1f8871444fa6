"""The page: speak and see, compare models, morph between recordings; and the same for programs."""

import functools
import os
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from synesthete import answers, markup
from synesthete.answers import Answers
from synesthete.data import speech
from synesthete.errors import UserError
from synesthete.generate import MOST_DIVERSE
from synesthete.progress import console
from synesthete.viewer import LIMITS, Viewer

try:
    import gradio as gr
    from starlette.middleware import Middleware
except ModuleNotFoundError as error:
    raise UserError("the page needs Gradio: pip install 'synesthete[app]'") from error

AT_ONCE = 2
"""Requests that are answered at a time; others wait for their turn."""
WAITING = 200
"""Requests that may wait; whoever comes then is asked to come back."""
SESSIONS = 500
"""Visitors that Gradio remembers at a time."""
SWEEP, KEEP = 60, 600
"""Seconds between two looks for old recordings, and after which one is old."""
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
"""What the browser is told: nothing from, and nothing to, any other machine."""


class Private:
    """Middleware that sends the browser `POLICY` with every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, with one header more."""

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await self.app(scope, receive, sending)


def build(viewer: Viewer, examples: Mapping[str, Path]) -> Any:
    """The page, a `gr.Blocks`; `examples` are recordings by what they say."""
    answer = Answers(viewer)
    with gr.Blocks(
        title="synesthete", analytics_enabled=False, delete_cache=(SWEEP, KEEP)
    ) as blocks:
        gr.HTML(markup.header())
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                first = _recorder("Your recording", "first", examples)
                diversity = _slider("Diversity: from one image to many", MOST_DIVERSE, 1.0)
                sound = gr.HTML(elem_id="sound")
            with gr.Column(scale=3, min_width=300), gr.Tabs():
                with gr.Tab("Draw"):
                    drawn = gr.HTML(markup.notice(answers.SPEAK), elem_id="drawn")
                    beside = gr.HTML(elem_id="beside")
                with gr.Tab("Compare"):
                    compared = gr.HTML(answer.compare(None, 1.0), elem_id="compared")
                with gr.Tab("Morph"):
                    second = _recorder("A second recording", "second", examples)
                    position = _slider("From the first to the second", 1.0, 0.5)
                    morphed = gr.HTML(markup.notice(answers.MORPH), elem_id="morphed")
        drawing = _live(
            [first.change, diversity.input], _patiently(answer.see),
            [first, diversity], [sound, drawn, beside],
        )  # fmt: skip
        ends = [first, second, position, diversity]
        drawing.then(answer.compare, [first, diversity], [compared], **_quietly("compare"))
        drawing.then(answer.morph, ends, [morphed], **_quietly("meanwhile"))
        _live([second.change, position.input], answer.morph, ends, [morphed])
        _programs(answer)
    return blocks


def _recorder(label: str, name: str, examples: Mapping[str, Path]) -> Any:
    recorder = _uploads_only(gr.Audio(
        label=label, elem_id=name, sources=["microphone", "upload"], type="filepath",
        editable=False, buttons=[],
    ))  # fmt: skip
    if examples:
        gr.Examples(
            [[str(path)] for path in examples.values()], [recorder], cache_examples=False,
            example_labels=list(examples), label="Or let a synthetic voice say",
        )  # fmt: skip
    return recorder


def _uploads_only(recorder: Any) -> Any:
    """Refuse addresses, which Gradio would fetch for a visitor."""
    keep = recorder.async_move_resource_to_block_cache

    async def kept(path: Any) -> Any:
        if "://" in str(path):
            raise gr.Error("an address; wanted an uploaded file", print_exception=False)
        return await keep(path)

    recorder.async_move_resource_to_block_cache = kept
    return recorder


def _slider(label: str, most: float, value: float) -> Any:
    return gr.Slider(0, most, value, step=0.05, label=label, buttons=[])


def _live(triggers: list[Any], answer: Any, inputs: list[Any], outputs: list[Any]) -> Any:
    """Answer these triggers; of those that come while an answer is under way, the last."""
    how = _quietly(answer.__name__)
    return gr.on(triggers, answer, inputs, outputs, trigger_mode="always_last", **how)


def _quietly(name: str) -> dict[str, Any]:
    """How the page's own events are answered; no program sees them."""
    return {
        "show_progress": "hidden", "api_name": f"page_{name}", "api_visibility": "private",
        "concurrency_id": "model", "concurrency_limit": AT_ONCE,
    }  # fmt: skip


def _patiently(ask: Callable[..., Iterator[answers.Seen]]) -> Callable[..., Iterator[Any]]:
    """The same, but what is not known yet stays as it was."""

    @functools.wraps(ask)
    def asked(*values: Any) -> Iterator[Any]:
        for parts in ask(*values):
            yield tuple(gr.skip() if part is None else part for part in parts)

    return asked


def _programs(answer: Answers) -> None:
    """What programs may ask for; the page does not show it."""
    with gr.Row(visible=False):
        recording, second = (
            _uploads_only(gr.Audio(type="filepath", label=label))
            for label in ("recording", "second")
        )
        position = gr.Number(0.5, label="position, 0 to 1")
        n = gr.Number(answers.SHOWN, precision=0, label="images")
        diversity = gr.Number(1.0, label="diversity, 0 to 1.5")
        seed = gr.Number(0, precision=0, label="seed")
        model = gr.Textbox(next(iter(answer.viewer.models)), label="model")
        images, reading = gr.Gallery(format="png", label="images"), gr.JSON(label="reading")
        drawn = [n, diversity, seed, model]
        for name, ask, inputs, outputs in (
            ("generate", answer.generate, [recording, *drawn], [images, reading]),
            ("morph", answer.between, [recording, second, position, *drawn], [images, reading]),
            ("nearest", answer.nearest, [recording, n], [images]),
        ):
            gr.Button(name).click(
                _politely(ask), inputs, outputs, api_name=name, api_description=ask.__doc__,
                concurrency_id="model", concurrency_limit=AT_ONCE,
            )  # fmt: skip


def _politely(ask: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but what a user can mend reaches the program that asked."""

    @functools.wraps(ask)
    def asked(*values: Any) -> Any:
        try:
            return ask(*values)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return asked


def launch(blocks: Any, host: str, port: int | None) -> str:
    """Serve the page from a thread of its own; its address.

    Raises:
        UserError: the port is taken.
    """
    style = (resources.files("synesthete") / "templates" / "app.css").read_text(encoding="utf-8")
    blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
    try:
        _, address, _ = blocks.launch(
            server_name=host, server_port=port, prevent_thread_lock=True, quiet=True, inline=False,
            share=False, ssr_mode=False, mcp_server=False, pwa=False, run_history=False,
            enable_monitoring=False, state_session_capacity=SESSIONS, footer_links=["api"],
            max_file_size=LIMITS.max_bytes, theme=_theme(), css=style,
            app_kwargs={"middleware": [Middleware(Private)]},
        )  # fmt: skip
    except OSError as error:
        where = f"port {port}" if port else "any port from 7860 on"
        raise UserError(f"{host}: cannot listen on {where}; choose another --port") from error
    return str(address)


def _theme() -> Any:
    """Fonts that are on the reader's machine, the report's colours."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"]
    mono = ["ui-monospace", "SF Mono", "Consolas", "Liberation Mono", "monospace"]
    theme = gr.themes.Default(primary_hue="orange", neutral_hue="stone", font=fonts, font_mono=mono)
    return theme.set(
        body_background_fill="#fcfbf7", body_background_fill_dark="#161513",
        background_fill_secondary="#f4f1e9", background_fill_secondary_dark="#211f1c",
        body_text_color_subdued="#635e55", body_text_color_subdued_dark="#aaa498",
        border_color_primary="#dbd6ca", border_color_primary_dark="#38352f",
        color_accent="#b43a12", slider_color="#b43a12", slider_color_dark="#ff9166",
    )  # fmt: skip


def serve(
    viewer: Viewer, *, host: str = "127.0.0.1", port: int | None = None, browser: bool = True
) -> None:
    """Serve the page until interrupted; what visitors send is gone when it ends.

    Raises:
        UserError: the port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="synesthete-app-") as place:
        os.environ["GRADIO_TEMP_DIR"] = place
        blocks = build(viewer, spoken(Path(place)))
        address = launch(blocks, host, port)
        console.print(f"{address} (Ctrl-C stops)", highlight=False)
        if browser:
            webbrowser.open(address)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)


def spoken(folder: Path) -> dict[str, Path]:
    """Recordings of synthetic voices in `folder`; none where espeak-ng is not installed."""
    try:
        said = speech.examples()
    except UserError as error:
        console.print(f"no examples: {error}", style="dim", highlight=False)
        return {}
    paths = {word: folder / f"{word}.wav" for word in said}
    for word, path in paths.items():
        path.write_bytes(said[word])
    return paths
