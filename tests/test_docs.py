"""The documents keep up with the code: configuration keys, links and commands that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wildlam.cli import COMMANDS
from wildlam.config import RunConfig
from wildlam.config.parser import keys_of

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md") if path.exists()]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
WITH_KEYS = [path for path in DOCUMENTS if path.name not in ("README.md", "CHANGELOG.md")]

KEY = re.compile(r"(?:--)?((?:data|encoder|model|training)(?:\.\w+)+)")
LINK = re.compile(r"\]\(([^)\s#]*)[^)]*\)|\b(?:src|href)=\"([^\"#]*)")
COMMAND = re.compile(r"\bwildlam +([a-z]\w*)")


def code(text: str) -> list[str]:
    """What stands in backticks, in fences or indented by four spaces."""
    fenced = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4,}(?![-*\d])(.*)$", rest, flags=re.MULTILINE)
    return [*fenced, *indented, *(" ".join(part.split()) for part in re.findall(r"`([^`]+)`", rest))]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_documents_are_found():
    assert {"docs/concepts.md", "CONTRIBUTING.md"} <= {relative(path) for path in WITH_KEYS}


@pytest.mark.parametrize("path", WITH_KEYS, ids=relative)
def test_configuration_keys_exist(path):
    inline = re.findall(r"`([^`\n]+)`", path.read_text())
    keys = {match[1] for part in inline for word in part.split() if (match := KEY.fullmatch(word.split("=")[0]))}
    assert keys <= set(keys_of(RunConfig))
    if path.name == "concepts.md":
        assert len(keys) > 20  # the pattern still finds them


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_relative_links_lead_to_files(path):
    targets = {one or other for one, other in LINK.findall(path.read_text())}
    local = {target for target in targets if target and not re.match(r"[a-z]+:", target)}
    assert not [target for target in local if not (path.parent / target).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=relative)
def test_commands_exist(path):
    named = {name for part in code(path.read_text()) for name in COMMAND.findall(part)}
    assert named <= COMMANDS.keys()


def test_the_patterns_find_what_is_wrong():
    text = "`wildlam trian` and\n\n    wildlam fly --data.path x\n\n```bash\nwildlam swim\n```\n[a](b.md#c)"
    assert {name for part in code(text) for name in COMMAND.findall(part)} == {"trian", "fly", "swim"}
    assert LINK.findall(text) == [("b.md", "")]
    assert KEY.fullmatch("--model.bottleneck.beat")
    assert not KEY.fullmatch("data/clips.py")
