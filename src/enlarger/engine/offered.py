"""What an engine offers: its models, the precisions of each, and which model a tile asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from enlarger.engine.device import CPU_CLASS, largest_tile_px
from enlarger.engine.half import Half
from enlarger.engine.networks import Networks
from enlarger.engine.runtime import Runtime
from enlarger.engine.tile import ModelFacts, Need, TileRequest
from enlarger.engine.versions import Versions
from enlarger.errors import InvalidOption, ModelNotHere, NoEngineReady
from enlarger.models import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The models of an engine, as they can be computed now.

    Args:
        versions: the models.
        runtime: computes them.
        networks: knows which files cannot be used.
        half: knows where f16 is right.
        precisions: those of the device, the usual one first.
    """

    versions: Versions
    runtime: Runtime
    networks: Networks
    half: Half
    precisions: tuple[str, ...]

    def facts(self) -> tuple[ModelFacts, ...]:
        """Return the facts of all models that can be computed."""
        return tuple(self.facts_of(model) for model in self.versions if self.available(model))

    def facts_of(self, model: Model) -> ModelFacts:
        """Return the facts of one model."""
        facts = model_facts(model, self.available(model), self.runtime.device.tile_class)
        return replace(facts, loaded=self.networks.loaded(model))

    def available(self, model: Model) -> tuple[str, ...]:
        """Return the precisions that a model can be computed in now; ``auto`` means the first."""
        return tuple(
            precision
            for precision in self.precisions
            if self.runtime.has_precision(model, precision) and self.half.offers(model, precision)
        )

    def meeting(self, need: Need) -> ModelFacts:
        """Return the facts of the model that is needed.

        Raises:
            NoEngineReady: it is not here, or cannot be used.
        """
        model = self.versions.find(need.network)
        if model is None or not (facts := self.facts_of(model)).meets(need):
            raise NoEngineReady(
                f"{need.model} is not here at {need.scale}x with the weights {need.weights_sha256[:12]}, "
                f"or not for tiles of {need.lr_px} LR pixels"
            )
        if not facts.precisions:
            raise NoEngineReady(str(self.networks.fault(model, self.precisions[0])))
        return facts

    def asked(self, request: TileRequest) -> Model:
        """Return the model of a tile that can be computed here.

        Raises:
            ModelNotHere, InvalidOption: the tile cannot be computed here.
        """
        model = self.versions.find(request.network)
        if model is None:
            raise ModelNotHere(
                f"{request.model} is not here with the weights {request.weights_sha256[:12]} "
                f"and the graph {request.graph_sha256[:12] or 'of any hash'}"
            )
        device = self.runtime.device
        if request.device not in {"", device.id}:
            raise ModelNotHere(f"this is {device.id}, and not {request.device[:80]}")
        precision = self.half.stands_for(model, request.precision)
        fault = self.networks.fault(model, precision)
        if fault is not None:
            raise ModelNotHere(fault)
        available = self.available(model)
        if precision not in available:
            raise InvalidOption(
                f"precision {request.precision} is not available here; available: {', '.join(available)}"
            )
        if request.options:
            raise InvalidOption(f"{model.id} takes no option {', '.join(sorted(request.options))}")
        return model


def model_facts(
    model: Model, precisions: tuple[str, ...], tile_class: str = CPU_CLASS
) -> ModelFacts:
    """Return the facts of a model that can be computed in ``precisions`` on devices of a class."""
    return ModelFacts(
        id=model.id,
        scale=model.scale,
        halo_px=model.halo_px,
        halo_is_exact=model.halo_is_exact,
        max_tile_px=largest_tile_px(model, tile_class),
        blend_px=model.blend_px,
        multiple_px=model.multiple_px,
        mflop_per_px=model.mflop_per_px,
        sha256=model.sha256,
        graph_sha256=model.graph_sha256,
        precisions=precisions,
    )
