"""Real runs of the command on a user's folder of pictures: each picture is independent of the others."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support import unprivileged
from support.fakes import nearest
from support.oracles import lanczos_to
from support.pictures import GRAY, RGB, encoded, noise, oriented, png
from support.shell_runs import DEEP, PHOTO, command, read, run, tree

ORIENTATION, SOFTWARE, USER_COMMENT, EXIF_IFD = 0x0112, 0x0131, 0x9286, 0x8769


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user with the models and settings of the tests."""
    return {**os.environ, **environment}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``album`` with pictures of several kinds, one that is none, and a text."""
    folder = tmp_path_factory.mktemp("shell")
    album = folder / "album"
    (album / "deep").mkdir(parents=True)
    (album / "a.png").write_bytes(encoded(PHOTO))
    (album / "b.webp").write_bytes(encoded(PHOTO, "WEBP", lossless=True))
    (album / "broken.png").write_bytes(encoded(PHOTO)[:300])
    (album / "deep" / "wide.png").write_bytes(png(DEEP, colour=RGB, depth_bits=16))
    (album / "readme.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def album(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The whole album, each picture in its own format."""
    return run(folder, environment, "album", "large", "--format", "auto", "--quality", "100")


def test_one_bad_file_never_stops_the_rest(
    folder: Path, album: subprocess.CompletedProcess[str]
) -> None:
    """All others are there; the failure is named, counted, and seen in the exit status."""
    found = {str(path.relative_to(folder / "large")) for path in (folder / "large").rglob("*.*")}
    assert found == {"a.png", "b.webp", "deep/wide.png"}
    lines = album.stderr.strip().splitlines()
    assert "enlarger: 'album/broken.png': the file is broken or cut short" in lines
    assert "skipped, not a picture: album/readme.txt" in lines
    assert lines[-1].startswith("3 upscaled, 1 skipped (1 not a picture), 1 failed, ")
    assert (album.returncode, album.stdout) == (1, "")


def test_results_have_their_pictures_depth(
    folder: Path, album: subprocess.CompletedProcess[str]
) -> None:
    """8 bits and 16 bits, exactly, from file to file."""
    assert np.array_equal(read(folder / "large" / "a.png"), nearest(PHOTO, 4))
    wide = imagecodecs.png_decode((folder / "large" / "deep" / "wide.png").read_bytes())
    assert np.array_equal(wide, nearest(DEEP, 4))


def test_results_that_are_there_are_skipped_if_asked(
    folder: Path, album: subprocess.CompletedProcess[str], environment: dict[str, str]
) -> None:
    """So a run that was stopped can go on."""
    before = (folder / "large" / "a.png").stat().st_mtime_ns
    again = run(folder, environment, "album", "large", "--format", "auto", "--skip-existing")
    assert (
        again.stderr.strip()
        .splitlines()[-1]
        .startswith("0 upscaled, 4 skipped (3 there already, 1 not a picture), 1 failed, ")
    )
    assert (folder / "large" / "a.png").stat().st_mtime_ns == before


def test_size_format_and_metadata_are_as_asked(tmp_path: Path, environment: dict[str, str]) -> None:
    """A turned photo by its long side: upright, of exactly that size, its EXIF kept, with where it came from."""
    (tmp_path / "in.png").write_bytes(oriented(PHOTO, 6, "PNG"))
    done = run(tmp_path, environment, "in.png", "out.tiff", "--long-side", "77", "--provenance")
    assert done.returncode == 0, done.stderr
    upright = np.rot90(PHOTO, -1)
    expected = lanczos_to(nearest(upright, 4), 51, 77)
    assert np.abs(read(tmp_path / "out.tiff") - expected).max() <= 0.51
    with Image.open(tmp_path / "out.tiff") as image:
        exif = image.getexif()
        assert exif.get(ORIENTATION, 1) == 1
        comment = exif.get_ifd(EXIF_IFD)[USER_COMMENT]
    facts = json.loads(comment[comment.index(b"{") :].decode())
    assert (facts["model"], facts["width"], facts["height"]) == ("nearest", 51, 77)


def test_region_is_cut_out(tmp_path: Path, environment: dict[str, str]) -> None:
    """With the pixels of the whole."""
    (tmp_path / "in.png").write_bytes(png(PHOTO[:, :, :1], colour=GRAY, depth_bits=8))
    done = run(tmp_path, environment, "in.png", "out.png", "--region", "5,4,10,8")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read(tmp_path / "out.png"), nearest(PHOTO[4:12, 5:15, 0], 4))


