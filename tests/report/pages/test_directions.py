"""Both ends of the directions of latent actions."""

import re

import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.latent_space import latent_space
from wildlam.models import ModelConfig
from wildlam.models.decoder import DecoderConfig
from wildlam.report.pages.directions import directions_section
from wildlam.video.index import index

from .made_up import TIMES


@pytest.fixture
def manifest(videos):
    return index(videos, progress=False)


@pytest.mark.usefixtures("tiny_models")
def test_ends_are_far_along_and_of_unlike_recordings_and_the_decoder_paints_both(manifest):
    model = ModelConfig().build(448, (2, 2)).eval()
    names, sources = [video.path for video in manifest], [video.source for video in manifest]
    generator = torch.Generator().manual_seed(0)
    z = 0.01 * torch.randn(6, 3, model.bottleneck.dim, generator=generator)
    z[:, 0, 0] = torch.arange(6) - 2.5  # only the first transition of a video acts, from one to the other way
    clips = InferredClips(torch.randn(6, 4, 4, 448, generator=generator), z, names, sources, TIMES.expand(6, -1))
    space = latent_space(model, clips)
    html = directions_section(model, space, clips, manifest, None).html
    first = html.split("<h3>")[1]
    told = [float(sd) for sd in re.findall(r"· ([-+][\d.]+) sd<", first)]
    assert len(told) == 10
    assert told[:5] == sorted(told[:5])
    assert told[5:] == sorted(told[5:], reverse=True)
    assert told[0] < -1
    assert told[5] > 1
    assert len(set(re.findall(r"Transition of (\S+) at", first)[:5])) == 5
    assert "decoded" not in html
    decoder = DecoderConfig(image_size=16, upsample=1).build(Lite0(image_size=64, dtype="float32").build("cpu").spec)
    html = directions_section(model, space, clips, manifest, decoder.eval()).html
    assert html.count(">decoded: a · -2 sd<") == html.count(">decoded: b · +2 sd<") == 3  # directions
