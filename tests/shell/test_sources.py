"""Which pictures a shell user means by files, folders, patterns, URLs and standard input."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
from pathlib import Path, PurePath

import pytest

from enlarger.errors import InvalidUrl, UnreadableImage
from enlarger.shell import sources
from enlarger.shell.sources import Reader, Source, find


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``in`` with pictures, a folder of more of them, and what is none; it is in the current folder."""
    for name in (
        *("b.jpg", "a.PNG", "notes.txt", "deep/c.webp", "deep/a.png", "photo.heic", "scan.jfif"),
        *(".hidden.png", "._a.PNG", ".DS_Store", ".cache/x.png", "deep/film.mov"),
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def met(*inputs: str, leave_out: Path | None = None) -> list[str]:
    """Names of the pictures that inputs mean."""
    return [source.name for source in find(inputs, leave_out=leave_out).sources]


def test_folder_is_searched_to_the_bottom(folder: Path) -> None:
    """The files are found in the order of their names. Formats that cannot be read are found as well, so that they can be reported."""
    assert met("in") == [
        *("in/a.PNG", "in/b.jpg", "in/deep/a.png", "in/deep/c.webp"),
        *("in/photo.heic", "in/scan.jfif"),
    ]


def test_folders_below_may_be_left_out(folder: Path) -> None:
    """They are counted, so that nobody wonders where their pictures are."""
    below = find(["in"], recursive=False)
    assert [source.name for source in below.sources] == [
        source.name for source in find(["in"]).sources if len(source.place.parts) == 1
    ]
    assert ("in/deep", sources.SUBFOLDER) in below.skipped
    assert not any(name.startswith("in/deep/") for name, _ in below.skipped)


def test_everything_that_was_met_is_counted(folder: Path) -> None:
    """Each file that is no picture has its reason; a hidden folder counts once, and is not entered."""
    found = find(["in"])
    assert dict(found.skipped) == {
        "in/notes.txt": sources.NOT_A_PICTURE,
        "in/deep/film.mov": sources.NOT_A_PICTURE,
        "in/.hidden.png": sources.HIDDEN,
        "in/._a.PNG": sources.HIDDEN,
        "in/.DS_Store": sources.HIDDEN,
        "in/.cache": sources.HIDDEN,
    }
    assert sources.reasons(found.skipped) == "4 hidden, 2 not a picture"
    assert found.failures == ()


def test_file_that_is_named_may_be_called_anything(folder: Path) -> None:
    """Hidden, or without an ending: its user means it."""
    assert met("in/.hidden.png", "in/notes.txt") == ["in/.hidden.png", "in/notes.txt"]


def test_places_are_below_the_folder_that_was_named(folder: Path) -> None:
    """The place of a named file is its name. The folder's own names distinguish equal places."""
    found = {source.name: source for source in find(["in/deep", "in/b.jpg"]).sources}
    assert found["in/deep/a.png"].place == PurePath("a.png")
    assert found["in/deep/a.png"].root[:2] == ("deep", "in")
    assert found["in/b.jpg"].place == PurePath("b.jpg")
    assert found["in/b.jpg"].root[0] == "in"


def test_picture_that_is_named_twice_is_met_once(folder: Path) -> None:
    """By itself and by its folder, however the path is written."""
    found = find(["in/deep", "in/deep/a.png", "./in//deep/../deep/c.webp"])
    assert [source.name for source in found.sources] == ["in/deep/a.png", "in/deep/c.webp"]
    assert [reason for name, reason in found.skipped if "mov" not in name] == [
        sources.NAMED_TWICE
    ] * 2


def test_folder_of_results_is_not_searched(folder: Path) -> None:
    """A second run must not enlarge what the first made; however its path is written."""
    assert met("in", leave_out=folder / "deep" / ".." / "deep") == [
        *("in/a.PNG", "in/b.jpg", "in/photo.heic", "in/scan.jfif"),
    ]


def test_folder_that_is_that_of_results_itself_is_searched(folder: Path) -> None:
    """Its pictures were named; whether they are replaced is another question."""
    assert met("in/deep", leave_out=folder / "deep") == ["in/deep/a.png", "in/deep/c.webp"]


def test_pattern_that_the_shell_left_is_resolved(folder: Path) -> None:
    """As in quotes, or where the shell knows none."""
    assert met("in/*.jpg") == ["in/b.jpg"]
    assert met("in/**/*.png") == ["in/deep/a.png"]
    assert met("in/**") == [
        *("in/a.PNG", "in/b.jpg", "in/deep/a.png", "in/deep/c.webp", "in/deep/film.mov"),
        *("in/notes.txt", "in/photo.heic", "in/scan.jfif"),
    ]


def test_folder_that_a_pattern_matches_is_searched(folder: Path) -> None:
    """As if the shell had resolved it."""
    assert met("in/d*") == ["in/deep/a.png", "in/deep/c.webp"]


def test_file_that_is_called_like_a_pattern_is_a_file(folder: Path) -> None:
    """Brackets in names are common."""
    (folder / "cat[1].png").write_bytes(b"")
    assert met("in/cat[1].png") == ["in/cat[1].png"]


@pytest.mark.parametrize("name", ["in/none.png", "in/*.bmp", "in/b.jpg/x.png", "a\0b.png"])
def test_what_is_not_there_fails_by_itself(folder: Path, name: str) -> None:
    """The others are met all the same."""
    found = find([name, "in/b.jpg"])
    assert [source.name for source in found.sources] == ["in/b.jpg"]
    ((failed, error),) = [(failure.name, failure.error) for failure in found.failures]
    assert failed == name
    assert isinstance(error, UnreadableImage)
    assert str(error).startswith("cannot read '")


def test_link_that_leads_nowhere_fails(folder: Path) -> None:
    """It has the name of a picture, and there is none."""
    (folder / "lost.png").symlink_to("nowhere.png")
    assert [failure.name for failure in find(["in"]).failures] == ["in/lost.png"]


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    """One may lead back; links to files are files."""
    (folder / "deep" / "up").symlink_to("..")
    (folder / "link.png").symlink_to("a.PNG")
    found = find(["in"])
    assert "in/link.png" in [source.name for source in found.sources]
    assert ("in/deep/up", sources.LINK_TO_FOLDER) in found.skipped


def test_pipe_in_a_folder_is_not_read(folder: Path) -> None:
    """Nobody may ever write into it."""
    os.mkfifo(folder / "pipe.png")
    assert ("in/pipe.png", sources.NOT_A_FILE) in find(["in"]).skipped


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.example/x/cat%20one.jpg?size=large", "cat one.jpg"),
        ("http://a.example", "download"),
        ("http://a.example/%2e%2e", "download"),
        ("http://a.example/a%2F..%2F.hidden.png", "hidden.png"),
    ],
)
def test_url_has_the_name_of_its_last_part(url: str, name: str) -> None:
    """Never one that leads out of the folder of results."""
    (source,) = find([url]).sources
    assert (source.name, source.path, source.place) == (url, None, PurePath(name))


