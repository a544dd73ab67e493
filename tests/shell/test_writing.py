"""Results on disk: whole or not at all, in the place of another file only where the user said so."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

import pytest

from enlarger.errors import UnwritableFile
from enlarger.shell.writing import written_aside


def files(folder: Path) -> set[str]:
    """Names of all that is in a folder, hidden files too."""
    return {path.name for path in folder.iterdir()}


def write(target: Path | None, data: bytes = b"new", *, overwrite: bool = False) -> None:
    """A result."""
    with written_aside(target, overwrite=overwrite) as aside:
        aside.write_bytes(data)


def test_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    """Not before; its folder is made."""
    target = tmp_path / "deep" / "x.png"
    with written_aside(target, overwrite=False) as aside:
        aside.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert files(target.parent) == {"x.png"}


def test_file_has_the_usual_permissions(tmp_path: Path) -> None:
    """Those of any new file of this user."""
    write(tmp_path / "x.png")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_work_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """And what it raised is what is seen."""
    with pytest.raises(RuntimeError, match="the cause"):
        _fail(tmp_path / "x.png")
    assert files(tmp_path) == set()


def _fail(target: Path) -> None:
    with written_aside(target, overwrite=False) as aside:
        aside.write_bytes(b"half")
        raise RuntimeError("the cause")


def test_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """Nobody saw it before the work; what the user may do is said."""
    target = tmp_path / "x.png"
    with pytest.raises(UnwritableFile, match="not when the work began; --overwrite replaces it"):
        _meanwhile(target)
    assert target.read_bytes() == b"somebody else's"
    assert files(tmp_path) == {"x.png"}


def _meanwhile(target: Path) -> None:
    with written_aside(target, overwrite=False) as aside:
        aside.write_bytes(b"new")
        target.write_bytes(b"somebody else's")


@pytest.mark.parametrize("is_there", [True, False])
def test_file_systems_without_links_keep_the_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    """FAT is an example; it fails with EPERM."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    target = tmp_path / "x.png"
    if is_there:
        target.write_bytes(b"old")
        with pytest.raises(UnwritableFile, match="it is there already"):
            write(target)
        assert target.read_bytes() == b"old"
    else:
        write(target)
        assert target.read_bytes() == b"new"
    assert files(tmp_path) == {"x.png"}


def test_file_is_replaced_if_asked_and_keeps_its_permissions(tmp_path: Path) -> None:
    """Whole or not at all."""
    target = tmp_path / "x.png"
    target.write_bytes(b"old")
    target.chmod(0o640)
    write(target, overwrite=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    with pytest.raises(RuntimeError):
        _fail_over(target)
    assert target.read_bytes() == b"new"
    assert files(tmp_path) == {"x.png"}


def _fail_over(target: Path) -> None:
    with written_aside(target, overwrite=True) as aside:
        aside.write_bytes(b"half")
        raise RuntimeError


def test_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.png").write_bytes(b"old")
    (tmp_path / "x.png").symlink_to("far/x.png")
    write(tmp_path / "x.png", overwrite=True)
    assert (tmp_path / "x.png").is_symlink()
    assert (tmp_path / "far" / "x.png").read_bytes() == b"new"


@pytest.mark.parametrize("overwrite", [True, False])
def test_name_may_be_as_long_as_names_can_be(tmp_path: Path, overwrite: bool) -> None:
    """What is written aside has a name of its own."""
    target = tmp_path / ("x" * 251 + ".png")
    write(target, overwrite=overwrite)
    assert files(tmp_path) == {target.name}


def test_what_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    """A folder below a file: no second error hides the first."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnwritableFile, match=r"cannot write '.*x.png': "):
        write(tmp_path / "file" / "out" / "x.png")
    with pytest.raises(UnwritableFile, match=r"cannot write '.*png': File name too long"):
        write(tmp_path / ("x" * 252 + ".png"))


class Output:
    """A standard output."""

    def __init__(self, buffer: io.RawIOBase | io.BytesIO) -> None:
        self.buffer = buffer


def test_standard_output_gets_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, and nothing else."""
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", Output(out))
    write(None, b"a picture")
    assert out.getvalue() == b"a picture"


class Closed(io.RawIOBase):
    """A reader that has gone."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_reader_that_went_away_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``head`` does."""
    monkeypatch.setattr("sys.stdout", Output(Closed()))
    with pytest.raises(UnwritableFile, match="cannot write 'standard output': Broken pipe"):
        write(None)
