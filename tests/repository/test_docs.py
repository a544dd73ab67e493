"""The documentation says what the code does: settings, errors, routes, commands, models, links."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import typer.main
from support.log_calls import LogCall, log_calls
from support.places import REFERENCE, REPOSITORY, TESTS

import enlarger
from enlarger import cli
from enlarger.api.dialects import automatic1111, cog
from enlarger.api.dialects.model_names import ALIASES
from enlarger.api.document.openapi import document
from enlarger.api.routes import COMPATIBLE, ROUTES
from enlarger.config import GROUPS
from enlarger.errors import EnlargerError
from enlarger.models import Catalogue
from enlarger.options import Options
from enlarger.picture.values import FORMATS

FOLDERS = ("benchmarks", "chaos", "docs")
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(page for name in FOLDERS for page in (REPOSITORY / name).rglob("*.md")),
    ]
)

ABSTRACT = {"invalid_request", "no_capacity", "engine_error", "client_error"}
"""Codes of classes that are never raised themselves."""


def page(name: str) -> str:
    """A reference page."""
    return (REFERENCE / name).read_text()


def rows(text: str) -> dict[str, list[str]]:
    """The table rows of a page by the code in their first cell."""
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in found}


def codes() -> set[str]:
    """The codes of all error classes."""
    found, pending = set(), [EnlargerError]
    while pending:
        cls = pending.pop()
        found.add(cls.code)
        pending += cls.__subclasses__()
    return found - ABSTRACT


def heading_anchors(text: str) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


SETTINGS = {name: field for group in GROUPS.values() for name, field in group.model_fields.items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """By its variable; where the default is a plain value, that value."""
    field = SETTINGS[name]
    row = rows(page("settings.md")).get(str(field.validation_alias))
    assert row is not None, f"docs/reference/settings.md lacks {field.validation_alias}"
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    if default not in (None, ""):
        assert row[0] == f"`{default}`"


def test_no_documented_setting_is_gone() -> None:
    """The page lists what there is, and the variables of other programs that we read."""
    known = {str(field.validation_alias) for field in SETTINGS.values()}
    assert set(rows(page("settings.md"))) == known | {"NO_COLOR", "XDG_CACHE_HOME"}


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_error_is_documented(code: str) -> None:
    """By its code."""
    assert f"`{code}`" in page("errors.md")


@pytest.mark.parametrize(
    "path",
    [
        route.path.partition("<")[0]
        for route in ROUTES
        if route.contract is COMPATIBLE and route.handler.startswith("compatible.")
    ],
)
def test_every_compatible_route_has_a_heading(path: str) -> None:
    """The others are in the OpenAPI document."""
    assert re.search(rf"^## .*{path}", page("http-api.md"), re.MULTILINE)


def test_dialects_are_documented() -> None:
    """Their routes, their fields, and every name that a model has in them."""
    text = page("dialects.md")
    names = ("automatic1111.", "cog.predict", "localai.")
    paths = [route.path for route in ROUTES if route.charged and route.handler.startswith(names)]
    routes = [rule.rpartition("/v1/models/<owner>/<name>/")[2] for rule in paths]
    fields = [*automatic1111.COMMON, *cog.OWN_FIELDS]
    for name in (*routes, *fields, *(name for names in ALIASES.values() for name in names)):
        assert re.search(rf"[`/ ]{re.escape(name)}[`,]", text), name


def test_every_metric_is_documented() -> None:
    """By the name that Prometheus shows."""
    sources = [
        REPOSITORY / "src/enlarger" / name
        for name in ("api/metrics.py", "asgi/metrics.py", "model_server/server.py")
    ]
    source = "".join(path.read_text() for path in sources)
    names = re.findall(r'\(\s*"(?:enlarger_)?(\w+)",\s*"[A-Z]', source)
    assert len(names) == 29
    for name in names:
        assert f"`enlarger_{name}" in page("metrics.md"), name


def documented_events() -> dict[str, tuple[str, str]]:
    """Levels and fields of each event of the page about logs; those of all rows that it has."""
    found: dict[str, tuple[str, str]] = {}
    for names, levels, fields in re.findall(
        r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| ([a-z, ]+) \|([^|]*)\|",
        page("log-events.md"),
        re.MULTILINE,
    ):
        for name in re.findall(r"`(\w+)`", names):
            before = found.get(name, ("", ""))
            found[name] = (before[0] + levels, before[1] + fields)
    return found


EVENTS = documented_events()


@pytest.mark.parametrize("call", log_calls(), ids=lambda call: call.place)
def test_every_event_of_the_log_is_documented(call: LogCall) -> None:
    """With its level, and with every field that its line has."""
    assert call.event in EVENTS, f"{call.place}: docs/reference/log-events.md lacks {call.event}"
    levels, fields = EVENTS[call.event]
    assert call.level.replace("exception", "error") in levels
    for field in call.fields - {"exc_info"}:
        assert f"`{field}`" in fields, f"docs/reference/log-events.md lacks {field} of {call.event}"


def test_no_documented_event_is_gone() -> None:
    """The page lists what there is, and the one event that is made of other programs' lines."""
    assert set(EVENTS) == {call.event for call in log_calls()} | {"library"}