@pytest.mark.parametrize("url", ["ftp://a.example/cat.png", "file:///etc/passwd"])
def test_other_urls_are_refused_as_urls(url: str) -> None:
    """Not as files that are not there."""
    ((failure),) = find([url]).failures
    assert isinstance(failure.error, InvalidUrl)
    assert "http and https" in str(failure.error)


async def test_reader_reads_files_and_fetches_urls_once(tmp_path: Path) -> None:
    """A URL may be looked at before it is enlarged."""
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return b"from afar"

    (tmp_path / "a.png").write_bytes(b"a file")
    reader = Reader(fetch)
    url = Source("http://a.example/x", PurePath("x"))
    assert await reader.read(Source("a.png", PurePath("a.png"), tmp_path / "a.png")) == b"a file"
    assert [await reader.read(url), await reader.read(url)] == [b"from afar"] * 2
    assert fetched == ["http://a.example/x"]


async def test_reader_reads_a_pipe_once(tmp_path: Path) -> None:
    """As ``<(command)`` of the shell is one."""
    receiving, sending = os.pipe()
    os.write(sending, b"through a pipe")
    os.close(sending)
    source = Source("pipe", PurePath("pipe"), Path(f"/dev/fd/{receiving}"))
    reader = Reader()
    try:
        assert [await reader.read(source), await reader.read(source)] == [b"through a pipe"] * 2
    finally:
        os.close(receiving)


class Piped(io.TextIOWrapper):
    """A standard input."""


@pytest.mark.parametrize("data", [b"a picture", b""])
async def test_reader_reads_standard_input_once(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no bytes is no picture."""
    monkeypatch.setattr("sys.stdin", Piped(io.BytesIO(data)))
    reader, source = Reader(), Source("-", PurePath("stdin"))
    if data:
        assert [await reader.read(source), await reader.read(source)] == [data] * 2
    else:
        with pytest.raises(UnreadableImage, match="standard input is empty"):
            await reader.read(source)


@pytest.mark.parametrize("url", ["http://[::1", "http://a]b/"])
def test_url_that_is_none_costs_itself_alone(folder: Path, url: str) -> None:
    """It is refused as a URL, and the others are met."""
    found = find([url, "in/b.jpg"])
    assert [source.name for source in found.sources] == ["in/b.jpg"]
    assert isinstance(found.failures[0].error, InvalidUrl)


def test_empty_name_is_no_folder(folder: Path) -> None:
    """As a variable that was not set leaves it."""
    (failure,) = find([""]).failures
    assert str(failure.error) == "cannot read '': the name is empty"


def test_folders_may_be_nested_deeper_than_calls(tmp_path: Path) -> None:
    """One odd folder costs no picture."""
    (tmp_path / "top.png").write_bytes(b"")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("bottom.png", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    found = [source.place.name for source in find([str(tmp_path)]).sources]
    # Here, since pytest's own way to remove it is by recursion.
    subprocess.run(["/bin/rm", "-rf", str(tmp_path / "d")], check=True)
    assert sorted(found) == ["bottom.png", "top.png"]


async def test_devices_and_endless_files_are_not_read(tmp_path: Path) -> None:
    """Rather than until there is no memory."""
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", sources.MOST_BYTES + 1)
    for path, text in (
        (Path("/dev/zero"), "it is a device"),
        (tmp_path / "huge.png", "up to 1.1 GB"),
    ):
        with pytest.raises(UnreadableImage, match=text):
            await Reader().read(Source(str(path), PurePath(path.name), path))


async def test_waiting_for_standard_input_can_be_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing may ever come; the thread that waits does not hold the process."""
    receiving, sending = os.pipe()
    with os.fdopen(receiving) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        reading = asyncio.create_task(Reader().read(Source("-", PurePath("stdin"))))
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        os.close(sending)
        await asyncio.sleep(0.1)


async def test_file_that_went_away_is_unreadable(tmp_path: Path) -> None:
    """In words, with its name."""
    source = Source("x.png", PurePath("x.png"), tmp_path / "x.png")
    with pytest.raises(UnreadableImage, match=r"cannot read '.*x.png': No such file or directory"):
        await Reader().read(source)
