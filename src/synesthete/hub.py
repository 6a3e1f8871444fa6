"""The Hugging Face Hub: the plain files of a model fetched from it, or published on it."""

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from synesthete.errors import UserError

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""The name of a repository: user/model."""


class HubError(UserError):
    """The Hub cannot be reached, has no such model, or does not let us."""


def fetch(repository: str, files: Sequence[str]) -> Path:
    """The folder with these files of a repository; what was fetched before is not fetched again.

    Raises:
        HubError: none to be had.
    """
    with _asked(repository) as library:
        return Path(library.snapshot_download(repository, allow_patterns=list(files)))


def publish(
    folder: Path, repository: str, files: Sequence[str], private: bool | None, token: str | None
) -> str:
    """Upload these files of a folder to a repository, new or not; the address of what was done.

    Raises:
        HubError: not logged in, not allowed, or not reached.
    """
    with _asked(repository) as library:
        api = library.HfApi(token=token, library_name="synesthete")
        api.create_repo(repository, private=private, exist_ok=True)
        done: Any = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(files),
            commit_message="Upload a model of synesthete",
        )  # fmt: skip
        return str(done.commit_url)


@contextmanager
def _asked(repository: str) -> Iterator[ModuleType]:
    """The library, which not everyone has; its failures are one line each.

    With every request it reports what else is installed here, unless it is told not to.
    """
    try:
        library = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise HubError(
            f"{repository}: a model of the Hugging Face Hub needs huggingface_hub: "
            "pip install 'synesthete[hub]'"
        ) from None
    constants: Any = importlib.import_module("huggingface_hub.constants")
    constants.HF_HUB_DISABLE_TELEMETRY = True
    failure = importlib.import_module("huggingface_hub.errors").HTTPError
    try:
        yield library
    except (failure, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise HubError(f"{repository}: the Hugging Face Hub: {reason}") from error
