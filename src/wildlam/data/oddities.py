"""What is odd about videos, and which belong together: what an index tells of them, in lines and in rows."""

from __future__ import annotations

from collections import Counter

from wildlam.data.manifest import Manifest


def oddities(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Path, kind and details of each oddity, in the manifest's order; of a copy, which video it is a copy of."""
    columns = (manifest.column(name).to_pylist() for name in ("path", "odd", "copy_of"))
    found: list[tuple[str, str, str]] = []
    for path, odds, first in zip(*columns, strict=True):
        for odd in odds or ():
            kind, details = odd.split(": ", 1)
            found.append((path, kind, details))
        if first not in (None, path):
            found.append((path, "copy", f"the same bytes as {first}, or encoded anew"))
    return found


def summary(manifest: Manifest) -> list[str]:
    """A line for each kind of oddity, with how many there are and an example, and one for recordings."""
    odd = oddities(manifest)
    lines = []
    for kind, count in Counter(kind for _, kind, _ in odd).most_common():
        path, details = next((path, details) for path, kinds, details in odd if kinds == kind)
        lines.append(f"{kind}: {count} ({path}: {details})")
    pairs = zip(manifest.column("path").to_pylist(), manifest.recordings().to_pylist(), strict=True)
    if several := [(path, first) for path, first in pairs if path != first]:
        count = len({first for _, first in several})
        path, first = several[0]
        lines.append(
            f"recordings of several videos (cameras, parts, copies): {count}, of {len(several) + count} videos, each "
            f"split as one ({first}, {path})"
        )
    return lines
