import pytest
import torch

from wildlam.evaluation.pixels import pixel_metrics


@pytest.fixture
def truth():
    return torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5


def test_known_answers(truth):
    metrics = pixel_metrics(truth + 0.1, truth)
    assert metrics.keys() == {"l1", "psnr", "ssim"}
    torch.testing.assert_close(metrics["l1"], torch.full((2,), 0.1))
    torch.testing.assert_close(metrics["psnr"], torch.full((2,), 20.0))
    same = pixel_metrics(truth, truth)
    assert not same["l1"].any()
    torch.testing.assert_close(same["ssim"], torch.ones(2))
    assert same["psnr"].isposinf().all()


def test_a_clips_figures_are_the_means_of_its_own_frames(truth):
    predicted = truth.clone()
    predicted[0, 0] += 0.1
    predicted[0, 1:] += 0.01
    predicted[1] += 0.02
    metrics = pixel_metrics(predicted, truth)
    torch.testing.assert_close(metrics["l1"], torch.tensor([0.04, 0.02]))
    torch.testing.assert_close(metrics["psnr"][0], torch.tensor((20.0 + 40.0 + 40.0) / 3))
    alone = pixel_metrics(predicted[1:], truth[1:])
    for name, values in metrics.items():
        torch.testing.assert_close(values[1:], alone[name])


def test_more_noise_is_worse_by_every_metric(truth):
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    little, much = (pixel_metrics(truth + scale * noise, truth) for scale in (0.02, 0.2))
    assert (little["l1"] < much["l1"]).all()
    assert (little["psnr"] > much["psnr"]).all()
    assert (little["ssim"] > much["ssim"]).all()


def test_a_perceptual_metric_stands_under_its_own_name(truth):
    class Brightness:
        name = "brightness"

        def per_frame(self, one, other):
            return (one - other).mean(dim=(2, 3, 4)).abs()

    metrics = pixel_metrics(truth + 0.1, truth, Brightness())
    torch.testing.assert_close(metrics["brightness"], torch.full((2,), 0.1))


def test_videos_of_unlike_shape_are_refused(truth):
    with pytest.raises(ValueError, match=r"got \[2, 3, 3, 16, 16\], \[2, 2, 3, 16, 16\]"):
        pixel_metrics(truth, truth[:, :2])
