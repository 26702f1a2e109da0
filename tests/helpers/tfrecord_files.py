"""TFRecord files with `tf.train.Example` records, written byte by byte from the formats' definitions."""

import struct


def crc32c(content):
    """CRC-32C (Castagnoli), bit by bit: the reversed polynomial 0x82f63b78, all ones before and after."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    turned = crc // 2**15 + crc % 2**15 * 2**17
    return struct.pack("<I", (turned + 0xA282EAD8) % 2**32)


def framed(*records):
    """The bytes of a file of these records."""
    return b"".join(
        (length := struct.pack("<Q", len(record))) + masked(length) + record + masked(record) for record in records
    )


def varint(value):
    """Seven bits a byte, the lowest first; a negative number as 64 bits of two's complement."""
    value %= 2**64
    written = b""
    while value >= 128:
        written += bytes([value % 128 + 128])
        value //= 128
    return written + bytes([value])


def field(number, content):
    """A field of bytes or of a message."""
    return varint(number * 8 + 2) + varint(len(content)) + content


def example(packed=True, **features):
    """An Example: bytes are a BytesList of one, whole numbers an Int64List of one, lists of them of several."""
    entries = b""
    for name, values in features.items():
        values = values if isinstance(values, list) else [values]
        if values and isinstance(values[0], bytes):
            feature = field(1, b"".join(field(1, value) for value in values))
        elif values and isinstance(values[0], float):
            feature = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        elif packed:
            feature = field(3, field(1, b"".join(map(varint, values))))
        else:
            feature = field(3, b"".join(varint(8) + varint(value) for value in values))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)
