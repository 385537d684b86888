"""The code blocks of the documents, and what is done with one of each language.

A block may be left out, with the reason in its place: ``<!-- skip: next "there is no crate" -->`` above it. Below
``<!-- numbers: vary -->`` the numbers that a console shows are not compared.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import SkipTest

import yaml
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.skip import Skipper
from sybil.parsers.markdown import CodeBlockParser, SkipParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer

from tests.documents.shell import Shell

ROOT = Path(__file__).parents[2]
# The file to which a page may add, which is no configuration
MESSAGES = "docs/messages.yaml"
# What a block of YAML is laid over before it is checked: it may show a part of a configuration
AROUND = """
prefix: "LAB:"
instruments:
  HV1: {driver: caen, system: SY1527, link: TCPIP, host: crate}
  TC1: {driver: se521}
  GEN: {driver: technix, port: ./line, full_scale: {voltage_kv: 100, current_ma: 50}, polarity: negative}
archive: {database: "sqlite:///rack.sqlite", pvs: ["LAB:*"]}
"""


@dataclass
class Result:
    """What became of a page's blocks."""

    ran: int = 0
    left_out: list[str] = field(default_factory=list)


def pages() -> list[str]:
    """Return the documents of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(name for name in listed.stdout.split() if (ROOT / name).exists())


def run(page: str, shell: Shell) -> Result:
    """Run the blocks of a page in order. Raises AssertionError with the page and line of the first that fails."""
    document = SYBIL.parse(ROOT / page)
    document.namespace["shell"] = shell
    result = Result()
    for example in document.examples():
        counts = not isinstance(example.region.evaluator, Skipper | _Numbers)
        try:
            example.evaluate()
            result.ran += counts
        except SkipTest as reason:
            result.left_out.append(f"{page}:{example.line}: {reason}")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise AssertionError(f"{page}:{example.line}: {error}") from None
    return result


def _console(example: Example) -> None:
    vary = example.namespace.pop("numbers_vary", False)
    _shell(example).type(example.parsed, numbers_vary=vary)


def _bash(example: Example) -> None:
    for line in example.parsed.replace("\\\n", " ").splitlines():
        _shell(example).type(f"$ {line}")


def _crontab(example: Example) -> None:
    """Run what cron would: behind the five words of the time, with its percent signs."""
    command = example.parsed.split(maxsplit=5)[5].replace("\\%", "%")
    _shell(example).type(f"$ {command}")


def _yaml(example: Example) -> None:
    """Check it as a configuration; one that is headed by a file's name becomes that file, or is added to it."""
    shell = _shell(example)
    if _file(example) == MESSAGES:
        with (shell.folder / MESSAGES).open("a", encoding="utf-8") as out:
            out.write(example.parsed)
        return
    text = shell.here(example.parsed)
    name = _file(example) or "block.yaml"
    if not ("\ninstruments:" in text and "prefix:" in text):
        text = yaml.serialize(_over(yaml.compose(AROUND), yaml.compose(text)))
    (shell.folder / name).write_text(text, encoding="utf-8")
    passwords = "".join(f"$ export {name}=...\n" for name in re.findall(r"\$\{(\w+)\}", text))
    shell.type(f"{passwords}$ rackioc check {name}")


def _python(example: Example) -> None:
    """Write the file that its heading names, or run it as a notebook would."""
    shell = _shell(example)
    name = _file(example)
    if name:
        assert not (shell.folder / name).exists()
        (shell.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shell.folder / name).write_text(example.parsed, encoding="utf-8")
        return
    (shell.folder / "block.py").write_text(example.parsed, encoding="utf-8")
    shell.type(f"$ MPLBACKEND=Agg {sys.executable} -P block.py")


def _sql(example: Example) -> None:
    shell = _shell(example)
    for statement in shell.here(example.parsed).split(";")[:-1]:
        shell.sql(statement)


LANGUAGES = {
    "bash": _bash, "console": _console, "crontab": _crontab, "properties": None,
    "python": _python, "sql": _sql, "yaml": _yaml,
}  # fmt: skip


class _Numbers:
    """The directive that lets the numbers of the next console vary."""

    def __call__(self, example: Example) -> None:
        example.namespace["numbers_vary"] = True


def _numbers(document: Document) -> Iterable[Region]:
    for lexed in DirectiveInHTMLCommentLexer("numbers", "vary")(document):
        yield Region(lexed.start, lexed.end, None, _Numbers())


def _shell(example: Example) -> Shell:
    shell: Shell = example.namespace["shell"]
    return shell


def _file(example: Example) -> str:
    """Return the file that the block's first line or the heading above names ("The driver: `drivers/gauge.py`")."""
    above = re.findall(r"(?m)^#+ .*$", example.document.text[: example.start])
    named = re.findall(r"`([\w/]+\.(?:py|yaml))`", above[-1]) if above else []
    commented = re.match(r"# ([\w-]+\.yaml)\n", example.parsed)
    return commented[1] if commented else "".join(named[:1])


def _over(whole: yaml.Node | None, part: yaml.Node | None) -> yaml.Node | None:
    """Return a configuration with a part laid over it, key by key; each scalar stays as it was written."""
    if not (isinstance(whole, yaml.MappingNode) and isinstance(part, yaml.MappingNode)):
        return part
    pairs = {key.value: (key, value) for key, value in whole.value}
    for key, value in part.value:
        pairs[key.value] = (key, _over(pairs[key.value][1], value) if key.value in pairs else value)
    return yaml.MappingNode(whole.tag, list(pairs.values()), flow_style=False)


def _left(example: Example) -> None:
    raise AssertionError("a block of this language is to be left out with a reason")


SYBIL = Sybil(
    parsers=[
        *(CodeBlockParser(language, evaluator or _left) for language, evaluator in LANGUAGES.items()),
        SkipParser(),
        _numbers,
    ]
)
