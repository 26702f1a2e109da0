"""The Hugging Face hub: repositories fetched into its cache, and folders pushed to it. Only here is it spoken to.

huggingface_hub is the optional extra `hf`.
"""

import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grounding.errors import GroundingError

CONFIG: Final = "config.json"
SAFE_FILES: Final = (CONFIG, "*processor_config.json", "model*.safetensors", "model*.safetensors.index.json")
INSTALL: Final = "pip install 'grounding[hf]'"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TRUE = ("1", "ON", "YES", "TRUE")


@dataclass(frozen=True, slots=True)
class Access:
    """How a repository of the hub is fetched; each value means what it means to `huggingface_hub`.

    Attributes:
        revision: a branch, a tag or a commit; the main branch by default.
        token: for private and gated repositories; by default that of `hf auth login` or of HF_TOKEN.
        cache_dir: where files are kept, by default ~/.cache/huggingface/hub.
        local_files_only: take them from there and never download; so does HF_HUB_OFFLINE=1.
    """

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False

    @property
    def offline(self) -> bool:
        """Whether nothing may be downloaded."""
        return self.local_files_only or is_offline()


def is_offline() -> bool:
    """Whether the environment forbids every download: HF_HUB_OFFLINE=1, which `--offline` sets."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def is_hub_name(text: str) -> bool:
    """Whether a text looks like `user/name` or `user/name@revision`."""
    return _NAME.fullmatch(text.partition("@")[0]) is not None


def find_folder(name: str, access: Access | None = None, files: Sequence[str] = SAFE_FILES) -> Path:
    """The folder that a name stands for: a local one, or that of a repository of the hub in the cache.

    Args:
        name: a folder, `user/name`, or `user/name@revision`.
        files: of the repository, as patterns.

    Raises:
        GroundingError: neither is there, or the repository cannot be fetched.
    """
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - never raises
    if name and folder.is_dir():
        return folder
    if not is_hub_name(name):
        raise GroundingError(f"'{name}' is no folder and no name on the hub: expected a folder, or user/name")
    return fetch(name, access, files)


def fetch(name: str, access: Access | None = None, files: Sequence[str] = SAFE_FILES) -> Path:
    """Bring files of a repository into the cache, by default configuration and safetensors; what is there stays.

    Args:
        name: `user/name` or `user/name@revision`.
        files: patterns.

    Returns:
        Their folder. What else the repository holds, such as pickled weights, is not downloaded.

    Raises:
        GroundingError: no huggingface_hub, no such repository or revision, no permission, no connection, or offline
            and not in the cache.
    """
    access = access or Access()
    name, _, revision = name.partition("@")
    revision = revision or access.revision or ""
    hub = _library(name)
    try:
        folder = hub.snapshot_download(
            name,
            revision=revision or None,
            token=access.token,
            cache_dir=access.cache_dir,
            local_files_only=access.offline,
            allow_patterns=list(files),
        )
    except Exception as error:
        raise _explained(error, name, revision, access.offline) from error
    return Path(folder)


def push(folder: Path, name: str, message: str, private: bool | None, token: str | bool | None, revision: str) -> str:
    """Upload the files of a folder as one commit; the repository is made where there is none.

    Returns:
        The address of the commit.

    Raises:
        GroundingError: no huggingface_hub, offline, no permission, or no connection.
    """
    if is_offline():
        raise GroundingError(f"'{name}' cannot be pushed to the hub: HF_HUB_OFFLINE forbids it")
    hub = _library(name)
    try:
        api = hub.HfApi(token=token)
        name = api.create_repo(name, private=private, exist_ok=True).repo_id
        if revision:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, revision=revision or None)
    except Exception as error:
        raise _explained(error, name, revision, False, doing="pushed to the hub") from error
    return str(commit.commit_url)


def _library(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise GroundingError(f"'{name}' is on the hub, which needs huggingface_hub: {INSTALL}") from error
    return huggingface_hub


def _explained(error: Exception, name: str, revision: str, offline: bool, doing: str = "fetched") -> GroundingError:
    """What an error of the hub means to a user; what is no error of the hub or of the connection is raised again."""
    from huggingface_hub import errors

    login = "log in with `hf auth login`, or set HF_TOKEN"
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        said = f"'{name}' is gated: accept its terms at https://huggingface.co/{name}, then {login}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        said = f"the hub has no '{name}' that you may see: check the name; if it is private, {login}"
    elif isinstance(error, errors.RevisionNotFoundError):
        said = f"'{name}' has no revision '{revision}': expected a branch, a tag or a commit"
    elif isinstance(error, errors.HFValidationError):
        said = f"'{name}' is no name on the hub: expected user/name"
    elif offline and isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        at = f" at revision '{revision}'" if revision else ""
        said = (
            f"'{name}'{at} is not in the cache of the hub, and --offline (HF_HUB_OFFLINE, local_files_only) allows no "
            "download: run once without it, or name a local folder"
        )
    elif status in (401, 403):
        said = f"'{name}' may not be {doing} with your token: {login} with one that may"
    elif isinstance(error, OSError) or type(error).__module__.partition(".")[0].startswith(("httpx", "requests")):
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else None
        reason = textwrap.shorten(str(cause or error), 200, placeholder=" ...")
        said = f"'{name}' cannot be {doing} ({reason}): check the connection, or name a local folder"
    else:
        raise error
    return GroundingError(said)
