"""Looking after a store: every kind of damage is found, what is sound survives its repair, and space is given back."""

import random
import shutil

import pytest
import torch

from wildlam import cli
from wildlam.errors import WildlamError
from wildlam.states import integrity
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec

SPEC = EncoderSpec("toy", 1, (4, 4), 16, 64, "frame", "aaaa000011112222")
LENGTH = 12


def states(number):
    return torch.randn(LENGTH, SPEC.tokens, SPEC.width, generator=torch.Generator().manual_seed(number)).bfloat16()


def add(store, number):
    video = StoredVideo(f"{number}.mp4", "s", "held_out" if number % 5 == 0 else "train", 1, 2)
    store.append(video, [(0, torch.arange(LENGTH).double() / 4, states(number))])


def video_numbers(store):
    """The videos of a store, after all of their states have been compared with what was written."""
    sequences, everything, numbers = store.sequences(), store.read_all(), []
    for first, length, video in zip(sequences.first, sequences.length, sequences.of(), strict=True):
        numbers.append(int(video.path.split(".")[0]))
        assert torch.equal(everything[first : first + length], states(numbers[-1]))
    return numbers


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Thirty videos in three parts."""
    store = FeatureStore.create_or_resume(tmp_path_factory.mktemp("sound") / "states.lance", SPEC, 4.0, 8)
    for number in range(30):
        add(store, number)
        if number % 10 == 9:
            store.commit()
    return store.path


@pytest.fixture
def path(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "states.lance")


def part_of(path, number):
    return sorted(path.glob("data/*.lance"), key=lambda file: file.stat().st_mtime_ns)[number]


def flip(file, bit):
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


def test_a_sound_store_is_left_as_it_is(path):
    assert not integrity.verify(FeatureStore.open(path), progress=False)
    assert not integrity.repair(FeatureStore.open(path), progress=False)
    store = FeatureStore.open(path)
    assert video_numbers(store) == list(range(30))
    assert len(store.dataset.get_fragments()) == 1


def test_a_flipped_bit_is_never_a_strange_state(path):
    flip(part_of(path, 1), 8 * 1000)
    store = FeatureStore.open(path)
    for read in (store.read_all, lambda: store.read(torch.arange(30 * LENGTH).numpy())):
        with pytest.raises(WildlamError, match=r"damaged, 1 states of 1\d\.mp4.*wildlam store repair"):
            read()
    (video,) = integrity.verify(store, progress=False).states
    integrity.repair(store, progress=False)
    left = video_numbers(FeatureStore.open(path, SPEC))
    assert left == [number for number in range(30) if f"{number}.mp4" != video]


@pytest.mark.parametrize("row", [0, 5])
@pytest.mark.parametrize("what", ["video = 'x7.mp4'", "size = 3", "sequence = 99", "index = 40"])
def test_states_of_another_name_or_place_are_found(path, row, what):
    name, value = what.split(" = ")
    FeatureStore.open(path).dataset.update({name: value}, where=f"video = '7.mp4' AND index = {row}")
    if row == 0 or name in ("sequence", "index"):
        with pytest.raises(WildlamError, match=r"damaged, .*wildlam store repair"):
            FeatureStore.open(path).sequences()
    found = integrity.repair(FeatureStore.open(path), progress=False)
    assert set(found.states) - {"x7.mp4"} == {"7.mp4"}
    assert video_numbers(FeatureStore.open(path)) == [number for number in range(30) if number != 7]


def test_a_name_that_lies_on_the_disk_otherwise_is_found(path):
    for part in path.glob("data/*.lance"):
        data = part.read_bytes()
        if b"17.mp4" in data:
            part.write_bytes(data.replace(b"17.mp4", b"97.mp4"))
            break
    else:
        pytest.fail("no name lies on the disk in plain text")
    assert integrity.verify(FeatureStore.open(path), progress=False)
    with pytest.raises(WildlamError, match="its videos are not what was written"):
        FeatureStore.open(path).sequences()
    integrity.repair(FeatureStore.open(path), progress=False)
    assert 17 not in video_numbers(FeatureStore.open(path))


def test_a_lost_part_takes_its_videos_only_and_they_can_be_written_again(path):
    part_of(path, 2).unlink()
    store = FeatureStore.open(path)
    with pytest.raises(WildlamError, match="store repair"):
        store.read_all()
    assert integrity.repair(store, progress=False).files
    mended = FeatureStore.create_or_resume(path, SPEC, 4.0, 8)
    left = video_numbers(mended)
    assert left == list(range(19))  # and the last one before, which may have gone on in the lost part
    for number in range(19, 30):
        add(mended, number)
    mended.commit()
    assert video_numbers(FeatureStore.open(path)) == list(range(30))


def test_states_that_are_missing_are_found(path):
    store = FeatureStore.open(path)
    store.dataset.delete("video = '7.mp4' AND index = 3")
    with pytest.raises(WildlamError, match="states are missing"):
        FeatureStore.open(path).sequences()
    assert set(integrity.repair(FeatureStore.open(path), progress=False).states) == {"7.mp4"}
    assert video_numbers(FeatureStore.open(path)) == [number for number in range(30) if number != 7]


def test_repair_frees_what_nothing_uses(path):
    store = FeatureStore.open(path)
    store.delete(f"{number}.mp4" for number in range(20))

    def taken():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    before = taken()
    integrity.repair(FeatureStore.open(path), progress=False)
    assert taken() < before / 2
    assert video_numbers(FeatureStore.open(path)) == list(range(20, 30))


def assert_names(error, path):
    assert str(path) in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_any_mutation_ends_in_the_same_states_or_in_one_error(path, seed):
    rng = random.Random(seed)
    file = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    size = file.stat().st_size
    kind = rng.choice(["flip", "cut", "zeros"])
    if kind == "flip":
        flip(file, rng.randrange(8 * max(size - 4096, 0), 8 * size))  # where Lance keeps what it must know to read
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[: rng.randrange(size)])
    else:
        data, start = bytearray(file.read_bytes()), rng.randrange(size)
        data[start : start + 64] = bytes(len(data[start : start + 64]))
        file.write_bytes(data)
    try:
        left = video_numbers(FeatureStore.open(path, SPEC))
    except WildlamError as error:
        assert_names(error, path)
    else:
        assert left == list(range(30))


def test_videos_encoded_twice_are_found_and_mended(path, capsys):
    """As by two encoders at once, before one waited for the other."""
    store = FeatureStore.create_or_resume(path, SPEC, 4.0, 8)
    for number in (3, 17):
        add(store, number)
    store.commit()
    with pytest.raises(AssertionError):
        assert video_numbers(store) == list(range(30))
    assert integrity.verify(store, progress=False).copies == {"3.mp4": LENGTH, "17.mp4": LENGTH}
    assert cli.main(["store", "verify", str(path)]) == 2
    assert f"twice      {LENGTH} states of 17.mp4" in capsys.readouterr().out
    assert integrity.repair(store, progress=False).copies == {"3.mp4": LENGTH, "17.mp4": LENGTH}
    mended = FeatureStore.open(path)
    assert sorted(video_numbers(mended)) == list(range(30))
    assert not integrity.verify(mended, progress=False)


def test_the_command_tells_finds_and_mends(path, capsys):
    assert cli.main(["store", "info", str(path.parent)]) == 0
    told = capsys.readouterr().out
    assert "toy aaaa000011112222, 4 x 4 tokens of width 16" in told
    assert "360 states in 30 sequences of 30 videos" in told
    assert "s, held_out: 6 videos, 72 states" in told
    flip(part_of(path, 0), 8 * 1000)
    assert cli.main(["store", "verify", str(path)]) == 2
    found = capsys.readouterr()
    assert "damaged    1 states of" in found.out
    assert f"wildlam store repair {path}" in found.err
    assert cli.main(["store", "repair", str(path)]) == 0
    assert "29 videos" in capsys.readouterr().out
    assert cli.main(["store", "verify", str(path)]) == 0
    assert "sound" in capsys.readouterr().out


def test_a_folder_without_a_store_is_named(tmp_path):
    with pytest.raises(WildlamError, match="no feature store here"):
        integrity.find_stores(tmp_path)
