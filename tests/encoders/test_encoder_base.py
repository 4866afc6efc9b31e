"""What all encoders share: input checks, fingerprints, choice of precision, configs on the command line."""

import importlib
import sys

import jsonargparse
import pytest
import torch

from wildlam.encoders import VJEPA2, EncoderConfig, Lite0
from wildlam.encoders.base import check_video, fast_dtype, fingerprint
from wildlam.types import EncoderSpec

from ..helpers import printed

SPEC = EncoderSpec("toy", 2, (2, 2), 8, 32, "clip", "0" * 16)


def video(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


def test_check_video_takes_what_fits():
    check_video(video(1, 4, 3, 32, 32), SPEC)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (video(1, 4, 3, 32, 32, dtype=torch.float32), "uint8.*float32"),
        (video(4, 3, 32, 32), r"\[B, F, 3, 32, 32\].*\[4, 3, 32, 32\]"),
        (video(1, 4, 1, 32, 32), r"\[1, 4, 1, 32, 32\]"),
        (video(1, 4, 3, 32, 48), "32 x 32.*32 x 48"),
        (video(1, 3, 3, 32, 32), "multiple of 2.*3"),
        (video(1, 0, 3, 32, 32), "multiple of 2.*0"),
    ],
)
def test_check_video_names_expected_and_given(given, message):
    with pytest.raises(ValueError, match=message):
        check_video(given, SPEC)


def test_fingerprint_sees_names_settings_shapes_and_values():
    big = torch.arange(300_000.0)
    first = fingerprint("a", {"x": 1}, [("w", big)])
    assert first == fingerprint("a", {"x": 1}, [("w", big.clone())])
    assert len(first) == 16
    others = [
        fingerprint("b", {"x": 1}, [("w", big)]),
        fingerprint("a", {"x": 2}, [("w", big)]),
        fingerprint("a", {"x": 1}, [("v", big)]),
        fingerprint("a", {"x": 1}, [("w", big.view(2, -1))]),
        fingerprint("a", {"x": 1}, [("w", big * 1.001)]),
    ]
    assert len({first, *others}) == 6


def test_precision_is_chosen_by_device_unless_given():
    assert fast_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert fast_dtype(torch.device("meta")) == torch.float32
    assert EncoderConfig(dtype="bfloat16").resolve("cpu", None) == (torch.device("cpu"), torch.bfloat16)
    assert EncoderConfig(dtype="bfloat16").resolve("cpu", torch.float32)[1] == torch.float32


def test_configs_are_chosen_on_the_command_line():
    jsonargparse.set_parsing_settings(subclasses_enabled=[EncoderConfig])
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--encoder", type=EncoderConfig, default=Lite0())
    parse = lambda *args: parser.instantiate_classes(parser.parse_args(list(args))).encoder  # noqa: E731
    assert parse() == Lite0()
    assert parse("--encoder.pool=4") == Lite0(pool=4)
    chosen = parse("--encoder=wildlam.encoders.VJEPA2", "--encoder.mode=per_frame")
    assert chosen == VJEPA2(mode="per_frame")
    with pytest.raises((jsonargparse.ArgumentError, ValueError), match="pool is 3"):
        parse("--encoder.pool=3")


def modules_of_encoders():
    importlib.import_module("wildlam.encoders")
    print(*sys.modules)


def test_import_does_not_load_transformers(tmp_path):
    modules = printed(tmp_path, modules_of_encoders)[0].split()
    assert "wildlam.encoders" in modules
    assert "transformers" not in modules
