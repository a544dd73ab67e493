"""Completion in shells: model names, formats and other words, as each shell asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.networks import write_nearest

from enlarger.cli.completion import models, words_of

BIN = Path(sys.executable).parent


def complete(shell: str, line: str, folder: Path, **variables: str) -> str:
    """What the command answers to a shell that asks how a line may go on."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    environment = {**os.environ, **asked[shell], **variables}
    result = subprocess.run(
        [BIN / "enlarger"],
        cwd=folder,
        env=environment | {"_ENLARGER_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_models_and_formats(shell: str, tmp_path: Path) -> None:
    """Models are those that are here, your own among them."""
    (tmp_path / "models").mkdir()
    write_nearest(tmp_path / "models", "my-own-model")
    found = complete(shell, "enlarger upscale --model ", tmp_path)
    assert "my-own-model" in found
    assert "realesrgan-x4plus" in found
    found = complete(shell, "enlarger upscale --format w", tmp_path)
    assert "webp" in found
    assert "tiff" not in found
    assert "doctor" in complete(shell, "enlarger doc", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_for_models_get_ids(shell: str, tmp_path: Path) -> None:
    """``show`` those of all models, and ``remove`` those that it can remove; neither gets ``auto``."""
    (tmp_path / "models").mkdir()
    write_nearest(tmp_path / "models", "my-own-model")
    shown = complete(shell, "enlarger models show ", tmp_path)
    assert "my-own-model" in shown
    assert "realesrgan-x4plus" in shown
    assert "detect" not in shown
    removed = complete(shell, "enlarger models remove ", tmp_path)
    assert "my-own-model" in removed
    assert "realesrgan" not in removed
    for command in ("show", "remove"):
        line = f"enlarger models {command} my"
        assert "my-own-model" in complete(shell, line, tmp_path)
        found = complete(shell, line, tmp_path, FILE_MAX_AGE="soon")
        assert "my-own-model" not in found


def test_wrong_settings_do_not_disturb_the_prompt(tmp_path: Path) -> None:
    """What is left is offered, without a message."""
    found = complete("bash", "enlarger upscale --model ", tmp_path, FILE_MAX_AGE="soon")
    assert found.split() == ["auto", "detect"]


def test_bash_completes_what_is_typed(tmp_path: Path) -> None:
    """A real bash, with the script that is printed for it."""
    bash = shutil.which("bash")
    assert bash is not None
    script = f"""
        PATH={BIN}:$PATH
        source <(_ENLARGER_COMPLETE=source_bash enlarger)
        complete -p enlarger
        COMP_WORDS=(enlarger upscale --model realesrgan-x4plus-) COMP_CWORD=3
        _enlarger_completion enlarger
        echo "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(
        [bash, "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    bound, completed = result.stdout.splitlines()
    assert "-o default" in bound  # names of files where there is nothing else to offer
    assert completed == "realesrgan-x4plus-anime"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("fit", {"inside", "fill", "outside", "cover"}),
        ("frames", {"all", "first"}),
        ("metadata", {"keep", "strip"}),
    ],
)
def test_words_are_those_of_the_options(option: str, words: set[str]) -> None:
    """They cannot differ from what requests take."""
    assert set(words_of(option)()) == words
    assert {"png", "jpg", "avif"} <= set(words_of("format")())


def test_models_come_with_what_they_are_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zsh and fish show it."""
    monkeypatch.chdir(tmp_path)
    found = dict(models())
    assert "photos" in found["realesrgan-x4plus"]
