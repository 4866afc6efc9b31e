from collections import Counter

import pytest

from wildlam.video.splits import assign_splits, common_folder, source_of


def test_split_is_stable_when_files_are_added():
    first = [f"clip {i}.mp4" for i in range(200)]
    before = assign_splits(first, 0.2, {})
    after = assign_splits([*first, *(f"more/{i}.mp4" for i in range(300))], 0.2, {})
    assert all(after[path] == split for path, split in before.items())
    assert 0.1 < Counter(before.values())["held_out"] / 200 < 0.3
    assert 0.15 < Counter(after.values())["held_out"] / 500 < 0.25


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/a.mp4", "train"),
        ("x/Training/a.mp4", "train"),
        ("x/val/a.mp4", "held_out"),
        ("Test/a.mp4", "held_out"),
        ("validation/deep/a.mp4", "held_out"),
        ("held-out/a.mp4", "held_out"),
        ("valid/a.mp4", "held_out"),
        ("heldout/a.mp4", "held_out"),
        ("HELD_OUT/a.mp4", "held_out"),
    ],
)
def test_folder_names_decide(name, split):
    for share in (0.001, 0.999):
        others = {f"{i}.mp4": "train" if i % 2 else "held_out" for i in range(4)}
        assert assign_splits([name, *others], share, others)[name] == split


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_neither_split_is_ever_empty(share):
    for count in (2, 3, 10):
        found = assign_splits([f"{i}.mp4" for i in range(count)], share, {})
        assert set(found.values()) == {"train", "held_out"}
    assert set(assign_splits(["train/a.mp4", "train/b.mp4"], share, {}).values()) == {"train", "held_out"}


@pytest.mark.parametrize(
    ("paths", "sources"),
    [
        (("s3://droid/x/a.mp4", "s3://web/b.mp4"), ["droid", "web"]),
        (("s3://data/droid/a.mp4", "s3://data/web/val/b.mp4"), ["droid", "web"]),
        (("s3://data/droid/a.tar", "gs://web/b.mp4"), ["data", "web"]),
        (("/data/test/a.mp4", "/data/test/b.mp4"), [".", "."]),
        (("x/a.mp4", "/data/test/y/b.mp4"), ["x", "."]),
    ],
)
def test_sources_of_urls(paths, sources):
    top = common_folder(paths)
    assert [source_of(path, top) for path in paths] == sources
