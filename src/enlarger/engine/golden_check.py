"""The self-test of a loaded model: it must enlarge the golden input as its golden picture shows."""

from __future__ import annotations

import time

import numpy as np

from enlarger.engine.runtime import Network, Tolerance
from enlarger.engine.samples import infer_checked
from enlarger.errors import WrongOutput
from enlarger.geometry.rect import Rect
from enlarger.models import Model
from enlarger.models.golden import golden_input, read_golden


def check_golden(model: Model, precision: str, network: Network, tolerance: Tolerance) -> float:
    """Compare what a network makes of the golden input with the golden picture.

    Args:
        model: the model that was loaded.
        precision: its precision, for the error.
        network: the loaded model.
        tolerance: largest accepted difference.

    Returns:
        The speed on the golden input in MFLOP/s.

    Raises:
        WeightsError: the golden picture is missing or damaged.
        WrongOutput: the network does not make the golden picture, or makes no picture at all.
    """
    pixels = golden_input()
    started = time.perf_counter()
    whole = Rect.whole(pixels.shape[1], pixels.shape[0])
    output, _, _ = infer_checked(pixels, "f32", lambda _: network.enlarge(pixels, whole))
    took_s = time.perf_counter() - started
    if model.golden is not None:
        golden = read_golden(model.golden, scale=model.scale).astype(np.int16)
        if output.samples.shape != golden.shape:
            raise WrongOutput(f"{model.id} in {precision} makes a picture of another size")
        difference = np.abs(output.samples - golden)
        if difference.max() > tolerance.most or difference.mean() > tolerance.mean:
            raise WrongOutput(
                f"{model.id} in {precision} differs from its golden picture by up to {difference.max()} "
                f"(mean {difference.mean():.2f}) code values; up to {tolerance.most} ({tolerance.mean}) is right"
            )
    return float(model.mflop_per_px * pixels.shape[0] * pixels.shape[1] / took_s)
