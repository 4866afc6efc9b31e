"""Which frames a film has and when each is shown: one answer for every reader, by the rules that a player follows.

What FFmpeg says, and when it is believed (names as in libavformat/avformat.h and libavcodec/packet.h):

- **pts**, when a packet's frame is shown, is believed wherever the container stores it. The decoder hands frames out in
  the order of display and passes a frame's pts on. FFmpeg's *best_effort_timestamp* is that pts too, or an estimate
  from the dts where it is missing; the estimate is not used, as it depends on where decoding starts.
- **dts**, when a packet goes to the decoder, never steps back in an intact film: where it does, there is a
  break, not a reordering. AVI and some others store nothing else, and libavformat's pts of reordered H.264 in AVI is
  wrong (dts plus a constant). There the k-th frame that the decoder hands out is shown at the k-th dts in ascending
  order: presentation order is the decoder's, and dts and pts are the same moments in another order.
  Where MPEG-PS and MPEG-TS give several frames one pts, frames are shown one after the other in the decoder's order.
- **Neither**, in raw streams (``AVFMT_NOTIMESTAMPS``: H.264, HEVC, MPEG-1 ...; what libavformat's parsers make up for
  reordered frames is wrong): frames are counted by the rate in the bit stream (``AVCodecContext.framerate``),
  without one by FFmpeg's default for such files, 25 a second.
- **Edit lists** (MP4, MOV): libavformat has applied them already. Packets that they hide carry ``AV_PKT_FLAG_DISCARD``
  (in the index ``AVINDEX_DISCARD_FRAME``); they are decoded, as others refer to them, but not shown and not counted.
  The sample table's own count (``nb_frames``) includes them and is not believed.
- **Discontinuities**: a dts that steps back by over 0.1 s, or ahead by over 10 s and ten usual intervals, begins
  another piece of film (the limits of ffmpeg's ``-dts_delta_threshold``). In formats that are cut and joined as they
  are (``AVFMT_TS_DISCONT``: MPEG-TS, MPEG-PS) one second ahead is enough. A player goes on with the next piece at once:
  its first frame is shown when the last one's time is over, and a break is noted. No gap becomes a still picture.
  Streams that were joined and then remuxed may overlap without a step back of the dts, which the muxer has mended: a
  keyframe's pts is before that of a packet ahead of it, which is so in no sound film. This begins another piece too.
- **pts_wrap_bits**: stamps of MPEG-TS and MPEG-PS have 33 bits. A step back by 2^33 is the clock's wrap, no break. The
  first stamp may be anything, below zero too: times count from the first frame.
- **avg_frame_rate, r_frame_rate** and declared durations are headers' opinions: reported where they differ, never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from av import Packet
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

RULES = 1
"""Version of these rules. Stored states of frames that were found by others are doubted, see `encode.refresh`."""
BACK = 0.1
"""Seconds that a dts may step back before another piece of film begins."""
BACK_REORDERED = 1.0
"""and a pts, where most packets have no dts."""
AHEAD = 10.0
"""Seconds that it may step ahead,"""
AHEAD_JOINED = 1.0
"""and in formats that are joined as they are."""
INTERVALS = 10
"""A step ahead within so many usual intervals is none."""
DEFAULT_RATE = 25.0
"""Frames per second of a raw stream that states none."""
_ODD_TIMES = (
    "discontinuity",
    "hidden frames",
    "clock wraps",
    "timestamps missing",
    "timestamps repeated",
    "decoding times only",
    "no timestamps",
)
"""Kinds of oddities that concern which frames are shown and when."""
_NOTIMESTAMPS, _TS_DISCONT = 0x0080, 0x0200  # of AVInputFormat.flags
_WRAP = 1 << 33


class Stamp(NamedTuple):
    """What a packet says of its frame's time, in ticks of the stream's time base; see the module's text."""

    pts: int | None
    dts: int | None
    duration: int
    hidden: bool
    key: bool

    @classmethod
    def of(cls, packet: Packet) -> Stamp:
        """Copy it, so that the packet's data need not stay in memory."""
        return cls(packet.pts, packet.dts, packet.duration or 0, packet.is_discard, packet.is_keyframe)


