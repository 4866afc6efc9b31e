"""TFRecord files, by TensorFlow's description of them and as TensorFlow wrote one."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from wildlam.episodes.formats.tfrecord import Example, records_in
from wildlam.errors import WildlamError

from ...data.rlds import make
from ...tfrecords import example, framed, message, varint

WRITTEN = Path(make.__file__).parent / make.NAME / make.VERSION / f"{make.NAME}-train.tfrecord-00000-of-00002"


def test_what_tensorflow_wrote():
    records = records_in(WRITTEN)
    assert len(records) == 2
    for record in records:
        found = Example(record)
        found.check()
        assert "steps/action/world_vector" in found
        assert "steps/action" not in found
        flags = found.numbers("steps/is_first")
        assert flags.tolist() == [1.0] + [0.0] * (len(flags) - 1)
        assert bytes(found.texts("steps/observation/image")[1]).startswith(b"\xff\xd8")


NUMBERS = [0, 1, 127, 128, 300, 2**31, 2**52, -1, -300]


def test_lists_of_all_kinds(tmp_path):
    """Integers below 0 take ten bytes; floats may stand one by one, with the number of the field before each."""
    file = tmp_path / "a.tfrecord"
    floats = np.array([1.5, -2.25], np.float32)
    single = b"".join(varint(1 << 3 | 5) + struct.pack("<f", one) for one in floats)
    one_by_one = message(1, message(1, message(1, b"single") + message(2, message(2, single))))
    lists = {"integers": NUMBERS, "floats": floats, "texts": [b"a", b"", b"bcd"], "none": []}
    file.write_bytes(framed(example(lists)) + framed(one_by_one))
    first, second = map(Example, records_in(file))
    assert first.numbers("integers").tolist() == NUMBERS
    assert first.numbers("floats").tolist() == [1.5, -2.25]
    assert [bytes(one) for one in first.texts("texts")] == [b"a", b"", b"bcd"]
    assert first.numbers("none").tolist() == []
    assert second.numbers("single").tolist() == [1.5, -2.25]
    with pytest.raises(WildlamError, match=r"a\.tfrecord, record 0: has no other; download or write it again"):
        first.numbers("other")
    with pytest.raises(WildlamError, match="record 0: texts is of another kind"):
        first.numbers("texts")


@pytest.mark.parametrize("kept", [5, 11, 14, -2])
def test_a_file_that_is_cut_short(tmp_path, kept):
    file = tmp_path / "a.tfrecord"
    whole = framed(example({"a": [1.0]}))
    file.write_bytes(whole + whole[:kept])
    with pytest.raises(WildlamError, match=r"a\.tfrecord, record 1: cut short, the file ends at byte \d+ within it"):
        records_in(file)


def test_damage(tmp_path):
    file = tmp_path / "a.tfrecord"
    whole = bytearray(framed(example({"a": [1.0, 2.0]})) * 2)
    half = len(whole) // 2
    whole[half - 6] ^= 1  # in the last float of the first record
    file.write_bytes(whole)
    first, second = map(Example, records_in(file))
    second.check()
    with pytest.raises(WildlamError, match="record 0: damaged, it does not fit its checksum; download or write it"):
        first.check()
    whole[half + 1] ^= 1  # in the length of the second
    file.write_bytes(whole)
    with pytest.raises(WildlamError, match=rf"record 1, at byte {half}: no record of a TFRecord file begins here"):
        records_in(file)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x0a\x7f", "it ends within a field"),
        (b"\x0a\xff", "it ends within a number"),
        (b"\x0b\x01", "unknown wire type 3"),
        (b"\x08\x01", "its field 1 is a number"),
        (message(1, message(1, message(1, b"\xff") + message(2, message(2, b"")))), "can't decode byte 0xff"),
    ],
)
def test_what_is_no_example(tmp_path, data, said):
    file = tmp_path / "a.tfrecord"
    file.write_bytes(framed(data))
    with pytest.raises(WildlamError, match=rf"a\.tfrecord, record 0: no tf\.train\.Example \(.*{said}.*\); download"):
        Example(records_in(file)[0])


@pytest.mark.parametrize("packed", [b"\xff\xff", b"\xff" * 11 + b"\x01"])
def test_integers_that_do_not_end(tmp_path, packed):
    file = tmp_path / "a.tfrecord"
    integers = message(3, message(1, packed))
    file.write_bytes(framed(message(1, message(1, message(1, b"a") + message(2, integers)))))
    with pytest.raises(WildlamError, match="record 0: a cannot be read"):
        Example(records_in(file)[0]).numbers("a")


def test_what_takes_a_package_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    with pytest.raises(WildlamError, match=r"TFRecord files need google-crc32c: pip install 'wildlam\[rlds\]'"):
        records_in(WRITTEN)
