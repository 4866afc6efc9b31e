"""Find the cuts in edited videos, so that no clip straddles one: PySceneDetect's content detector on PyAV's frames."""

from __future__ import annotations

from wildlam.data.files import AnyFile, opened
from wildlam.data.video import VideoError
from wildlam.types import WildlamError


def find_cuts(path: AnyFile) -> list[float]:
    """Times, in seconds, of the first frames of all shots of a video but the first.

    A cut is where hue, saturation and brightness change by more than PySceneDetect's default threshold from one frame
    to the next. Slow fades are not found, nor shots of less than 15 frames. All frames are decoded.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: PySceneDetect is not installed.
    """
    try:
        from scenedetect import ContentDetector, SceneManager
        from scenedetect.backends.pyav import VideoStreamAv
    except ImportError as error:
        raise WildlamError(
            f"looking for cuts needs PySceneDetect ({error}): pip install 'wildlam[cuts]', on Debian also apt-get "
            "install libgl1"
        ) from error
    try:
        manager = SceneManager()
        manager.add_detector(ContentDetector())
        with opened(path) as source:
            manager.detect_scenes(VideoStreamAv(source))
        return [begin.seconds for begin, _ in manager.get_scene_list()[1:]]
    except Exception as error:  # whatever OpenCV, PyAV or PySceneDetect make of a damaged file
        raise VideoError(path, f"no cuts can be looked for: {error}") from error
