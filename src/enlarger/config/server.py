"""Settings of a process, whatever it serves: its folders, its precision, how it ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from enlarger.config.addresses import is_place
from enlarger.config.environment import user_cache_folder
from enlarger.config.group import Seconds, SettingsGroup
from enlarger.precision import Precision

_URL = re.compile(r"https?://[^\s?#]+")


class ServerSettings(SettingsGroup):
    """Settings of a process, whatever it serves."""

    model_dir: Path = Field(default=Path("models"), validation_alias="MODEL_DIR")
    """Folder with models of your own (``*.toml`` beside their weights). It may be absent."""

    upload_folder: Path | str = Field(default=Path("uploads"), validation_alias="UPLOAD_FOLDER")
    """Folder of the results, which is made if it is missing, also later; or ``s3://bucket/prefix``, which is a text."""

    cleanup_interval_s: Seconds = Field(default=300, gt=0, validation_alias="CLEANUP_INTERVAL")
    """Seconds between two sweeps of the results."""

    file_max_age_s: Seconds = Field(default=300, gt=0, validation_alias="FILE_MAX_AGE")
    """Seconds after which a result is deleted."""

    precision: Precision = Field(default="auto", validation_alias="ENLARGER_PRECISION")
    """Default precision. ``auto`` is bf16 where the CPU has it, f16 on GPUs, and f32 elsewhere and for pictures above 8 bits.
    ``int8`` applies to models that have it."""

    drain_s: Seconds = Field(default=45, ge=0, validation_alias="ENLARGER_DRAIN")
    """Seconds that running work gets after SIGTERM."""

    public_url: str | None = Field(default=None, validation_alias="ENLARGER_PUBLIC_URL")
    """Prefix of the URLs in responses. If it is unset, they are paths."""

    cache_dir: Path | None = Field(default=None, validation_alias="ENLARGER_CACHE_DIR")
    """Folder of compiled networks. If it is unset: ``enlarger`` in the user's cache folder."""

    model_memory_mib: int = Field(default=3072, ge=1, validation_alias="ENLARGER_MODEL_MEMORY")
    """MiB that the networks in the memory of one model server may take. Those that were used longest ago are released."""

    page: Literal["on", "off"] = Field(default="on", validation_alias="ENLARGER_PAGE")
    """Whether ``/`` is the page. ``off``: it redirects to ``/docs``."""

    page_title: str = Field(default="enlarger", validation_alias="ENLARGER_PAGE_TITLE")
    """Name of the page, in its head and in the browser's tab."""

    @field_validator("model_dir", "upload_folder", "cache_dir", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        if isinstance(value, str) and not value.strip():
            raise ValueError("it must be the path of a folder; unset it for the default")
        return value

    @field_validator("upload_folder")
    @classmethod
    def _results(cls, value: Path | str) -> Path | str:
        if isinstance(value, str) and not value.startswith("s3://"):
            if not is_place(value, "s3://"):
                raise ValueError("it must be the path of a folder, or s3://bucket/prefix")
            return Path(value)
        return value

    @field_validator("page_title")
    @classmethod
    def _title(cls, value: str) -> str:
        if not 0 < len(value.strip()) <= 60:
            raise ValueError("it must be a text of 1 to 60 characters")
        return value.strip()

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is not None and not (_URL.fullmatch(value) and _is_plain_url(value)):
            raise ValueError(
                "it must be a URL that begins with http:// or https://, without user name, spaces, '..', '?' and '#', "
                "such as https://pictures.example or https://example.com/pictures"
            )
        return value

    @property
    def missing_model_dir(self) -> str | None:
        """A note for the operator if ``MODEL_DIR`` is set but absent, which is allowed but may be a mistake."""
        if "model_dir" not in self.model_fields_set or self.model_dir.exists():
            return None
        return f"MODEL_DIR: there is no folder '{self.model_dir}', so no models of your own"

    @property
    def cache_folder(self) -> Path:
        """Folder of compiled networks, with the default worked out."""
        return self.cache_dir if self.cache_dir is not None else user_cache_folder() / "enlarger"

    @property
    def models_folder(self) -> Path:
        """Folder for copies of the models of ``MODEL_DIR``."""
        return self.cache_folder / "models"


def _is_plain_url(text: str) -> bool:
    """Return whether a URL has a host, a possible port, no user name, and no ``..`` in its path."""
    try:
        parts = urlsplit(text)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        bool(parts.hostname)
        and is_port
        and "@" not in parts.netloc
        and ".." not in parts.path.split("/")
    )
