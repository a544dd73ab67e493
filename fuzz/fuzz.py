"""``make fuzz``: fuzzes every target for a limited time, one after the other. The status is 1 if one found something.

    make fuzz                                       a minute each
    make fuzz ARGS="--seconds 600 decoder"          one of them, for longer
    make fuzz ARGS="--again fuzz/findings/decoder-crash-... decoder"

Findings are saved in ``fuzz/findings``. Inputs that lead to new code are saved in ``fuzz/corpus``, with which the
next run begins. C code of the libraries is watched for crashes, time and memory, but only Python's branches guide the
search.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
FINDINGS, CORPUS = FOLDER / "findings", FOLDER / "corpus"
NAMES = ("decoder", "tiff", "metadata", "body", "options")

LATEST_S = 10
"""An input that takes longer is a finding."""

MOST_MIB = 1024
"""An input that needs more memory is a finding."""

_INSTRUMENTED = (
    "enlarger.api",
    "enlarger.fetch",
    "enlarger.request",
    "enlarger.picture",
    "tifffile",
    *(f"PIL.{name}ImagePlugin" for name in ("Avif", "Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP")),
)
"""Packages whose branches guide the search."""


def main() -> int:
    """Fuzz the requested targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "targets", nargs="*", metavar="target", help=f"targets to fuzz, of {', '.join(NAMES)}"
    )
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each target")
    parser.add_argument("--again", type=Path, help="run only this input, once")
    parser.add_argument("--inside", type=Path, metavar="SCRATCH", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    targets = arguments.targets or list(NAMES)
    if unknown := set(targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if arguments.again:
        return _again(targets[0], arguments.again)
    if arguments.inside:
        return _fuzz(targets[0], arguments.seconds, arguments.inside)
    failed = [name for name in targets if not _passes(name, arguments.seconds)]
    for name in failed:
        found = sorted(str(path) for path in FINDINGS.glob(f"{name}-*"))
        print(f"{name} found something: {', '.join(found) or 'see above'}")
    return 1 if failed else 0


def _passes(name: str, seconds: int) -> bool:
    """Fuzz in a separate process, because libFuzzer ends its process with or without a finding."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, f"--inside={scratch}", f"--seconds={seconds}", name]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - this file itself


def _again(name: str, path: Path) -> int:
    from targets import TARGETS  # here, so that atheris can instrument it

    TARGETS[name].check(path.read_bytes())
    print(f"{path}: nothing found")
    return 0


def _fuzz(name: str, seconds: int, scratch: Path) -> int:
    import atheris  # not needed to repeat a single input

    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        import targets
    import numpy as np
    from support.mutants import damaged

    target = targets.TARGETS[name]
    corpus = CORPUS / name
    for folder in (FINDINGS, corpus):
        folder.mkdir(parents=True, exist_ok=True)
    others = list(target.seeds.values())

    def mutated(data: bytes, most_bytes: int, seed: int) -> bytes:
        """Damage every other input in the way of pictures; libFuzzer mutates the rest."""
        random = np.random.default_rng(seed)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, most_bytes))
        return damaged(data, others[random.integers(len(others))], random)[:most_bytes]

    seeds, words = scratch / "seeds", scratch / "words"
    seeds.mkdir()
    for number, data in enumerate(target.seeds.values()):
        (seeds / str(number)).write_bytes(data)
    words.write_text("".join(f"{_quoted(word)}\n" for word in target.words))
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-timeout={LATEST_S}",
            f"-rss_limit_mb={MOST_MIB}",
            f"-max_len={targets.MOST_BYTES}",
            f"-artifact_prefix={FINDINGS}/{name}-",
            *([f"-dict={words}"] if target.words else []),
            "-print_final_stats=1",
            str(corpus),
            str(seeds),
        ],
        target.check,
        **({"custom_mutator": mutated} if target.are_pictures else {}),
    )
    targets.limit_memory()
    print(f"{name}: {seconds} s, {len(target.seeds)} seeds", flush=True)
    atheris.Fuzz()
    return 0


def _quoted(word: str) -> str:
    """Return a word in the format of a libFuzzer dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"'


if __name__ == "__main__":
    sys.exit(main())
