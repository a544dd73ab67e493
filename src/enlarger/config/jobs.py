"""Settings of jobs: where they are stored, how many may wait, and how their end is reported."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from enlarger.config.addresses import is_place
from enlarger.config.group import SettingsGroup, split_secret_list

WHSEC = "whsec_"
"""Prefix of a webhook secret; base64 follows."""


class JobSettings(SettingsGroup):
    """Settings of jobs."""

    jobs_limit: int = Field(default=10_000, ge=1, validation_alias="ENLARGER_JOBS_LIMIT")
    """Jobs that may wait; the next one is refused with ``queue_full``. Their pictures are on disk, not in memory."""

    webhook_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), validation_alias="ENLARGER_WEBHOOK_SECRETS"
    )
    """``whsec_<base64>``, with commas: each webhook is signed with all of them. If it is unset, there are no
    webhooks."""

    database: str | None = Field(default=None, repr=False, validation_alias="ENLARGER_DATABASE")
    """File of an SQLite database of jobs, or a ``postgresql://`` URL. If it is unset: ``jobs.sqlite3`` in the folder
    of results, or in ``uploads`` if the results are in a bucket."""

    blobs: str | None = Field(default=None, validation_alias="ENLARGER_BLOBS")
    """Folder of what jobs read and write, or ``s3://bucket/prefix``. If it is unset: ``jobs`` where the
    results are."""

    @field_validator("database")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is not None and not is_place(value, "sqlite:///", "postgresql://", "postgres://"):
            raise ValueError(
                "it must be the path of an SQLite file, or a URL that begins with sqlite:/// or postgresql://"
            )
        return value

    @field_validator("blobs")
    @classmethod
    def _blobs(cls, value: str | None) -> str | None:
        if value is not None and not is_place(value, "s3://"):
            raise ValueError("it must be the path of a folder, or s3://bucket/prefix")
        return value

    @field_validator("webhook_secrets", mode="before")
    @classmethod
    def _webhook_secrets(cls, value: object) -> object:
        return split_secret_list(
            value,
            lambda entry: SecretStr(entry) if _is_webhook_secret(entry) else None,
            allowed="whsec_<base64 of 24 to 64 bytes>",
            hint="`echo whsec_$(openssl rand -base64 32)` makes one",
        )


def _is_webhook_secret(text: str) -> bool:
    """Return whether a text is a secret by the Standard Webhooks specification."""
    with suppress(binascii.Error, ValueError):
        key = base64.b64decode(text.removeprefix(WHSEC), validate=True)
        return text.startswith(WHSEC) and 24 <= len(key) <= 64
    return False
