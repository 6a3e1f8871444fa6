"""Write files and folders whole: they appear under their final name complete, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Yield an empty draft folder that replaces `path` when the block ends well.

    The draft lies beside `path`, so the final step is one rename; a crash, a full disk or a kill
    leaves `path` as it was (at worst a hidden `.draft-*` folder beside it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".draft-{path.name}-", dir=path.parent))
    try:
        draft.chmod(0o755)
        yield draft
        for file in draft.rglob("*"):
            if file.is_file():
                _flush(file)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".draft-old-{path.name}-", dir=path.parent))
            path.replace(old / path.name)
            draft.replace(path)
            shutil.rmtree(old)
        else:
            draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a draft file name beside `path` that replaces it when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".draft-{path.name}-", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        _flush(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _flush(file: Path) -> None:
    """Have the disk hold the bytes before a rename makes them official."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
