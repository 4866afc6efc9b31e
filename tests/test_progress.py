"""Bars: a piece of work moves one by its own share, never by more."""

from tqdm import tqdm

from wildlam.progress import up_to


def test_a_piece_of_work_moves_a_bar_by_its_share_and_no_further():
    moved = []
    bar = tqdm(total=15, disable=True)
    bar.update = moved.append
    one, other = up_to(bar, 10), up_to(bar, 5)
    for amount in (4, 4, 4):
        one(amount)
    other(1)
    assert moved == [4, 4, 2, 1]
    one(10)
    other(5)
    assert sum(moved) == bar.total == 15
