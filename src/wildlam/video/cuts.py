"""Find the cuts in edited videos, so that no clip straddles one: PySceneDetect's content detector on our own frames."""

from __future__ import annotations

from typing import Any

from wildlam.errors import WildlamError
from wildlam.progress import Count, uncounted
from wildlam.video.files import AnyFile
from wildlam.video.frames import all_frames
from wildlam.video.opening import VideoError


def find_cuts(path: AnyFile, plain: bool = False, count: Count = uncounted) -> list[float]:
    """Times, in seconds since the first frame, of the first frames of all shots of a video but the first.

    A cut is where hue, saturation and brightness change by more than PySceneDetect's default threshold from one frame
    to the next. Slow fades are not found, nor shots of less than 15 frames. All frames are decoded; which they are and
    when they are shown is what every reader goes by. Where the size of the picture changes, a shot ends too.

    Args:
        path: the video.
        plain: whether its times are known to be plain; see `decode_at`.
        count: counts the seconds of it that have been looked at.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: PySceneDetect is not installed.
    """
    try:
        import cv2
        from scenedetect import ContentDetector, FrameTimecode
        from scenedetect.scene_manager import compute_downscale_factor
    except ImportError as error:
        raise WildlamError(
            f"looking for cuts needs PySceneDetect ({error}): pip install 'wildlam[cuts]', on Debian also apt-get "
            "install libgl1"
        ) from error
    detector, size = ContentDetector(), None
    begins, cuts = [], []
    try:
        for number, (frame, begin, end) in enumerate(all_frames(path, plain)):
            count(end - begin)
            begins.append(round(begin, 9))
            if size is not None and size != (frame.width, frame.height):
                cuts.append(begin)
                detector = ContentDetector()
            size = frame.width, frame.height
            image: Any = frame.to_ndarray(format="bgr24")
            if (factor := compute_downscale_factor(max(size))) > 1:
                image = cv2.resize(image, [max(1, round(side / factor)) for side in size])
            # By their numbers, at any rate: the detector only counts frames.
            cuts += [begins[cut.frame_num] for cut in detector.process_frame(FrameTimecode(number, 1000.0), image)]
    except VideoError as error:
        raise VideoError(path, f"no cuts can be looked for: {error.reason}") from error
    return sorted(cuts)