def test_every_command_is_mentioned() -> None:
    """In the changelog, which users read first."""
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    assert set(commands) == {
        "upscale",
        "serve",
        "model-server",
        "models",
        "key",
        "sign",
        "jobs",
        "devices",
        "doctor",
        "man",
        "mcp",
        "ray",
    }
    assert all(f"enlarger {name}" in text for name in commands)


def test_every_installed_model_is_documented() -> None:
    """With its computing per pixel and its licence."""
    documented = rows(page("models.md"))
    installed = Catalogue.installed(Path("models-that-are-not-there"))
    assert {model.id for model in installed} == set(documented)
    for model in installed:
        scale, _, _, mflop, licence = documented[model.id]
        assert (int(scale), licence) == (model.scale, model.licence)
        assert float(mflop) == pytest.approx(model.mflop_per_px, rel=0.005)


def test_version_is_the_newest_in_the_changelog() -> None:
    """A release has its notes."""
    newest = re.search(r"^## \[([^\]]+)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == enlarger.__version__


def test_readme_commands_exist() -> None:
    """What the README asks a newcomer to type is a target, a command, or curl."""
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = (REPOSITORY / "README.md").read_text()
    asked = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert {"serve", "test"} <= asked <= targets
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(re.findall(r"\.venv/bin/([a-z]+)", text)) == set(scripts)


def test_one_file_is_run_as_contributors_are_told() -> None:
    """The pages say how long all of it takes, and the file of the example is there."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    assert re.search(r"all tests: about \d+ minutes on two cores", text)
    files = re.findall(r'make test ARGS="?(tests/[\w/]+\.py)', text)
    assert files
    assert all((REPOSITORY / file).is_file() for file in files)


def test_ci_runs_the_test_command_of_the_readme_last() -> None:
    """So that the last line of CI is pytest's closing line."""
    lines = (REPOSITORY / ".ci" / "run").read_text().strip().splitlines()
    assert lines[-1].endswith("make test")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(path: Path) -> None:
    """Files that a page links to are there, and so are their headings."""
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in heading_anchors(linked.read_text()), target


NOT_PLAIN = re.compile(
    r"to be had|\bit is none\b|such a one|\bprocessors?\b|\b[Ee]nlarg(?:e|es|ed|ing|ement)\b"
    r"|(?:^|[.:] |\| |\*\* )(?:Of|Who|Whoever) ",
    re.MULTILINE,
)
"""What readers stumbled over, and words for which the documentation has another one: CPU, upscale."""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_pages_are_in_plain_words(path: Path) -> None:
    """Outside code, which is quoted as it is; the changelog is history."""
    if path.name != "CHANGELOG.md":
        text = re.sub(r"^( *)```.*?^\1```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert NOT_PLAIN.findall(re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)) == []


def texts_of(part: object) -> Iterator[str]:
    """Yield the summaries and descriptions of an OpenAPI document."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("summary", "description") and isinstance(value, str):
                yield value
            else:
                yield from texts_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts_of(value)


def test_texts_of_the_api_are_in_plain_words() -> None:
    """Those of the OpenAPI document, which the page, the generated clients and language models read as well."""
    an_answer = re.compile(r"\b(?:the|an|every|each|first|of|no) answers?\b", re.IGNORECASE)
    plain = [re.sub(r"`[^`]*`", "", text) for text in texts_of(document())]
    assert len(plain) > 500
    for words in (NOT_PLAIN, NOT_FLUENT, an_answer):
        assert [text for text in plain if words.search(text)] == []


PYTHON_FOLDERS = ("src", "tests", "benchmarks", "chaos", "fuzz", "scripts")
"""Folders whose docstrings, help texts and comments are checked for their language."""

PYTHON_FILES = sorted(path for name in PYTHON_FOLDERS for path in (REPOSITORY / name).rglob("*.py"))

NOT_FLUENT = re.compile(
    r"(?:^|[.:;] )(?:Of|Who|Whoever|Such|To be) "
    r"|\b(?:to be had|it is none|somebody|that there is not|such a one)\b",
    re.MULTILINE,
)
"""Openings and phrases that are not English as readers speak it."""


def prose_of(source: str) -> Iterator[str]:
    """Yield the docstrings, help texts and comments of a Python file, each as one line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Expr, ast.keyword)):
            is_prose = isinstance(node, ast.Expr) or node.arg == "help"
            if is_prose and isinstance(node.value, ast.Constant):
                for paragraph in str(node.value.value).split("\n\n"):
                    yield " ".join(paragraph.split())
    comment: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comment.append(token.string.lstrip("# "))
        elif token.type != tokenize.NL and comment:
            yield " ".join(comment)
            comment = []


