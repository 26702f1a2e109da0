"""The output folder of a training: its files, and the settings that it was begun with."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grounding.config import with_new_names
from grounding.errors import GroundingError
from grounding.folders import whole_file, writing
from grounding.resumable import difference
from grounding.training.config import DEFAULT_TAGS, TrainConfig

_FREE = ("output", "device", "log", "validation")  # may change when a training goes on, as may data.workers
_OF_SCORES = ("data", "teachers", "sizes_px")  # what teacher scores depend on


class Output:
    """The output folder of a configuration.

    Args:
        processes: how many processes train together.

    Attributes:
        classifier, checkpoint, scores: files of the finished classifier, the last epoch, the teachers' scores.
    """

    def __init__(self, config: TrainConfig, processes: int) -> None:
        self.folder = Path(config.output).expanduser()
        self.classifier, self.checkpoint = self.folder / "classifier", self.folder / "checkpoint.safetensors"
        self.scores = self.folder / "teacher_scores.npy"
        self._settings_file = self.folder / "config.json"
        values = {key: value for key, value in dataclasses.asdict(config).items() if key not in _FREE}
        for key in ("workers", "delimiter", "image_folder"):  # what is read is compared by its fingerprint
            del values["data"][key]
        if not config.data.label_column:
            values["tags"] = config.tags or DEFAULT_TAGS  # as was written when None did not stand for it
        values["network"] |= config.network.given_or_default()  # as was written when there was nothing to follow
        self._config: dict[str, Any] = {"config": values}
        self._settings: dict[str, Any] = self._config | {
            "processes": processes,
            "sizes_px": [config.data.cache_size_px, *config.teacher.sizes_px],
        }

    def check(self) -> None:
        """Refuse to use or to continue what another configuration began: says the first key that differs."""
        if self.classifier.is_dir():
            self._compare(self._config)
        elif self.checkpoint.is_file():
            self._compare(self._settings)

    def claim(self, data: str, teachers: Sequence[str]) -> None:
        """Write the settings of this training into the folder; one that has no checkpoint yet is replaced.

        Args:
            data: fingerprint of the captions.
            teachers: fingerprints of the teachers.

        Raises:
            GroundingError: as `check`; or the folder holds other files or cannot be written.
        """
        settings = self._settings | {"data": data, "teachers": list(teachers)}
        with writing(f"output {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.checkpoint.is_file():
                self._compare(settings)
            names = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
            if names and not self._settings_file.is_file():
                raise GroundingError(f"output {self.folder} holds other things, such as {names[0]}: choose another")
            begun = self._read() if names else {}
            if any(begun.get(key) != settings[key] for key in _OF_SCORES):
                for path in self.folder.glob(f"{self.scores.name}*"):
                    path.unlink()
        with whole_file(self._settings_file) as file:
            file.write(json.dumps(settings, indent=2) + "\n")

    def _compare(self, settings: dict[str, Any]) -> None:
        """Raise a `GroundingError` unless the training in the folder was begun with these settings."""
        begun, wanted = self._read(), json.loads(json.dumps(settings))
        defaults = json.loads(json.dumps(dataclasses.asdict(TrainConfig())))
        begun["config"] = _completed(begun["config"], wanted["config"], defaults)
        if changed := difference(wanted, {key: begun.get(key) for key in wanted}):
            raise GroundingError(f"output {self.folder} is of a training with another {changed}: choose another output")

    def _read(self) -> dict[str, Any]:
        """Read the settings that the training in the folder was begun with, under the keys of today."""
        try:
            begun: dict[str, Any] = json.loads(self._settings_file.read_text(encoding="utf-8"))
            return begun | {"config": with_new_names(TrainConfig, begun["config"])}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise GroundingError(f"{self._settings_file} is broken ({error}): choose another output") from error


def _completed(values: dict[str, Any], wanted: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Values with the defaults of those wanted keys that are younger than they are."""
    values = {key: defaults.get(key) for key in wanted if key not in values} | values
    groups = {key for key, value in wanted.items() if isinstance(value, dict) and isinstance(values[key], dict)}
    return values | {key: _completed(values[key], wanted[key], defaults.get(key) or {}) for key in groups}
