"""Pictures with words: webdataset shards of `<id>.jpg` and `<id>.json` ({"captions": [...]})."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from grounding.errors import GroundingError


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """A photograph (RGB) and the sentences people wrote under it."""

    id: str
    image: Image.Image
    captions: tuple[str, ...]


def read_shards(paths: Sequence[Path]) -> Iterator[CaptionedImage]:
    """The samples of all shards, in the order of the files.

    Raises:
        GroundingError: a shard is missing, is no tar, or holds a photograph without captions.
    """
    for path in paths:
        if not path.is_file():
            raise GroundingError(f"shard {path} does not exist: expected a webdataset tar; see data/README.md")
        try:
            with tarfile.open(path) as tar:
                photographs: dict[str, bytes] = {}
                for member in tar:
                    key, _, ending = PurePosixPath(member.name).name.rpartition(".")
                    content = tar.extractfile(member)
                    if content is None:
                        continue
                    if ending == "jpg":
                        photographs[key] = content.read()
                    elif ending == "json" and key in photographs:
                        captions = json.loads(content.read())["captions"]
                        if not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
                            raise GroundingError(f"shard {path}, {member.name}: expected a list of captions")
                        image = Image.open(io.BytesIO(photographs.pop(key))).convert("RGB")
                        yield CaptionedImage(key, image, tuple(captions))
        except (tarfile.TarError, KeyError, OSError, json.JSONDecodeError) as error:
            raise GroundingError(f"shard {path} cannot be read ({error}): expected <id>.jpg and <id>.json") from error
        if photographs:
            raise GroundingError(f"shard {path}: no captions follow photograph {next(iter(photographs))}.jpg")
