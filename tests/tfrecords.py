"""Writes TFRecord files of tf.train.Example, for tests of what TensorFlow would not write."""

import struct

import google_crc32c
import numpy as np


def varint(value):
    """A whole number, seven bits a byte; negative ones in two's complement of 64 bits."""
    value %= 2**64
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def message(number, data):
    """A field of bytes, or of a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def example(lists):
    """An Example of lists of bytes, floats (NumPy's too) or integers."""
    entries = []
    for name, values in lists.items():
        if len(values) and isinstance(values[0], bytes):
            feature = message(1, b"".join(message(1, value) for value in values))
        elif len(values) and isinstance(values[0], int):
            feature = message(3, message(1, b"".join(map(varint, values))))
        else:
            feature = message(2, message(1, np.asarray(values, "<f4").tobytes()))
        entries.append(message(1, message(1, name.encode()) + message(2, feature)))
    return message(1, b"".join(entries))


def framed(data):
    """A record of a file."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)
