"""The report of an index: oddities of videos and common recordings, in lines and in rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow.compute as pc

from wildlam.video.manifest import Manifest


def oddities(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Path, kind and details of each oddity, in the manifest's order; of a copy, which video it is a copy of."""
    # Of millions of videos few are odd: only those become Python's objects.
    counts = pc.fill_null(pc.list_value_length(manifest.column("odd")), 0)
    copies = pc.fill_null(pc.not_equal(manifest.column("copy_of"), manifest.column("path")), False)
    rows = np.flatnonzero(pc.or_(pc.greater(counts, 0), copies).to_numpy())
    found: list[tuple[str, str, str]] = []
    for row in manifest.take(rows, ["path", "odd", "copy_of"]).to_pylist():
        path, first = row["path"], row["copy_of"]
        for odd in row["odd"] or ():
            kind, details = odd.split(": ", 1)
            found.append((path, kind, details))
        if first not in (None, path):
            found.append((path, "copy", f"the same bytes as {first}, or encoded again"))
    return found


def summary(manifest: Manifest) -> list[str]:
    """A line for each kind of oddity, with how many there are and an example, and one for recordings."""
    odd = oddities(manifest)
    lines = []
    for kind, count in Counter(kind for _, kind, _ in odd).most_common():
        path, details = next((path, details) for path, kinds, details in odd if kinds == kind)
        lines.append(f"{kind}: {count} ({path}: {details})")
    rows = np.flatnonzero(pc.not_equal(manifest.recordings(), manifest.column("path")).to_numpy())
    found = manifest.take(rows, ["path", "recording"]).to_pylist()
    if several := [(row["path"], row["recording"]) for row in found]:
        count = len({first for _, first in several})
        path, first = several[0]
        lines.append(
            f"recordings of several videos (cameras, parts, copies): {count}, of {len(several) + count} videos, each "
            f"split as one ({first}, {path})"
        )
    return lines
