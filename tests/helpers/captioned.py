"""Tiny pictures of one colour with captions, in shards and folders, and what is read of them."""

import io
import json
import tarfile

import pytest
from PIL import Image

from grounding.errors import GroundingError

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def picture(colour=RED, size=(4, 2), kind="PNG", **options):
    """The bytes of a picture file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def said(*captions):
    """The bytes of a JSON file of captions."""
    return json.dumps({"captions": captions}).encode()


def shard(path, *members):
    """Write a tar of (name, bytes); returns its path."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def folder(path, *members):
    """Write files of (name, bytes) into a folder; returns it."""
    for name, content in members:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def three_pictures(path):
    """A folder with three pictures and no captions."""
    return folder(path, ("r.png", picture(RED)), ("deep/g.png", picture(GREEN)), ("b", picture(BLUE)))


def contents(images):
    """What is read, by id: the captions and the colour of the picture's first pixel."""
    return {
        images.ids[i]: (images.captions[i], {RED: "red", GREEN: "green", BLUE: "blue"}[images.read(i).getpixel((0, 0))])
        for i in range(len(images))
    }


def refused(call, *arguments, **options):
    """The one line with which a call is refused."""
    with pytest.raises(GroundingError) as error:
        call(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message
    return message
