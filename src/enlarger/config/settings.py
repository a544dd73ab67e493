"""All settings, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from enlarger.config.access import AccessSettings
from enlarger.config.fetch import FetchSettings
from enlarger.config.group import SettingsGroup
from enlarger.config.jobs import JobSettings
from enlarger.config.limits import LimitSettings
from enlarger.config.observability import ObservabilitySettings
from enlarger.config.pool import PoolSettings
from enlarger.config.server import ServerSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, in groups: each part of the program gets the groups that it needs."""

    server: ServerSettings
    limits: LimitSettings
    pool: PoolSettings
    jobs: JobSettings
    fetch: FetchSettings
    access: AccessSettings
    observability: ObservabilitySettings

    @property
    def has_webhooks(self) -> bool:
        """Whether webhooks can be sent: there are secrets to sign them with, and fetching is not switched off."""
        return bool(self.jobs.webhook_secrets) and self.fetch.rule != "off"

    @property
    def database_url(self) -> str:
        """File or URL of the database of jobs, with the default worked out."""
        folder = self.server.upload_folder
        local = folder if isinstance(folder, Path) else Path("uploads")
        return self.jobs.database or str(local / "jobs.sqlite3")

    @property
    def blobs_place(self) -> str:
        """Folder or URL of the files of jobs, with the default worked out."""
        return self.jobs.blobs or f"{str(self.server.upload_folder).rstrip('/')}/jobs"


GROUPS: Mapping[str, type[SettingsGroup]] = get_type_hints(Settings)
"""The groups by their names in ``Settings``."""

FIELD_OF = {
    str(field.validation_alias): (group, name)
    for group, settings in GROUPS.items()
    for name, field in settings.model_fields.items()
}
"""Group and attribute of each variable."""

VARIABLE_OF = {name: variable for variable, (_, name) in FIELD_OF.items()} | {
    "fetch": "ENLARGER_FETCH"  # the only one of its group, which has the same name
}
"""The variable of each attribute."""