@dataclass(frozen=True)
class TimeLine:
    """The frames of a film.

    Attributes:
        frames: how many are shown.
        duration: seconds from the first frame to the end of the last; None where packets were not read for it.
        last: seconds that the last frame lasts where the container does not say.
        breaks: times at which each piece of film but the first begins, in seconds since the first frame.
        stamps: pts of each packet in the order of the file, ``int64 [P]``, where the file's own cannot be used as they
            are.
        shown: when each frame is shown that the decoder hands out, in its order, ``float64 [F]`` in seconds, where
            packets do not say.
        odd: what is odd, each as ``"kind: details"``.
    """

    frames: int
    duration: float | None = None
    last: float = 0.0
    breaks: tuple[float, ...] = ()
    stamps: np.ndarray | None = None
    shown: np.ndarray | None = None
    odd: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether packets' own pts are the times of the frames, so that a reader may seek by them."""
        return self.stamps is None and self.shown is None

    @property
    def hides(self) -> bool:
        """Whether an edit list hides frames."""
        return any(odd.startswith("hidden frames") for odd in self.odd)


def known_plain(odd: Iterable[str] | None) -> bool:
    """Whether a film's frames are shown at their packets' own pts, all of them, going by what is odd about it.

    Args:
        odd: each as ``"kind: details"``, as an index reports it; None if no one has looked.
    """
    return odd is not None and not any(one.startswith(_ODD_TIMES) for one in odd)


def in_decoders_order(container: InputContainer, stream: VideoStream) -> bool:
    """Whether an open file stores decoding times alone by its format: AVI whose frames are reordered."""
    return "avi" in container.format.name and bool(stream.codec_context.has_b_frames)


