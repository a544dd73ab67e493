"""Responses of the compatible contract, as pure functions."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enlarger import config
from enlarger.api.compatible.answers import answer
from enlarger.picture.values import Header, Note
from enlarger.pipeline.outcome import Outcome, Ran
from enlarger.storage import StoredResult

TOKEN = "5d0c7e1f9b2a4c6388e1f0a7d4b39c52"


def outcome(*, took_s: float = 1.0, notes: tuple[Note, ...] = ()) -> Outcome:
    """A 4 x 3 picture made 8 x 6 by two servers."""
    return Outcome(
        ran=Ran(
            model="realesrgan-x4plus",
            model_sha256="5a" * 32,
            engine="openvino",
            precision="bf16",
            tiles=12,
            tiles_by_server=Counter({"server-0": 7, "server-1": 5}),
            retried=1,
            repeated=Counter(constant=2),
            reused=3,
            color_delta=1.2345,
        ),
        width_px=8,
        scale=2.0,
        height_px=6,
        notes=notes,
        kept=("alpha", "icc"),
        stored=StoredResult(TOKEN, ".png", 0.0, 999, "ab" * 32),
        header=Header(format="jpeg", width_px=4, height_px=3, mode="RGB", depth_bits=8, frames=1),
        input_bytes=51234,
        took_s=took_s,
    )


def answered(
    result: Outcome, *, scale: int = 2, left_s: float = 300.0, **settings: Any
) -> dict[str, Any]:
    """The answer under these settings."""
    return dict(
        answer(
            result,
            scale=scale,
            settings=config.load(**settings).server,
            request_id="r-1",
            left_s=left_s,
        )
    )


def test_answer_has_the_fields_of_the_contract_in_their_order() -> None:
    """All fields of A.1 with their values; base64 comes later."""
    made = answered(outcome(notes=(Note("orientation_applied", "EXIF orientation 6"),)))
    expires_at = made.pop("expires_at")
    assert json.dumps(made) == json.dumps(
        {
            "success": True,
            "file_path": f"uploads/upscaled_{TOKEN}.png",
            "base64": None,
            "original_size": {"width": 4, "height": 3, "bytes": 51234},
            "upscaled_size": {"width": 8, "height": 6, "scale": 2},
            "processing_time": 1.0,
            "url": f"/files/{TOKEN}.png",
            "model": "realesrgan-x4plus",
            "engine": "openvino",
            "precision": "bf16",
            "device": "cpu",
            "device_class": "cpu",
            "tiles": {
                "total": 12,
                "servers": 2,
                "retried": 1,
                "repeated": {"constant": 2},
                "reused": 3,
            },
            "kept": ["alpha", "icc"],
            "notes": [{"code": "orientation_applied", "detail": "EXIF orientation 6"}],
            "cache": "miss",
            "color_delta": 1.23,
            "model_sha256": "5a" * 32,
            "request_id": "r-1",
        }
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", expires_at)


def test_first_six_fields_come_first() -> None:
    """The six fields of the original service come before ours."""
    assert list(answered(outcome()))[:6] == [
        "success",
        "file_path",
        "base64",
        "original_size",
        "upscaled_size",
        "processing_time",
    ]


@pytest.mark.parametrize(
    ("took_s", "shown"), [(44.6149, 44.61), (0.004, 0.0), (0.005001, 0.01), (3.0, 3.0)]
)
def test_processing_time_has_two_decimals(took_s: float, shown: float) -> None:
    """Seconds are rounded to two decimals."""
    assert answered(outcome(took_s=took_s))["processing_time"] == shown


@pytest.mark.parametrize("left_s", [0.0, 12.0, 300.0, 86400.0])
def test_expiry_is_so_far_ahead_as_the_file_lives(left_s: float) -> None:
    """The time of expiry is in UTC, to the second."""
    before = datetime.now(UTC).timestamp()
    made = answered(outcome(), left_s=left_s)
    after = datetime.now(UTC).timestamp()
    expires_s = datetime.fromisoformat(made["expires_at"]).timestamp()
    assert before + left_s - 1 <= expires_s <= after + left_s


@pytest.mark.parametrize(
    ("public_url", "prefix"),
    [
        (None, ""),
        ("https://cdn.example.com", "https://cdn.example.com"),
        ("https://cdn.example.com/", "https://cdn.example.com"),
        ("https://example.com/a/b/", "https://example.com/a/b"),
    ],
)
def test_url_has_the_public_prefix(public_url: str | None, prefix: str) -> None:
    """The URL is a path, unless the operator has set a prefix."""
    assert answered(outcome(), public_url=public_url)["url"] == f"{prefix}/files/{TOKEN}.png"


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        ("uploads", "uploads"),
        ("./uploads/", "uploads"),
        ("/srv/enlarger/results", "results"),
        ("a/b", "b"),
        ("a/../c", "c"),
    ],
)
def test_file_path_is_relative_to_the_parent_of_the_folder(folder: str, shown: str) -> None:
    """Even if the folder is set as an absolute path, the response shows only its name."""
    made = answered(outcome(), upload_folder=Path(folder))
    assert made["file_path"] == f"{shown}/upscaled_{TOKEN}.png"


def test_file_path_is_the_url_of_an_object() -> None:
    """This applies if results are stored in a bucket."""
    for place in ("s3://bucket/prefix", "s3://bucket/prefix/"):
        made = answered(outcome(), upload_folder=place)
        assert made["file_path"] == f"s3://bucket/prefix/upscaled_{TOKEN}.png"


def test_file_path_has_the_name_of_the_folder_where_that_is_a_link(tmp_path: Path) -> None:
    """Seen from the parent of ``UPLOAD_FOLDER`` the file is where the answer says."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "uploads").symlink_to(tmp_path / "disk")
    made = answered(outcome(), upload_folder=tmp_path / "elsewhere" / "uploads")
    assert made["file_path"] == f"uploads/upscaled_{TOKEN}.png"


def test_file_path_names_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the setting is a dot, the path has the real name of the folder."""
    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path / "results")
    assert answered(outcome(), upload_folder=Path())["file_path"] == (
        f"results/upscaled_{TOKEN}.png"
    )
