"""The routes that describe models and errors: ``/v1/models`` and ``/errors``."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from quart import Response

from enlarger.api.v1 import schemas
from enlarger.engine.shelf import Shelf
from enlarger.engine.status import EngineStatus
from enlarger.errors import EnlargerError, NotFound, by_code
from enlarger.models import Model
from enlarger.options import SCALES, Options

_MODEL_OPTIONS = [name for name in Options.model_fields if name != "model"]
"""Options that models may have: ``denoise`` for those with noise levels, the others for every model."""


@dataclass(frozen=True, kw_only=True)
class ModelRoutes:
    """The handlers that say which models and which errors there are."""

    shelf: Shelf
    engines: EngineStatus

    async def index(self) -> schemas.Models:
        """``GET /v1/models``: the models that are offered, those that ``auto`` picks, and rows that are left out."""
        catalogue = self.shelf.catalogue
        return {
            "models": [self._model_object(model) for model in catalogue],
            "default": {str(scale): catalogue.choose("auto", scale=scale).id for scale in SCALES},
            "left_out": [
                {"row": row.row, "reason": row.reason, "still_offered": row.model}
                for row in self.shelf.left_out
            ],
        }

    async def show(self, model_id: str) -> schemas.Model:
        """``GET /v1/models/{id}``."""
        for model in self.shelf.catalogue:
            if model.id == model_id:
                return self._model_object(model)
        raise NotFound("there is no such model")

    def _model_object(self, model: Model) -> schemas.Model:
        known = [
            one.facts for one in self.engines.servers if one.is_ready and one.facts is not None
        ]
        here = [
            (server, facts) for server in known if (facts := server.model_of(model.network_key))
        ]
        mflop_per_s = self.engines.facts().all_mflop_per_s
        speed = None if mflop_per_s is None else mflop_per_s / model.mflop_per_px / 1e6
        seams = model.seams
        return {
            "id": model.id,
            "title": model.title,
            "kind": model.architecture,
            "native_scale": model.scale,
            "noise_levels": list(model.denoise),
            "default_noise_level": model.noise_level,
            "options": [name for name in _MODEL_OPTIONS if name != "denoise" or model.denoise],
            "precisions": list(here[0][1].precisions) if here else [],
            "licence": model.licence,
            "non_commercial": model.is_non_commercial,
            "source": model.source,
            "mflop_per_px": round(model.mflop_per_px, 4),
            "sha256": model.sha256,
            "bytes": model.size_bytes,
            "halo": model.halo_px,
            "seams": "none" if model.halo_is_exact else "blended",
            "installed": True,
            "ready_on": len(here),
            "devices": list(dict.fromkeys(server.device.id for server, _ in here)),
            "measured": {
                "megapixels_per_s": None if speed is None else round(speed, 4),
                "seam_median_db": None if seams is None else seams.median_db,
                "seam_worst_db": None if seams is None else seams.worst_db,
                "seam_p999_diff": None if seams is None else seams.p999_difference,
                "seam_max_diff": None if seams is None else seams.max_difference,
                "engine": here[0][0].engine if here else None,
                # The speed is followed over all tiles, of whatever precision, and with each of them.
                "precision": None,
                "at": None,
            },
        }

    async def error(self, code: str) -> Response:
        """``GET /errors/{code}``: the page that the ``type`` of a problem names."""
        cls = by_code(code)
        known = _HTTP_CODES.get(code)
        if cls is not None:
            text = " ".join((cls.__doc__ or "").split())
            status = "" if cls is EnlargerError else f"\nStatus: {cls.status}"
            repeat = "may" if cls.retryable else "will not"
            page = f"{code}\n\n{text}\n{status}\nThe same request {repeat} succeed later.\n"
        elif known is not None:
            page = f"{code}\n\n{known.description or known.phrase}.\n\nStatus: {known.value}\n"
        else:
            raise NotFound("there is no such error")
        return Response(page, content_type="text/plain; charset=utf-8")


_HTTP_CODES = {
    status.name.lower(): status
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        HTTPStatus.EXPECTATION_FAILED,
        HTTPStatus.UPGRADE_REQUIRED,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        HTTPStatus.NOT_IMPLEMENTED,
    )
}
"""Refusals of HTTP itself, by the codes of their answers."""
