"""Link into an environment what the wildlam installed there depends on, out of the environment of this Python.

python tests/link_requirements.py ENVIRONMENT [EXTRA...]
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def requirements(found: Distribution, extras: set[str]) -> list[Requirement]:
    """What ``found`` requires on this machine, with these extras."""
    declared = [Requirement(line) for line in found.requires or []]
    asked = [{"extra": extra} for extra in ("", *extras)]
    return [need for need in declared if not need.marker or any(need.marker.evaluate(extra) for extra in asked)]


def closure(found: Distribution, extras: set[str]) -> dict[str, Distribution]:
    """All that ``found`` requires, and what that requires, by canonical name."""
    seen: dict[tuple[str, frozenset[str]], Distribution] = {}
    todo = requirements(found, extras)
    while todo:
        need = todo.pop()
        key = canonicalize_name(need.name), frozenset(need.extras)
        if key not in seen:
            seen[key] = distribution(need.name)
            todo += requirements(seen[key], need.extras)
    return {name: found for (name, _), found in seen.items()}


def link(found: Distribution, site: Path) -> None:
    """Link the folders and files of a distribution that lie at the top of its environment's packages."""
    for name in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
        if not (site / name).exists():
            (site / name).symlink_to(Path(str(found.locate_file(name))).resolve())


if __name__ == "__main__":
    site = next(Path(sys.argv[1]).glob("lib/python*/site-packages"))
    (wheel,) = distributions(name="wildlam", path=[str(site)])
    for found in closure(wheel, set(sys.argv[2:])).values():
        link(found, site)