def test_alpha_into_jpeg_needs_a_background(tmp_path: Path, environment: dict[str, str]) -> None:
    """Refused before the work, with what to do; and done when it is there."""
    clear = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 128, np.uint8)])
    (tmp_path / "in.png").write_bytes(encoded(clear))
    refused = run(tmp_path, environment, "in.png", "out.jpg")
    assert refused.returncode == 2
    assert "Invalid background" in refused.stderr
    assert "#ffffff" in refused.stderr
    assert not (tmp_path / "out.jpg").exists()
    done = run(
        tmp_path, environment, "in.png", "out.jpg", "--background", "#ffffff", "--quality", "100"
    )
    assert done.returncode == 0, done.stderr
    mixed = nearest((PHOTO.astype(int) + 255) // 2, 4)
    assert np.abs(read(tmp_path / "out.jpg").astype(int) - mixed).mean() < 2


# One picture never stops the others, and none is passed over in silence


def test_every_file_is_counted(tmp_path: Path, environment: dict[str, str]) -> None:
    """Pictures by names that are less usual, pictures that are not read, and what is no picture."""
    for name in ("a.jfif", "b.jpe", "c.JIF"):
        (tmp_path / name).write_bytes(encoded(PHOTO, "JPEG"))
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    for name in ("._a.jfif", ".DS_Store", "notes.txt", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"something else")
    (tmp_path / "lost.png").symlink_to("nowhere")
    done = run(tmp_path, environment, ".", "out/")
    lines = done.stderr.splitlines()
    assert set(tree(tmp_path / "out")) == {"a.png", "b.png", "c.png"}
    assert any(line.startswith("enlarger: 'd.heic': ") for line in lines)
    assert "enlarger: cannot read 'lost.png': No such file or directory" in lines
    assert lines[-1].startswith("3 upscaled, 4 skipped (3 hidden, 1 not a picture), 2 failed, ")
    assert done.returncode == 1


def test_folder_without_a_picture_says_so(tmp_path: Path, environment: dict[str, str]) -> None:
    """With what was met instead."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("a text")
    done = run(tmp_path, environment, "docs", "out/")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "skipped, not a picture: docs/a.txt"
    assert done.stderr.splitlines()[-1] == "enlarger: there is no picture to upscale"


def test_one_locked_picture_never_stops_the_rest(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """A file, and a folder, that this user may not read."""
    for name in ("a.png", "locked.png", "sub/x.png", "b.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    unprivileged.locked(tmp_path / "in" / "locked.png")
    unprivileged.locked(tmp_path / "in" / "sub")
    for inputs in (["in"], ["in/a.png", "in/locked.png", "in/sub/x.png", "in/b.png"]):
        out = tmp_path / f"out{len(inputs)}"
        done = unprivileged.run(command(*inputs, f"{out}/"), tmp_path, **environment)
        assert set(tree(out)) == {"a.png", "b.png"}
        assert "Traceback" not in done.stderr
        assert "enlarger: cannot read 'in/locked.png': Permission denied" in done.stderr
        assert "in/sub" in done.stderr
        assert "2 upscaled, 0 skipped, 2 failed" in done.stderr
        assert done.returncode == 1


def test_folder_that_may_not_be_written_is_said_before_the_work(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """That of all results ends the run; that of one picture's result costs that one."""
    for name in ("a/x.png", "b/y.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(PHOTO))
    (tmp_path / "full").mkdir()
    unprivileged.unwritable(tmp_path / "full")
    done = unprivileged.run(command("a", "b", "full/new/"), tmp_path, **environment)
    assert done.returncode == 1
    assert done.stderr == "enlarger: cannot write into 'full': no permission to do so\n"
    unprivileged.unwritable(tmp_path / "a")
    done = unprivileged.run(command("a/x.png", "b/y.png", "--suffix=-4x"), tmp_path, **environment)
    assert done.returncode == 1
    assert "cannot write into 'a': no permission to do so" in done.stderr
    assert "1 upscaled, 0 skipped, 1 failed" in done.stderr
    assert (tmp_path / "b" / "y-4x.png").exists()


def test_disk_that_is_mounted_read_only_is_said_before_the_work(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """In one line."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "disk").mkdir()
    unshare = [shutil.which("unshare") or "unshare", "--mount", "sh", "-c"]
    mount = "mount -t tmpfs -o ro tmpfs disk"
    if subprocess.run([*unshare, mount], cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    typed = " ".join(command("a.png", "disk/new/"))
    done = subprocess.run(
        [*unshare, f"{mount} && {typed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "enlarger: cannot write into 'disk': it is on a disk that is mounted read-only\n"
    )


def test_longest_names_are_written(tmp_path: Path, environment: dict[str, str]) -> None:
    """And one that would be longer than names can be costs that picture alone."""
    long = "x" * 251
    for name in (f"{long}.png", f"{long}.bmp"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO, name[-3:].upper()))
    done = run(tmp_path, environment, f"in/{long}.png", "out/")
    assert done.returncode == 0, done.stderr
    done = run(
        tmp_path, environment, "in", "other/"
    )  # both keep their endings, which makes them longer
    assert done.returncode == 1
    assert done.stderr.count("File name too long") == 2
    assert "0 upscaled, 0 skipped, 2 failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_are_printed_as_they_are(tmp_path: Path, environment: dict[str, str]) -> None:
    """No emoji, no markup; what a terminal would act on is shown as text."""
    odd = [":cat:.png", "[red]x[bold].png", "a\x1b[31m.png", "b\nc.png"]
    (tmp_path / "in").mkdir()
    for name in odd:
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    (tmp_path / "in" / ":dog:.png").write_bytes(b"broken")
    done = run(tmp_path, environment, "in", "out/")
    lines = done.stderr.splitlines()
    for shown_name in (":cat:.png", "[red]x[bold].png", "a\\x1b[31m.png", "b\\nc.png"):
        assert any(line.startswith(f"out/{shown_name}: 30x20") for line in lines), shown_name
    assert any("'in/:dog:.png': " in line for line in lines)


# However it is started and ended


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_closed_streams_cost_no_picture(
    tmp_path: Path, environment: dict[str, str], closed: str
) -> None:
    """As daemons and scripts start it, or with a log on a full disk."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command('in', 'out/'))} {closed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(tree(tmp_path / "out")) == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("a.png - >&-", "cannot write 'standard output': "),
        ("a.png - >/dev/full", "cannot write 'standard output': No space left on device"),
        ("--dry-run a.png b.png >/dev/full", "cannot write to standard output: No space left"),
        ("- b.png <&-", "cannot read standard input: "),
        ("/dev/zero b.png", "it is a device, not a file"),
    ],
)
def test_streams_that_fail_are_one_line(
    tmp_path: Path, environment: dict[str, str], typed: str, text: str
) -> None:
    """Where the result, or the picture, goes through them."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command())} {typed}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert text in done.stderr.splitlines()[-1]


def test_current_folder_that_was_removed_is_one_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Absolute paths work in it."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    (tmp_path / "gone").mkdir()
    for typed, status in (
        (". out/", 1),
        (f"{tmp_path}/a.png out/", 1),
        (f"{tmp_path}/a.png {tmp_path}/out/", 0),
    ):
        done = subprocess.run(
            [
                "/bin/sh",
                "-c",
                f"mkdir -p {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; {shlex.join(command())} {typed}",
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
    assert set(tree(tmp_path / "out")) == {"a.png"}


def test_limit_of_memory_that_the_user_set_is_kept(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """A decoder takes no more than it may, and works within it."""
    (tmp_path / "a.png").write_bytes(encoded(PHOTO))
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -v 3500000; {shlex.join(command('a.png', 'b.png'))}"],
        cwd=tmp_path,
        env={**environment, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("source", ["-", "in"])
def test_signals_end_it_and_leave_nothing_half_written(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals, source: str
) -> None:
    """While it waits for a picture, and while it makes some; the status is that of shells."""
    (tmp_path / "in").mkdir()
    for index in range(40):
        (tmp_path / "in" / f"{index}.png").write_bytes(encoded(noise(80, 80, 3, seed=index)))
    with subprocess.Popen(
        command(source, "out/"),
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        if source == "in":
            process.stderr.readline()  # the first result is there
        else:
            time.sleep(4)
        process.send_signal(number)
        _, said = (
            process.communicate(timeout=30) if source == "in" else (None, process.stderr.read())
        )
        process.wait(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    left = tree(tmp_path / "out") if (tmp_path / "out").exists() else {}
    assert not [name for name in left if name.startswith(".")]
    for name in left:
        assert read(tmp_path / "out" / name).shape == (320, 320, 3)
