import io

import av
import torch

from wildlam.video.write import BAND, SIDE, mp4_bytes, side_by_side


def test_panels_stand_side_by_side_under_their_names():
    red = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 255
    frames = side_by_side({"red": red, "black": torch.zeros(3, 3, 16, 16, dtype=torch.uint8)})
    assert len(frames) == 3
    assert frames[0].shape == (BAND + SIDE, 2 * SIDE, 3)
    assert (frames[0][BAND:, :SIDE] == [255, 0, 0]).all()
    assert (frames[0][BAND:, SIDE:] == 0).all()
    for left in (0, SIDE):  # something is written above each
        assert frames[0][:BAND, left : left + SIDE].min() < 100


def test_the_bytes_are_a_film_that_others_read():
    generator = torch.Generator().manual_seed(0)
    films = {"a": torch.randint(0, 256, (5, 3, 16, 16), generator=generator, dtype=torch.uint8)}
    with av.open(io.BytesIO(mp4_bytes(side_by_side(films), 4))) as file:
        frames = list(file.decode(video=0))
    assert [frame.time for frame in frames] == [k / 4 for k in range(5)]
    assert frames[0].format.name == "yuv420p"  # others do not play in browsers
