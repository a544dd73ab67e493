"""The command line as a user meets it: real processes, their exit status, and what they print and leave."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from support.fakes import nearest
from support.oracles import lanczos
from support.pictures import encoded, noise

from enlarger import __version__
from enlarger.api.signing import Link, check
from enlarger.config import SigningKey, cores
from enlarger.errors import SignatureExpired
from enlarger.geometry.rect import Pixels

PICTURE = noise(20, 30, 3)

KEPT = b"what was here before"
"""An ``out.png`` of an earlier day, which a command that fails must not touch."""


@dataclass(frozen=True)
class Command:
    """What is typed, in a folder with ``in.png``, ``text.png`` and ``out.png``."""

    arguments: str
    variables: tuple[tuple[str, str], ...] = ()


SIGNING = (
    SigningKey("shop", SecretStr("sixteen-letters!")),
    SigningKey("blog", SecretStr("and-another-one!")),
)

SIGNING_VARIABLES = (
    (
        "ENLARGER_SIGNING_KEYS",
        ",".join(f"{key.kid}:{key.secret.get_secret_value()}" for key in SIGNING),
    ),
)


@dataclass(frozen=True)
class Run:
    """What came of a command."""

    status: int
    out: str
    err: str
    folder: Path


GOOD = {
    "help": Command("--help"),
    "help in short": Command("upscale -h"),
    "version": Command("--version"),
    "models": Command("models"),
    "key": Command("key alice"),
    "path signed": Command("sign /v1/models --expires 900", SIGNING_VARIABLES),
    "URL signed": Command(
        "sign https://a.example:8443/v1/upscale?url=http://b/é'%26|&scale=4#top --key blog",
        SIGNING_VARIABLES,
    ),
    "URL below a path signed": Command(
        "sign https://a.example/enlarger/v1/upscale?url=http://b/c.png",
        SIGNING_VARIABLES,
    ),
    "x4": Command("upscale in.png new.png --model nearest"),
    "x2": Command("upscale in.png out.png --model nearest --scale 2 --precision f32 --overwrite"),
}

FAILED = {
    "input is missing": (
        Command("upscale none.png out.png --model nearest"),
        r"cannot read 'none\.png': No such file or directory",
    ),
    "input is no picture": (
        Command("upscale text.png out.png --model nearest --overwrite"),
        r"'text\.png': not a picture of a format read here \(png, jpeg, webp, bmp, .*\)",
    ),
    "folder of OUT is missing": (
        Command("upscale in.png nowhere/out.png --model nearest"),
        r"cannot write 'nowhere/out\.png': its folder does not exist",
    ),
}
"""The work was tried and failed, or the input cannot be read."""

UNUSABLE = {
    "suffix is unknown": (
        Command("upscale in.png out.gif --model nearest"),
        r"cannot write 'out\.gif': the name must end in \.png, .*",
    ),
    "model is unknown": (
        Command("upscale in.png out.png --model nope"),
        r"'nope' is not installed; the nearest of \d+ names are .*",
    ),
    "scale is too large": (
        Command("upscale in.png out.png --model nearest --scale 9"),
        r"Invalid scale: it must be at most 8, not '9\.0'",
    ),
    "result would be smaller": (
        Command("upscale in.png out.png --model nearest --width 20 --overwrite"),
        r"Invalid width: the result would be 20x13; its width may be from 30 to 240 px .*",
    ),
    "two sizes": (
        Command("upscale in.png out.png --model nearest --width 60 --scale 2"),
        r"Invalid size: give one of scale and width/height, not both",
    ),
    "region is outside": (
        Command("upscale in.png out.png --model nearest --region 20,0,11,5 --overwrite"),
        r"Invalid region: it ends at 31,5; the picture has 30x20 px",
    ),
    "format contradicts the name": (
        Command("upscale in.png out.png --model nearest --format webp"),
        r"Invalid format: webp, but the result is called 'out\.png'",
    ),
    "result is there already": (
        Command("upscale in.png out.png --model nearest"),
        r"1 file would be replaced: 'out\.png'; nothing was done\. --overwrite .* --skip-existing .* --suffix .*",
    ),
    "result would take the picture's place": (
        Command("upscale in.png in.png --model nearest"),
        r"1 picture would be replaced by the result: 'in\.png'; .*",
    ),
    "there is no output": (Command("upscale in.png"), r"an input and an output are needed: .*"),
    "model server is open to everybody": (
        Command("model-server --host 0.0.0.0 --port 0"),
        r"ENLARGER_TILE_TOKEN: needed to listen on 0\.0\.0\.0, .*",
    ),
    "name of a key has a space in it": (
        Command("key a,b"),
        r"ENLARGER_API_KEYS: each entry must be name:sha256-<64 hexadecimal digits>, .* name of letters, .*",
    ),
    "nothing to sign with": (
        Command("sign /v1/models"),
        r"ENLARGER_SIGNING_KEYS: it has no key to sign with; set it to the same value as on the gateway",
    ),
    "signing key is another one": (
        Command("sign /v1/models --key news", SIGNING_VARIABLES),
        r"ENLARGER_SIGNING_KEYS: it has no key 'news' to sign with; .*",
    ),
    "link leads elsewhere": (
        Command("sign http://a.example/upscale?img_url=u", SIGNING_VARIABLES),
        r"only links to paths under /v1/ can be signed",
    ),
    "link is none": (
        Command("sign http://[/v1/models", SIGNING_VARIABLES),
        r"'http://\[/v1/models' is no URL",
    ),
    "setting is unknown": (
        Command("upscale in.png out.png --model nearest", (("ENLARGER_PRECISON", "f32"),)),
        r"ENLARGER_PRECISON: there is no such setting; the nearest name is ENLARGER_PRECISION\. .*",
    ),
    "number is none": (
        Command("models", (("MAX_FILE_SIZE", "seven"),)),
        r"MAX_FILE_SIZE: .*, not 'seven'",
    ),
}
"""An option or a setting cannot be used."""

COMMANDS = {
    **GOOD,
    **{name: command for name, (command, _) in (FAILED | UNUSABLE).items()},
}


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user with the models and settings of the tests, and no other settings of enlarger."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENLARGER_")}
    return {**kept, **environment, "COLUMNS": "200", "TERM": "xterm"}


@pytest.fixture(scope="module")
def runs(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All commands, each in a folder of its own. They run side by side, since each takes a while to start."""

    def run(command: Command) -> Run:
        folder = tmp_path_factory.mktemp("cli")
        (folder / "in.png").write_bytes(encoded(PICTURE))
        (folder / "text.png").write_text("no picture")
        (folder / "out.png").write_bytes(KEPT)
        done = subprocess.run(
            [sys.executable, "-m", "enlarger", *command.arguments.split()],
            cwd=folder,
            env={**environment, **dict(command.variables)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr, folder)

    with ThreadPoolExecutor(cores()) as threads:
        return dict(zip(COMMANDS, threads.map(run, COMMANDS.values()), strict=True))


def files(folder: Path) -> set[str]:
    """Names of all that is in a folder, hidden files too."""
    return {path.name for path in folder.iterdir()}


def read(path: Path) -> Pixels:
    """A picture file as it is stored."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_shows_a_traceback(runs: dict[str, Run], name: str) -> None:
    """What went wrong is said in words."""
    assert "Traceback" not in runs[name].out + runs[name].err


# What works


def test_help_lists_the_commands(runs: dict[str, Run]) -> None:
    """Each with a line on what it does."""
    assert runs["help"].status == 0
    for line in (
        r"upscale +Upscale one or more pictures",
        r"serve +Start the gateway",
        r"model-server +Start one model server",
        r"key +Make an API key",
        r"sign +Sign a link",
        r"jobs +Manage jobs on a server",
        r"models +List the models",
    ):
        assert re.search(line, runs["help"].out), line


def test_help_may_be_asked_for_in_short(runs: dict[str, Run]) -> None:
    """At every command; the short options are listed."""
    assert runs["help in short"].status == 0
    for option in ("--output", "-o", "--scale", "-s", "--suffix", "--overwrite", "--dry-run"):
        assert option in runs["help in short"].out


def test_key_comes_with_its_entry(runs: dict[str, Run]) -> None:
    """The entry holds the key's hash, and nothing else of it; on stdout both alone, for scripts."""
    assert runs["key"].status == 0
    key, entry = runs["key"].out.split()
    assert len(key) >= 43  # 256 random bits
    assert entry == f"alice:sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def test_signed_path_is_checked_by_the_gateway(runs: dict[str, Run]) -> None:
    """With the first key, for so many seconds; on stdout it is alone, for scripts."""
    target = runs["path signed"].out.removesuffix("\n").encode()
    now = time.time()
    assert check(target, SIGNING, now=now) == Link(b"/v1/models", "shop")
    with pytest.raises(SignatureExpired):
        check(target, SIGNING, now=now + 900)


def test_signed_url_is_as_clients_send_it(runs: dict[str, Run]) -> None:
    """What has to be quoted is, and what is after a # is never sent; with the key that was named."""
    host, found, target = runs["URL signed"].out.strip().partition("/v1/")
    link = check(f"{found}{target}".encode(), SIGNING, now=time.time())
    assert host == "https://a.example:8443"
    assert link == Link(b"/v1/upscale?url=http://b/%C3%A9%27%26%7C&scale=4", "blog")


def test_version_is_that_of_the_package(runs: dict[str, Run]) -> None:
    """On a line by itself."""
    assert runs["version"].status == 0
    assert runs["version"].out == f"{__version__}\n"


def test_models_lists_what_is_installed(runs: dict[str, Run]) -> None:
    """Those of the wheel and those of ``MODEL_DIR``, a row each."""
    assert runs["models"].status == 0
    rows = [line.split() for line in runs["models"].out.splitlines()]
    assert {"realesrgan-x4plus", "realesr-animevideov3", "nearest", "tiny-rrdb"} <= {
        row[0] for row in rows
    }
    scales = {row[0]: row[1] for row in rows if len(row) > 1}
    assert [
        scales[name] for name in ("nearest", "realesr-animevideov3-x2", "waifu2x-cunet-1x")
    ] == [*("4x", "2x", "1x")]


def test_picture_is_enlarged_four_times(runs: dict[str, Run]) -> None:
    """A network that repeats pixels gives the picture exactly; the size is the default."""
    run = runs["x4"]
    assert (run.status, run.out) == (0, "")
    assert np.array_equal(read(run.folder / "new.png"), nearest(PICTURE, 4))
    assert files(run.folder) == {"in.png", "text.png", "out.png", "new.png"}


def test_picture_is_enlarged_twice(runs: dict[str, Run]) -> None:
    """The same, reduced with Lanczos, in the place of the file that was there."""
    run = runs["x2"]
    assert run.status == 0
    found = read(run.folder / "out.png")
    assert np.abs(found - lanczos(nearest(PICTURE, 4), 2)).max() <= 0.501
    assert files(run.folder) == {"in.png", "text.png", "out.png"}


def test_result_is_told_on_stderr(runs: dict[str, Run]) -> None:
    """Sizes, what really ran, and what was changed on the way."""
    first, second = runs["x2"].err.strip().splitlines()[-2:]
    assert re.fullmatch(r"out\.png: 30x20 to 60x40, nearest f32, \d+ tiles, \d+\.\d s", first)
    assert second == "  resampled: 4x model, 2x result"


# What does not


@pytest.mark.parametrize("name", FAILED)
def test_command_that_fails_says_why_and_exits_1(runs: dict[str, Run], name: str) -> None:
    """In one line on stderr."""
    run = runs[name]
    assert (run.status, run.out) == (1, "")
    assert re.fullmatch(f"enlarger: {FAILED[name][1]}\n", run.err)


@pytest.mark.parametrize("name", UNUSABLE)
def test_option_that_cannot_be_used_exits_2(runs: dict[str, Run], name: str) -> None:
    """In one line on stderr, which names what the user typed."""
    run = runs[name]
    assert (run.status, run.out) == (2, "")
    assert re.fullmatch(f"enlarger: {UNUSABLE[name][1]}\n", run.err)


@pytest.mark.parametrize("name", [*FAILED, *UNUSABLE])
def test_failure_leaves_the_folder_as_it_was(runs: dict[str, Run], name: str) -> None:
    """Nothing half-written, and an older result is still whole."""
    folder = runs[name].folder
    assert files(folder) == {"in.png", "text.png", "out.png"}
    assert (folder / "out.png").read_bytes() == KEPT


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_full_disk_leaves_nothing_half_written(
    tmp_path: Path, environment: dict[str, str], suffix: str
) -> None:
    """Whatever was there before stays; the limit for files acts as a full disk does."""
    (tmp_path / "in.png").write_bytes(encoded(PICTURE))
    (tmp_path / f"out.{suffix}").write_bytes(KEPT)
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    # Noise that is resampled is twice as long as that in any file.
    command = f"-m enlarger upscale in.png out.{suffix} --model nearest --scale 3 --overwrite"
    done = subprocess.run(
        [sys.executable, "-c", limited, *command.split()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot write 'out.{suffix}': File too large" in done.stderr
    assert (tmp_path / f"out.{suffix}").read_bytes() == KEPT
    assert files(tmp_path) == {"in.png", f"out.{suffix}"}


def test_interrupt_ends_the_work_with_130(tmp_path: Path, environment: dict[str, str]) -> None:
    """Ctrl-C after the first tiles: no result, no part of one, no traceback."""
    (tmp_path / "in.png").write_bytes(encoded(unlike_tiles(2000)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "enlarger", "upscale", "in.png", "out.png"]
    with subprocess.Popen(
        [*command, "--model", "nearest"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while not re.search(rb"[1-9]\d*/\d+\S* tiles", shown):
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        shown += rest(ours)
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in shown
    assert files(tmp_path) == {"in.png"}


def unlike_tiles(side_px: int) -> Pixels:
    """A picture in which no two pixels, and so no two tiles, are equal: those would be computed once."""
    row, column = np.indices((side_px, side_px))
    numbers = row * side_px + column
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)


def rest(terminal: int) -> bytes:
    """What is still said on a terminal, until its other side is closed."""
    said = b""
    try:
        while part := os.read(terminal, 4096):
            said += part
    except OSError:  # how Linux reports that the other side is closed
        pass
    finally:
        os.close(terminal)
    return said