def packets_of(container: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """The packets of a file without the empty ones that end each stream: those that `TimeLine.stamps` numbers."""
    return (packet for packet in container.demux(*streams) if packet.size or packet.dts is not None)


def from_index(container: InputContainer, stream: VideoStream) -> TimeLine | None:
    """The time line of an MP4 or MOV whose header lists all its packets; None where packets must be read for it.

    Reads nothing. Packets that lie beyond the file's end are left out.
    """
    entries = stream.index_entries
    odd: tuple[str, ...] = ()
    if not container.format.name.startswith("mov") or not stream.frames or not len(entries):
        return None
    table = np.array([(entry.timestamp, entry.is_discard, entry.pos + entry.size) for entry in entries], dtype=np.int64)
    if container.size > 0:
        there = table[:, 2] <= container.size
        if not there.all():
            odd = (f"shorter than declared: {int((~there).sum())} of {len(there)} frames lie beyond the file's end",)
        table = table[there]
    dts, hidden = table[:, 0], table[:, 1] > 0
    if not len(dts):
        return None
    steps = np.diff(dts) * _tick(stream)
    if (steps < -BACK).any() or (steps > _limit(_usual(dts) * _tick(stream), _joined(container))).any():
        return None
    return TimeLine(int((~hidden).sum()), odd=odd + _hidden(hidden))


def from_stamps(
    container: InputContainer, stream: VideoStream, stamps: list[Stamp], first: int | None = None
) -> TimeLine:
    """The time line of a stream all of whose packets were read.

    Args:
        container: container that they come from.
        stream: stream that they belong to.
        stamps: timestamps of all packets, one at least, as `packets_of` gives them.
        first: pts of the first frame that can be decoded, if it is known; packets before it are not counted.
    """
    tick = _tick(stream)
    hidden = np.array([stamp.hidden for stamp in stamps])
    durations = np.array([stamp.duration for stamp in stamps])
    pts = np.ma.masked_invalid([np.nan if stamp.pts is None else stamp.pts for stamp in stamps])
    dts = np.ma.masked_invalid([np.nan if stamp.dts is None else stamp.dts for stamp in stamps])
    if container.format.flags & _NOTIMESTAMPS or (pts.mask.all() and dts.mask.all()):
        return _counted(stream, int((~hidden).sum()))
    no_order = in_decoders_order(container, stream)
    if no_order or (pts.mask.mean() > 0.1 and not dts.mask.any()):
        ticks, breaks, _, usual = _continuous(dts, dts, hidden, durations, tick, _joined(container))
        times = np.sort(ticks[~hidden]) * tick
        odd = _breaks_told(breaks)
        if not no_order:
            odd += ("decoding times only: frames are shown in the decoder's order",)
        return TimeLine(
            len(times),
            float(times[-1] - times[0] + usual),
            usual,
            breaks,
            None,
            times - times[0],
            odd + _hidden(hidden),
        )
    keys = np.array([stamp.key for stamp in stamps])
    ticks, breaks, wraps, usual = _continuous(pts, dts, hidden, durations, tick, _joined(container), keys)
    odd = _breaks_told(breaks) + _hidden(hidden)
    if wraps:
        odd += ("clock wraps: its 33 bits pass zero; time goes on",)
    if holes := int(pts.mask.sum()):
        odd += (f"timestamps missing: {holes} of {len(stamps)} frames have none",)
    begin = ticks[~hidden].min() if first is None or breaks or wraps else first
    kept = ~hidden & (ticks >= begin)
    shown = np.sort(ticks[kept]) * tick
    if _joined(container) and len(np.unique(ticks[kept])) < len(shown):
        return _spread(shown - shown[0], usual, breaks, odd)
    final = np.flatnonzero(kept)[np.argmax(ticks[kept])]
    last = durations[final] * tick
    if not 0 < last <= max(_limit(usual, _joined(container)), usual):
        mean = float(shown[-1] - shown[0]) / max(len(shown) - 1, 1)  # without the rounding of stamps
        last = usual = mean if abs(mean - usual) < 2 * tick else usual
    return TimeLine(
        int(kept.sum()),
        float((ticks[final] - begin) * tick + last),
        usual,
        breaks,
        ticks if breaks or wraps or holes else None,
        None,
        odd,
    )


def _spread(times: np.ndarray, usual: float, breaks: tuple[float, ...], odd: tuple[str, ...]) -> TimeLine:
    """The time line of frames some of which share their ``times``, ascending: none is shown before the last one's end.

    MPEG-PS gives only some frames a stamp, and libavformat's guesses between them may repeat and step back.
    """
    even = usual * np.arange(len(times))
    begins = [0.0]
    for time in times[1:].tolist():
        begins.append(time if time - begins[-1] > usual / 2 else begins[-1] + usual)
    if np.abs(times - even).max() < 5 * usual:  # stamps that err both ways, of frames at an even rate
        begins = even.tolist()
    shown = np.array(begins)
    later = tuple(begins[int(np.searchsorted(times, at - usual / 4))] for at in breaks)
    odd += ("timestamps repeated: frames that share one are shown one after the other",)
    return TimeLine(len(shown), begins[-1] + usual, usual, later, None, shown, odd)


def _counted(stream: VideoStream, frames: int) -> TimeLine:
    rate = float(stream.codec_context.framerate or 0)
    odd = f"no timestamps: frames are counted at {rate or DEFAULT_RATE:g} frames/s"
    if not rate:
        odd += ", as nothing in the file states its rate; ffmpeg -r RATE -i IN -c copy OUT.mp4 sets it"
        rate = DEFAULT_RATE
    return TimeLine(frames, frames / rate, 1 / rate, (), None, np.arange(frames) / rate, (odd,))


def _continuous(
    pts: np.ma.MaskedArray,
    dts: np.ma.MaskedArray,
    hidden: np.ndarray,
    durations: np.ndarray,
    tick: float,
    joined: bool,
    keys: np.ndarray | None = None,
) -> tuple[np.ndarray, tuple[float, ...], int, float]:
    """Stamps of packets on one time line, ``int64 [P]``; breaks in seconds; wraps; the usual interval in seconds."""
    order = np.where(dts.mask, pts.filled(0), dts.filled(0)).astype(np.int64)
    for k in np.flatnonzero(pts.mask & dts.mask):  # neither: as long after the packet before it as that one lasts
        order[k] = order[k - 1] + durations[k - 1] if k else order[~(pts.mask & dts.mask)][0]
    shown = np.where(pts.mask, order, pts.filled(0)).astype(np.int64)
    # Without dts, the pts of reordered frames steps back without a break. Some packets, as Matroska's first, lack it.
    known = np.flatnonzero(~dts.mask)
    if 2 * len(known) < len(order):
        steps = (np.flatnonzero(np.diff(order) * tick < -BACK_REORDERED) + 1).tolist()
    else:
        steps = (known[:-1][np.diff(order[known]) * tick < -BACK] + 1).tolist()
    if keys is not None and not pts.mask.any():
        steps = _overlaps(shown, keys & ~hidden, steps)
    usual = max(round(_usual(shown[~hidden])), 1)
    begins, wraps, offset = [], 0, 0
    end = None  # of what came before
    for begin, until in zip([0, *steps], [*steps, len(order)], strict=True):
        piece = shown[begin:until]
        seen = piece[~hidden[begin:until]]
        if begin and joined and abs(order[begin] - order[begin - 1] + _WRAP) * tick < AHEAD_JOINED:
            offset += _WRAP
            wraps += 1
        elif begin and len(seen) and end is not None:
            offset = end - seen.min()
            begins.append(end)
        piece += offset
        if len(seen):
            latest = seen.max() + offset
            end = max(end or latest, latest + usual)
    # What is ahead of a gap: in the order of display, as the dts of reordered frames jumps some packets later.
    seen = np.unique(shown[~hidden])
    gaps = np.diff(seen)
    wide = gaps * tick > _limit(usual * tick, joined)
    edges, lost = seen[1:][wide], np.append(0, np.cumsum(gaps[wide] - usual))
    breaks = np.sort(np.array([*begins, *edges], dtype=np.int64))
    breaks -= lost[np.searchsorted(edges, breaks, side="right")]
    shown -= lost[np.searchsorted(edges, shown, side="right")]
    origin = seen[0] if len(seen) else 0
    return shown, tuple(float((at - origin) * tick) for at in breaks), wraps, usual * tick


def _usual(stamps: np.ndarray) -> float:
    """The usual interval between stamps, in ticks."""
    gaps = np.diff(np.unique(stamps))
    return float(np.median(gaps)) if len(gaps) else 0.0


def _overlaps(shown: np.ndarray, keys: np.ndarray, steps: list[int]) -> list[int]:
    """The steps, and in between the keyframes that are shown before a frame ahead of them in the file."""
    found = []
    for begin, until in zip([0, *steps], [*steps, len(shown)], strict=True):
        found.append(begin)
        while begin < until:
            latest = np.maximum.accumulate(shown[begin:until])
            early = np.flatnonzero(keys[begin + 1 : until] & (shown[begin + 1 : until] < latest[:-1]))
            if not len(early):
                break
            begin += 1 + int(early[0])
            found.append(begin)
    return found[1:]


def _limit(usual: float, joined: bool) -> float:
    return max(AHEAD_JOINED if joined else AHEAD, INTERVALS * usual)


def _joined(container: InputContainer) -> bool:
    return bool(container.format.flags & _TS_DISCONT)


def _tick(stream: VideoStream) -> float:
    assert stream.time_base is not None  # every stream of an open file has one
    return float(stream.time_base)


def _breaks_told(breaks: tuple[float, ...]) -> tuple[str, ...]:
    if not breaks:
        return ()
    places = ", ".join(f"{at:.2f}" for at in breaks[:5]) + (", ..." if len(breaks) > 5 else "")
    return (f"discontinuity: timestamps jump at {places} s; shots end there",)


def _hidden(hidden: np.ndarray) -> tuple[str, ...]:
    if not hidden.any():
        return ()
    return (f"hidden frames: an edit list hides {int(hidden.sum())} of {len(hidden)}",)
