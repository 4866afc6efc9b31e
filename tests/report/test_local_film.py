import torch

from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.locality import KINDS, Locality
from wildlam.report.local_film import TIMES, local_film
from wildlam.video.write import BAND, SIDE


def found(scenes: int, films: int) -> Locality:
    """Scenes in front of black; in all but the truth the change falls on the first token, there on the last."""
    frame = torch.zeros(3, 32, 32, dtype=torch.uint8)
    after = torch.full_like(frame, 200)
    maps = {kind: torch.zeros(scenes, 4) for kind in KINDS}
    for kind, of_kind in maps.items():
        of_kind[:, 3 if kind == "true" else 0] = 0.1
    both = {"source": torch.stack([frame, after]), "target": torch.stack([frame, frame])}
    per_scene = PerClip({}, [f"frame {i}" for i in range(scenes)], ["composed"] * scenes)
    return Locality(per_scene, 2, maps, torch.zeros(scenes, 4, dtype=torch.bool), dict.fromkeys(range(films), both))


def test_changes_lie_over_the_target_after_the_motion_and_are_as_bright_as_they_can_be():
    film = local_film(found(scenes=3, films=2), (2, 2))
    assert len(film) == 2 * TIMES * 2
    assert film[0].shape == (BAND + SIDE, 5 * SIDE, 3)
    before, after = (frame[BAND:].mean(axis=-1) for frame in film[:2])
    assert (before == 0).all()
    corners = [0, 2 * SIDE - 1, 3 * SIDE - 1, 3 * SIDE, 4 * SIDE]  # of the source, the target, truth, z, z of the other
    assert [after[row, column] > 100 for row, column in zip([0, 0, -1, 0, 0], corners, strict=True)] == [
        True, False, True, True, True,
    ]  # fmt: skip
    assert (after[0, 2 * SIDE], after[-1, 4 * SIDE - 1]) == (0, 0)  # where the others do not change


def test_no_change_at_all_shows_the_target():
    nothing = found(scenes=1, films=1)
    for of_kind in nothing.maps.values():
        of_kind.zero_()
    assert local_film(nothing, (2, 2))[1][BAND:, SIDE:].max() < 5
