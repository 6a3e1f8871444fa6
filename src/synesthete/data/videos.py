"""Cut the pairs of every video in a folder: over several processes, resumable, in order."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synesthete.data import video
from synesthete.data.content import from_16_bit, to_16_bit
from synesthete.data.own import Form, Found, Item, OwnError
from synesthete.data.video import Cut
from synesthete.engines import Engine
from synesthete.files import whole_file
from synesthete.progress import bar

CRASHED = "its decoder crashed"


@dataclass(frozen=True)
class Task:
    """One video, and the file that its pairs go to."""

    path: Path
    form: Form
    cut: Cut
    result: Path


def found(folder: Path, form: Form, cut: Cut, work: Path, engine: Engine) -> Found:
    """The pairs of every video below a folder, by path and time; a video is a group.

    What each video gave is kept in `work`, and taken from there by a second call: a build that was
    killed goes on. Videos that give nothing are left out, and told.

    Raises:
        OwnError: there is no video.
    """
    if not folder.is_dir():
        raise OwnError(f"{folder}: no folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in video.SUFFIXES)
    if not paths:
        raise OwnError(f"{folder}: no videos ({' '.join(sorted(video.SUFFIXES))})")
    work.mkdir(parents=True, exist_ok=True)
    tasks = [Task(path, form, cut, work / _key(path, folder, form, cut)) for path in paths]
    _run(tasks, engine)
    return _gathered(folder, tasks)


def _key(path: Path, folder: Path, form: Form, cut: Cut) -> str:
    """The name of a result: the same for the same file and the same options."""
    status = path.stat()
    told = [path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns]
    text = json.dumps([*told, asdict(form), asdict(cut)])
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _run(tasks: Sequence[Task], engine: Engine) -> None:
    """See that every task has its result; one that ends its process costs the others nothing."""
    waiting = [task for task in tasks if not task.result.exists()]
    with bar("cutting videos", len(tasks), len(tasks) - len(waiting)) as progress:
        for _ in engine.map(work, waiting, crashed=_crashed):
            progress.advance()


def work(task: Task) -> None:
    """Cut one video and keep what it gave, or why it gave nothing."""
    try:
        clips = video.clips(task.path, task.form, task.cut)
    except video.VideoError as error:
        _keep(task, str(error))
        return
    _keep(task, "", seconds=clips.seconds, pixels=clips.pixels, samples=to_16_bit(clips.waves))


def _crashed(task: Task) -> None:
    _keep(task, CRASHED)


def _keep(
    task: Task, fault: str, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    with whole_file(task.result) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, fault=np.array(fault), **arrays)


def _gathered(folder: Path, tasks: Sequence[Task]) -> Found:
    """What all tasks kept, in their order."""
    items, waves, pixels, left_out = [], [], [], {}
    for task in tasks:
        with np.load(task.result) as kept:
            if fault := str(kept["fault"]):
                left_out[str(task.path)] = fault
                continue
            group = task.path.relative_to(folder).as_posix()
            items += [Item(str(task.path), group, seconds=float(t)) for t in kept["seconds"]]
            waves += [from_16_bit(samples) for samples in kept["samples"]]
            pixels += [*kept["pixels"]]
    edges = np.repeat(np.arange(len(items))[:, None], 2, axis=1)
    return Found(items, waves, items, pixels, edges, left_out=left_out)
