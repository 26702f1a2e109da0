"""The records of a TFRecord file, and the `tf.train.Example` in one, without TensorFlow.

A file is a sequence of: the length (uint64), the masked CRC-32C of these 8 bytes (uint32), the record's bytes, their
masked CRC-32C; all little-endian. A CRC is masked by turning it 15 bits to the right and adding 0xa282ead8.

A record is a serialized protocol buffer. Of these only what an Example needs is read:
`Example {1: Features {1: map entry {1: name, 2: Feature {1: BytesList | 2: FloatList | 3: Int64List}}}}`, where the
values of a list are field 1, packed or one by one.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from grounding.errors import GroundingError

_HEAD: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a field is written
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_BYTES_LIST, _INT64_LIST = 1, 3

Features = dict[str, list[bytes] | list[int]]


class Record(NamedTuple):
    """The bytes of a record, and where it stands, for messages."""

    number: int  # from 1
    where: str
    content: bytes


def read_records(path: Path) -> Iterator[Record]:
    """Read a TFRecord file that is not compressed, record by record.

    Raises:
        GroundingError: google-crc32c is not installed; or the file cannot be read, is none, or is damaged or cut short
            from some record on, which is named.
    """
    checksum = _checksum(path)
    try:
        with path.open("rb") as file:
            left = path.stat().st_size
            number = 0
            while head := file.read(_HEAD.size):
                number += 1
                where = f"{path}, record {number}"
                left -= len(head)
                if len(head) < _HEAD.size:
                    raise GroundingError(f"{where} is cut short: expected a whole file; copy it again")
                length, crc = _HEAD.unpack(head)
                if checksum(head[:8]) != crc:
                    what = "is no TFRecord" if number == 1 else f"is damaged in record {number}"
                    raise GroundingError(f"{path} {what} (a wrong checksum): expected TFRecord, not compressed")
                if length + _CRC.size > left:
                    raise GroundingError(
                        f"{where} is cut short: {length + _CRC.size:,} bytes are to follow, and {left:,} do; copy the "
                        "file again"
                    )
                content = file.read(length)
                if checksum(content) != _CRC.unpack(file.read(_CRC.size))[0]:
                    raise GroundingError(f"{where} is damaged (a wrong checksum): copy the file again")
                left -= length + _CRC.size
                yield Record(number, where, content)
    except OSError as error:
        raise GroundingError(f"{path} cannot be read ({error.strerror or error}): expected TFRecord") from error
    if not number:
        raise GroundingError(f"{path} is empty: expected TFRecord")


def _checksum(path: Path) -> Callable[[bytes], int]:
    """What gives the masked CRC-32C of bytes."""
    try:
        import google_crc32c
    except ImportError as error:
        raise GroundingError(
            f"{path} needs google-crc32c: install it with pip install 'grounding[human-maps]'"
        ) from error

    def masked(content: bytes) -> int:
        crc: int = google_crc32c.value(content)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    return masked


def read_example(record: Record) -> Features:
    """The features of a `tf.train.Example` by name: lists of bytes and of whole numbers; other lists are not read.

    Raises:
        GroundingError: the record is none.
    """
    found: Features = {}
    try:
        for features in _messages(record.content, 1):
            for entry in _messages(features, 1):
                name = b"".join(_messages(entry, 1)).decode()
                for feature in _messages(entry, 2):
                    for values in _values(feature):
                        found[name] = values
    except (ValueError, UnicodeDecodeError) as error:
        raise GroundingError(f"{record.where} is no tf.train.Example ({error}): expected one of ClickMe's") from error
    return found


def _values(feature: bytes) -> Iterator[list[bytes] | list[int]]:
    for number, _, value in _fields(feature):
        if number == _BYTES_LIST and isinstance(value, bytes):
            yield list(_messages(value, 1))
        elif number == _INT64_LIST and isinstance(value, bytes):
            yield [_signed(whole) for whole in _whole_numbers(value)]


def _whole_numbers(content: bytes) -> Iterator[int]:
    """The numbers of an Int64List."""
    for number, _, value in _fields(content):
        if number != 1:
            continue
        if isinstance(value, int):
            yield value
        else:
            place = 0
            while place < len(value):
                whole, place = _varint(value, place)
                yield whole


def _messages(content: bytes, wanted: int) -> Iterator[bytes]:
    """The values of a field that holds bytes, texts or messages."""
    for number, kind, value in _fields(content):
        if number == wanted and kind == _BYTES and isinstance(value, bytes):
            yield value


def _fields(content: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Number, kind and value of each field of a message, in the order in which they are written."""
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        value: bytes | int
        if kind == _VARINT:
            value, place = _varint(content, place)
        elif kind == _BYTES or kind in _SIZES:
            size, place = _varint(content, place) if kind == _BYTES else (_SIZES[kind], place)
            value, place = content[place : place + size], place + size
            if place > len(content):
                raise ValueError(f"field {number} is cut short")
        else:
            raise ValueError(f"field {number} is of kind {kind}")
        yield number, kind, value


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, all but its last byte with the highest bit; and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place == len(content):
            raise ValueError("a number is cut short")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number is too long")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
