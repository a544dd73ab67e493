"""Settings that limit what one request, and all of them together, may ask for."""

from __future__ import annotations

from pydantic import Field, field_validator

from enlarger.config.group import Seconds, SettingsGroup, none_if_auto


class LimitSettings(SettingsGroup):
    """Limits of one request, and of all of them together."""

    max_file_size_bytes: int = Field(default=7_340_032, ge=1, validation_alias="MAX_FILE_SIZE")
    """Bytes of one encoded input picture, however it arrives."""

    max_image_dimension_px: int = Field(default=2048, ge=1, validation_alias="MAX_IMAGE_DIMENSION")
    """Longest allowed side of an input picture, in pixels."""

    max_output_px: int | None = Field(
        default=None, ge=1, validation_alias="ENLARGER_MAX_OUTPUT_PIXELS"
    )
    """Output pixels of one request, in all its frames. If it is unset: ``(4 * MAX_IMAGE_DIMENSION) ** 2``."""

    max_frames: int = Field(default=500, ge=1, validation_alias="ENLARGER_MAX_FRAMES")
    """Frames of one animation."""

    deadline_s: Seconds | None = Field(default=None, gt=0, validation_alias="ENLARGER_DEADLINE")
    """Seconds that one picture may take once it is admitted. ``auto``: four times its estimate, at least 600."""

    queue_limit: int = Field(default=256, ge=1, validation_alias="ENLARGER_QUEUE_LIMIT")
    """Requests admitted and unfinished; the next one is refused with ``queue_full``."""

    max_wait_s: Seconds = Field(default=600, gt=0, validation_alias="ENLARGER_MAX_WAIT")
    """Estimated seconds that a new request may wait for those before it; if it is more, ``queue_full``."""

    sync_limit_s: Seconds = Field(default=90, gt=0, validation_alias="ENLARGER_SYNC_LIMIT")
    """Seconds after which a waiting ``/v1`` request is answered with a job, before a proxy cuts it off."""

    picture_memory_mib: int = Field(default=2048, ge=1, validation_alias="ENLARGER_PICTURE_MEMORY")
    """MiB of pixels that all running pictures may hold at once; others wait. An eighth is reserved for small
    pictures. A picture that is larger than the rest runs with no other than small ones.
    The input files of all requests may take a quarter as much; if they would take more, ``queue_full``."""

    @field_validator("deadline_s", mode="before")
    @classmethod
    def _auto(cls, value: object) -> object:
        return none_if_auto(value)

    @property
    def output_limit_px(self) -> int:
        """Output pixels of one request, with the default worked out."""
        return self.max_output_px or (4 * self.max_image_dimension_px) ** 2

    @property
    def body_limit_bytes(self) -> int:
        """Bytes of one request body: a picture of the largest size in base64, and 1 MiB around it."""
        return 4 * -(-self.max_file_size_bytes // 3) + 1_048_576