@pytest.mark.parametrize("path", PYTHON_FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_docstrings_and_comments_are_in_plain_words(path: Path) -> None:
    """No docstring, help text or comment of any Python file has such an opening or phrase."""
    assert [text for text in prose_of(path.read_text()) if NOT_FLUENT.search(text)] == []


@pytest.mark.parametrize(
    "source",
    [
        '"""Of the file, in hexadecimal digits."""',
        'def f():\n    """Does it. Who asks again gets it."""',
        'x = 1\n"""The picture, unless it is none."""',
        "x = 1  # To be done next",
        "# A reason, which\n# somebody\n# wrote.",
        'typer.Option(help="Such as scale=4.")',
    ],
)
def test_prose_of_finds_each_kind_of_text(source: str) -> None:
    """Docstrings, attributes' texts, comments over several lines, and help texts."""
    assert any(NOT_FLUENT.search(text) for text in prose_of(source))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_above_is_above_and_below_is_below(path: Path) -> None:
    """A link that says where its heading is says it rightly."""
    text = path.read_text()
    headings = {
        anchor: match.start()
        for match in re.finditer(r"^#+ .+$", text, re.MULTILINE)
        for anchor in heading_anchors(match[0])
    }
    for link in re.finditer(r"\[[^\]]*\b(above|below)\b[^\]]*\]\(#([^)]+)\)", text):
        assert (headings[link[2]] < link.start()) == (link[1] == "above"), link[0]


def test_formats_are_the_same_wherever_they_are_listed() -> None:
    """Those that are read and written are listed once, and the example of ``/status`` has those that are read."""
    text = page("http-api.md")
    lines = [
        re.findall(rf"^- {word}: (PNG, JPEG, .*?)\.", text, re.MULTILINE)
        for word in ("Read", "Written")
    ]
    read, written = (set(re.findall("[A-Z]{3,}[a-z]?|WebP", line)) for (line,) in lines)
    assert {name.lower() for name in read} == set(FORMATS)
    kinds = get_args(get_args(Options.model_fields["format"].annotation)[0])
    assert {name.lower() for name in written} == {*kinds} - {"auto"}
    (shown,) = re.findall(r'"supported_formats": (\[[^\]]*\])', text)
    names = {"jpeg": ("jpg", "jpeg")}
    assert json.loads(shown) == [one for name in FORMATS for one in names.get(name, (name,))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_tests_that_a_page_cites_exist(path: Path) -> None:
    """A promise names the test that shows it."""
    for file, name in re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", path.read_text()):
        (found,) = TESTS.rglob(file)
        text = found.read_text()
        assert not name or f"def {name}(" in text, f"{file}::{name}"
