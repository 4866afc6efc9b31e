"""The documents keep up with the code: configuration keys, links and commands that they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wildlam
from wildlam.cli import COMMANDS
from wildlam.config import RunConfig
from wildlam.config.parser import keys_of

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md") if path.exists()]
DOCUMENTS += sorted((ROOT / "docs").rglob("*.md"))
WITH_KEYS = [path for path in DOCUMENTS if path.name not in ("README.md", "CHANGELOG.md")]

PACKAGE = ROOT / "src" / "wildlam"
SOURCES = sorted(path for room in ("src", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py"))

KEY = re.compile(r"(?:--)?((?:data|encoder|model|training)(?:\.\w+)+)")
LINK = re.compile(r"\]\(([^)\s#]*)[^)]*\)|\b(?:src|href)=\"([^\"#]*)")
COMMAND = re.compile(r"\bwildlam +([a-z]\w*)")
MODULE = re.compile(r"(?<![\w./])wildlam\.(?!egg|store\b)([a-z]\w*)(?:\.([a-z]\w*))?")
EXAMPLES = ("NAME", "mine", "test_mine")  # of files that a reader would write
FILE = re.compile(r"(?<![\w./])((?:src|tests|benchmarks|configs|docs|examples)/[\w/]+\.(?:py|md|sh|yaml))\b")


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


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=relative)
def test_modules_and_files_of_this_repository_exist(path):
    text = path.read_text()
    assert not [".".join(name) for name in MODULE.findall(text) if not exists(*name)]
    assert not [file for file in FILE.findall(text) if not (ROOT / file).exists() and Path(file).stem not in EXAMPLES]


def exists(room: str, name: str) -> bool:
    """Whether wildlam has the room, or gives the name itself, and the room the module or name."""
    folder = PACKAGE / room
    if not folder.with_suffix(".py").exists() and not folder.is_dir():
        return hasattr(wildlam, room)
    if not name or (folder / f"{name}.py").exists() or (folder / name).is_dir():
        return True
    module = folder.with_suffix(".py") if folder.with_suffix(".py").exists() else folder / "__init__.py"
    return bool(re.search(rf"\b{name}\b", module.read_text()))


def test_the_patterns_find_what_is_wrong():
    text = "`wildlam trian` and\n\n    wildlam fly --data.path x\n\n```bash\nwildlam swim\n```\n[a](b.md#c)"
    assert {name for part in code(text) for name in COMMAND.findall(part)} == {"trian", "fly", "swim"}
    assert LINK.findall(text) == [("b.md", "")]
    assert KEY.fullmatch("--model.bottleneck.beat")
    assert not KEY.fullmatch("data/clips.py")
    text = "`wildlam.data.store`, `wildlam.models.idm.Idm`, `wildlam.lod(x)`, `wildlam.states.store`"
    wrong = [name for name in MODULE.findall(text) if not exists(*name)]
    assert wrong == [("data", "store"), ("models", "idm"), ("lod", "")]
    assert FILE.findall("`src/wildlam/data/x.py`") == ["src/wildlam/data/x.py"]
