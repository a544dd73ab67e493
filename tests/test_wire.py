"""How tiles, results and facts travel between gateway and model server, and what is refused on the way."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from support.fakes import NEAREST, nearest

from enlarger.engine.tile import EngineFacts, TileRequest, TileResult
from enlarger.errors import BadTile
from enlarger.geometry.rect import Pixels, Rect
from enlarger.wire import (
    ModelDefaults,
    read_request,
    read_result,
    request_headers,
    result_headers,
)

DEFAULTS = ModelDefaults(
    "bf16",
    EngineFacts(
        engine="nearest",
        ready=True,
        models=(dataclasses.replace(NEAREST, id="here", sha256="a" * 64),),
        capacity=2,
        in_flight=0,
        mflop_per_s=None,
    ),
)
"""What a model server with one model assumes."""

names = st.text("abcxyz0189._-", min_size=1, max_size=20)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
dtypes = st.sampled_from([np.uint8, np.uint16])


def samples(height: int, width: int, dtype: Any, seed: int) -> Pixels:
    """Random RGB pixels over the whole range of their dtype."""
    top = int(np.iinfo(dtype).max) + 1
    return np.random.default_rng(seed).integers(0, top, (height, width, 3)).astype(dtype)


@st.composite
def pixels(draw: st.DrawFn) -> Pixels:
    """Small tiles, 8 bits or 16, one pixel to a few."""
    side = st.integers(1, 6)
    return samples(draw(side), draw(side), draw(dtypes), draw(st.integers(0, 9)))


@st.composite
def keeps(draw: st.DrawFn, height: int, width: int) -> Rect:
    """Parts of a tile, of one pixel at least."""
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Rect(left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height)))


@st.composite
def requests(draw: st.DrawFn) -> TileRequest:
    """Tiles as a gateway sends them; the deadline is on a clock of its own."""
    total = draw(st.integers(1, 500))
    tile = draw(pixels())
    return TileRequest(
        pixels=tile,
        keep=draw(st.none() | keeps(*tile.shape[:2])),
        model=draw(names),
        weights_sha256=draw(hashes),
        graph_sha256=draw(st.just("") | hashes),
        scale=4,
        precision=draw(st.sampled_from(["f32", "bf16"])),
        deadline=0.0,
        request_id=draw(names),
        index=draw(st.integers(0, total - 1)),
        total=total,
        options=draw(st.dictionaries(st.just("denoise"), st.floats(0, 1), max_size=1)),
    )


def headers(**replaced: str | None) -> dict[str, str]:
    """Headers of a good request for a tile of 2 x 3; None leaves one out."""
    given = {
        "Content-Type": "application/octet-stream",
        "Tile-Shape": "2,3,3",
        "Tile-Dtype": "uint8",
        "Tile-Model": "here",
        "Tile-Deadline-Ms": "30000",
    }
    for name, value in replaced.items():
        header = name.replace("_", "-")
        if value is None:
            del given[header]
        else:
            given[header] = value
    return given


def read(given: dict[str, str], body: bytes = bytes(18)) -> TileRequest:
    """The tile of a request that came at 100 s."""
    return read_request(given, body, now=100.0, default=DEFAULTS)


def asked(height: int = 2, width: int = 3, dtype: Any = np.uint8) -> TileRequest:
    """A tile to enlarge."""
    return TileRequest(
        pixels=samples(height, width, dtype, 0),
        model="here",
        weights_sha256="a" * 64,
        scale=4,
        precision="f32",
        deadline=1.0,
        request_id="test",
    )


def answered(**replaced: str | None) -> dict[str, str]:
    """Headers of a good answer to ``asked()`` at scale 4; None leaves one out."""
    given = headers(
        Tile_Shape="8,12,3",
        Tile_Infer_Ms="12.5",
        Tile_Engine="openvino",
        Tile_Precision="f32",
    )
    for name, value in replaced.items():
        header = name.replace("_", "-")
        if value is None:
            del given[header]
        else:
            given[header] = value
    return given


def read_answer(given: dict[str, str], body: bytes = bytes(288)) -> TileResult:
    """The answer to ``asked()``."""
    return read_result(given, body, request=asked())


# Requests


@given(request=requests(), left_s=st.floats(0.001, 10_000), now=st.floats(0, 1e6))
def test_request_arrives_as_it_was_sent(request: TileRequest, left_s: float, now: float) -> None:
    """Every field crosses unchanged, but for the scale, which a server has of its own; and no sample moves."""
    sent = request_headers(request, left_s=left_s)
    arrived = read_request(sent, request.pixels.tobytes(), now=now, default=DEFAULTS)
    assert np.array_equal(arrived.pixels, request.pixels)
    assert arrived.pixels.dtype == request.pixels.dtype
    fields = {field.name for field in dataclasses.fields(TileRequest)}
    for name in fields - {"pixels", "deadline", "scale"}:
        assert getattr(arrived, name) == getattr(request, name)


@given(left_s=st.floats(0.001, 10_000), now=st.integers(0, 10**6))
def test_deadline_crosses_as_time_left(left_s: float, now: int) -> None:
    """Clocks need not agree; the server's deadline is the sender's, or less than 1 ms earlier."""
    sent = request_headers(asked(), left_s=left_s)
    arrived = read_request(sent, asked().pixels.tobytes(), now=float(now), default=DEFAULTS)
    assert arrived.deadline - now == pytest.approx(left_s, abs=0.001 + 1e-6)
    assert arrived.deadline - now <= left_s + 1e-6


def test_last_fraction_of_a_millisecond_is_one_millisecond() -> None:
    """The contract wants a whole number over 0."""
    assert request_headers(asked(), left_s=0.0004)["Tile-Deadline-Ms"] == "1"


def test_request_headers_are_those_of_the_contract() -> None:
    """Names and forms of section C.1; tiles are counted from 1 there."""
    request = dataclasses.replace(
        asked(2, 3, np.uint16), index=6, total=40, options={"denoise": 0.5}
    )
    assert request_headers(request, left_s=29.9999) == {
        "Content-Type": "application/octet-stream",
        "Tile-Shape": "2,3,3",
        "Tile-Dtype": "uint16",
        "Tile-Model": "here",
        "Tile-Weights-Sha256": "a" * 64,
        "Tile-Precision": "f32",
        "Tile-Deadline-Ms": "29999",
        "Tile-Index": "7/40",
        "Tile-Denoise": "0.5",
        "X-Request-Id": "test",
    }


def test_part_to_keep_travels_as_top_left_height_and_width() -> None:
    """Only where a part was named; without it, all of the tile is enlarged."""
    request = dataclasses.replace(asked(), keep=Rect.sized(1, 0, 1, 2))
    assert request_headers(request, left_s=1)["Tile-Keep"] == "0,1,2,1"
    assert asked().kept == Rect.sized(0, 0, 3, 2)
    assert np.array_equal(asked().core, asked().pixels)


@pytest.mark.parametrize(
    "keep",
    ["", "0,0,2", "0,0,2,3,3", "a,0,2,3", "0,0,3,3", "0,0,2,4", "1,0,2,3", "0,1,2,3", "-1,0,2,3", "0,-1,2,3", "0,0,0,3", "0,0,2,0"],
)  # fmt: skip
def test_part_that_is_not_in_the_tile_is_refused(keep: str) -> None:
    """A part of 2 x 3 pixels has at least one of them, and none beside."""
    with pytest.raises(BadTile, match="Tile-Keep"):
        read(headers(Tile_Keep=keep))


def test_headers_are_found_in_any_letter_case() -> None:
    """HTTP field names have none, so a mapping of that kind is read as well."""
    given = CIMultiDict({name.lower(): value for name, value in headers(Tile_Index="2/5").items()})
    tile = read_request(given, bytes(18), now=0, default=DEFAULTS)
    assert (tile.model, tile.index, tile.total) == ("here", 1, 5)


def test_16_bit_samples_are_little_endian() -> None:
    """The low byte first, whatever this machine does."""
    body = bytes([0x34, 0x12, 0x01, 0x00, 0x00, 0xFF])
    tile = read(headers(Tile_Shape="1,1,3", Tile_Dtype="uint16"), body)
    assert tile.pixels.tolist() == [[[0x1234, 0x0001, 0xFF00]]]


def test_samples_are_rows_then_columns_then_channels() -> None:
    """The order in which an image is read."""
    tile = read(headers(), bytes(range(18)))
    assert tile.pixels[1, 0].tolist() == [9, 10, 11]
    assert tile.pixels[0, 2].tolist() == [6, 7, 8]
    assert tile.lr_px == 6


def test_what_a_request_leaves_out_is_the_servers_own() -> None:
    """A tile sent by hand needs neither hash nor precision nor index."""
    tile = read(headers())
    assert (tile.weights_sha256, tile.precision) == ("a" * 64, "bf16")
    assert (tile.index, tile.total, tile.options) == (0, 1, {})
    assert tile.deadline == 130.0
    assert tile.scale == NEAREST.scale


def test_model_that_is_not_here_has_no_hash() -> None:
    """An engine then refuses it by name, which is its own answer and not a bad tile."""
    tile = read(headers(Tile_Model="elsewhere"))
    assert (tile.model, tile.weights_sha256) == ("elsewhere", "")


def test_scale_is_that_of_the_graph() -> None:
    """Two versions of a model may have the same weights."""
    four, two = (
        dataclasses.replace(NEAREST, id="here", scale=scale, graph_sha256=graph * 64)
        for scale, graph in [(4, "4"), (2, "2")]
    )
    facts = dataclasses.replace(DEFAULTS.facts, models=(four, two))
    both = dataclasses.replace(DEFAULTS, facts=facts)
    for model in facts.models:
        given = headers(Tile_Graph_Sha256=model.graph_sha256)
        tile = read_request(given, bytes(18), now=100.0, default=both)
        assert (tile.graph_sha256, tile.scale) == (model.graph_sha256, model.scale)


def test_longest_form_of_a_shape_is_read() -> None:
    """Sides are bounded by the body alone."""
    tile = read(headers(Tile_Shape="1,4000,3"), bytes(12_000))
    assert tile.pixels.shape == (1, 4000, 3)


@pytest.mark.parametrize("name", ["Tile_Shape", "Tile_Dtype", "Tile_Model", "Tile_Deadline_Ms"])
def test_missing_header_is_named(name: str) -> None:
    """The four that nothing can stand in for."""
    with pytest.raises(BadTile, match=name.replace("_", "-")):
        read(headers(**{name: None}))


@pytest.mark.parametrize(
    "shape",
    [
        *("", "2,3", "2,3,3,1", "2x3x3", "2,,3", "a,b,c", "2.0,3,3", "0x2,3,3"),
        *("0,3,3", "2,0,3", "-2,-3,3", "2,3,1", "2,3,4", "2,9,1", "1" * 5000 + ",3,3"),
    ],
)
def test_senseless_shape_is_refused(shape: str) -> None:
    """Three whole numbers in decimal: height and width from 1, and three channels."""
    with pytest.raises(BadTile, match="Tile-Shape"):
        read(headers(Tile_Shape=shape))


@pytest.mark.parametrize("dtype", ["", "float32", "int8", "UINT8", "uint32", "<u2", "object"])
def test_other_kinds_of_sample_are_refused(dtype: str) -> None:
    """8 or 16 bits without sign, by their plain names; the text says which."""
    with pytest.raises(BadTile, match="uint8, uint16"):
        read(headers(Tile_Dtype=dtype))


def test_long_header_is_not_repeated_whole() -> None:
    """An answer is no place for 10 kB of a stranger's text."""
    with pytest.raises(BadTile) as refused:
        read(headers(Tile_Dtype="x" * 10_000))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("length", [0, 1, 17, 19, 36])
def test_body_that_does_not_fill_the_shape_is_refused(length: int) -> None:
    """One byte too few or too many is the sender's fault; 2 x 3 pixels are 18 bytes."""
    with pytest.raises(BadTile, match=f"{length} bytes"):
        read(headers(), bytes(length))


def test_8_bit_body_for_a_16_bit_tile_is_refused() -> None:
    """A sample of 16 bits is two bytes."""
    with pytest.raises(BadTile, match="18 bytes"):
        read(headers(Tile_Dtype="uint16"), bytes(18))


@pytest.mark.parametrize(
    "left", ["", "soon", "1.5", "0", "-1", "nan", "1e3", "9" * 400, "9" * 5000]
)
def test_senseless_deadline_is_refused(left: str) -> None:
    """Milliseconds left: a whole number over 0, which a clock can hold."""
    with pytest.raises(BadTile, match="Tile-Deadline-Ms"):
        read(headers(Tile_Deadline_Ms=left))


@pytest.mark.parametrize(
    "index", ["", "7", "/", "7/", "/40", "a/b", "7/40/2", "0/3", "4/3", "-1/3"]
)
def test_senseless_index_is_refused(index: str) -> None:
    """Tile ``n`` of ``m``, counted from 1."""
    with pytest.raises(BadTile, match="Tile-Index"):
        read(headers(Tile_Index=index))


@pytest.mark.parametrize("value", ["", "much", "0,5", "nan", "inf"])
def test_option_that_is_no_number_is_refused(value: str) -> None:
    """A network is told a number or nothing."""
    with pytest.raises(BadTile, match="options"):
        read(headers(Tile_Denoise=value))


def test_option_of_an_unknown_name_is_ignored() -> None:
    """Both sides ignore what they do not know."""
    assert read(headers(Tile_Sparkle="1")).options == {}


# Results


@given(
    request=requests(),
    scale=st.integers(1, 4),
    infer_s=st.floats(0, 1000),
    queue_s=st.floats(0, 1000),
    repeated=st.sampled_from([None, "f32"]),
)
def test_result_arrives_as_it_was_sent(
    request: TileRequest, scale: int, infer_s: float, queue_s: float, repeated: str | None
) -> None:
    """Samples and what really ran cross unchanged; times are rounded to 0.1 ms."""
    sent = TileResult(
        pixels=nearest(request.core, scale),
        engine="openvino",
        precision="bf16",
        infer_s=infer_s,
        queue_s=queue_s,
        repeated=repeated,
    )
    arrived = read_result(
        result_headers(sent),
        sent.pixels.tobytes(),
        request=dataclasses.replace(request, scale=scale),
    )
    assert np.array_equal(arrived.pixels, sent.pixels)
    assert arrived.pixels.dtype == sent.pixels.dtype
    assert arrived.infer_s == pytest.approx(infer_s, abs=0.000_051)
    assert arrived.queue_s == pytest.approx(queue_s, abs=0.000_051)
    assert (arrived.engine, arrived.precision, arrived.repeated) == ("openvino", "bf16", repeated)


@given(request=requests(), scale=st.integers(1, 4))
def test_answer_that_holds_the_whole_tile_is_cut(request: TileRequest, scale: int) -> None:
    """A server that does not know ``Tile-Keep`` does more than was asked, and no harm."""
    sent = TileResult(
        pixels=nearest(request.pixels, scale), engine="other", precision="f32", infer_s=1
    )
    arrived = read_result(
        result_headers(sent),
        sent.pixels.tobytes(),
        request=dataclasses.replace(request, scale=scale),
    )
    assert np.array_equal(arrived.pixels, nearest(request.core, scale))


def test_result_headers_are_those_of_the_contract() -> None:
    """Names and forms of section C.1; ``Tile-Redo`` only where something was redone."""
    result = TileResult(
        pixels=np.zeros((8, 12, 3), np.uint8),
        engine="torch",
        precision="f32",
        infer_s=11.4802,
        queue_s=0.25,
    )
    usual = {
        "Content-Type": "application/octet-stream",
        "Tile-Shape": "8,12,3",
        "Tile-Dtype": "uint8",
        "Tile-Infer-Ms": "11480.2",
        "Tile-Queue-Ms": "250.0",
        "Tile-Engine": "torch",
        "Tile-Precision": "f32",
    }
    assert result_headers(result) == usual
    again = dataclasses.replace(result, repeated="f32")
    assert result_headers(again) == usual | {"Tile-Redo": "f32"}


@pytest.mark.parametrize("shape", ["2,3,3", "8,13,3", "12,8,3", "16,24,3"])
def test_result_of_another_size_is_refused(shape: str) -> None:
    """Only an enlargement by the model's scale is an answer to the tile."""
    height, width, channels = (int(part) for part in shape.split(","))
    with pytest.raises(BadTile, match="asked for 8x12"):
        read_answer(answered(Tile_Shape=shape), bytes(height * width * channels))


def test_result_of_another_depth_is_refused() -> None:
    """A tile of 8 bits is answered in 8 bits."""
    with pytest.raises(BadTile, match="uint16"):
        read_answer(answered(Tile_Dtype="uint16"), bytes(576))


@pytest.mark.parametrize("length", [0, 287, 289])
def test_result_cut_short_is_refused(length: int) -> None:
    """A length that does not fit the shape is the sender's fault, on both sides."""
    with pytest.raises(BadTile, match=f"{length} bytes"):
        read_answer(answered(), bytes(length))


@pytest.mark.parametrize(
    "name", ["Tile_Shape", "Tile_Dtype", "Tile_Infer_Ms", "Tile_Engine", "Tile_Precision"]
)
def test_result_without_one_of_its_headers_is_refused(name: str) -> None:
    """A proxy's page of 288 bytes is no picture."""
    with pytest.raises(BadTile, match=name.replace("_", "-")):
        read_answer(answered(**{name: None}))


@pytest.mark.parametrize("took", ["", "fast", "nan", "inf", "-1.0"])
def test_result_whose_time_is_senseless_is_refused(took: str) -> None:
    """A server's speed is worked out from it, and one NaN would stay there for ever."""
    with pytest.raises(BadTile, match="Tile-Infer-Ms"):
        read_answer(answered(Tile_Infer_Ms=took))


@pytest.mark.parametrize("took", ["", "long", "nan", "inf", "-1.0"])
def test_result_whose_waiting_is_senseless_is_refused(took: str) -> None:
    """It may be left out; what is there must be a time."""
    assert read_answer(answered()).queue_s == 0
    with pytest.raises(BadTile, match=r"times|Tile-Queue-Ms"):
        read_answer(answered(Tile_Queue_Ms=took))


def test_good_answer_is_read() -> None:
    """The answer that the refusals above were made from."""
    result = read_answer(answered())
    assert (result.engine, result.precision, result.infer_s) == ("openvino", "f32", 0.0125)
    assert (result.server, result.attempts, result.repeated) == ("local", 1, None)


def test_device_of_a_tile_crosses_unless_it_is_a_cpu() -> None:
    """So that model servers that know no devices take the tiles of CPUs as ever."""
    for device, header in (("cpu", None), ("", None), ("Card (1.2)", "Card (1.2)")):
        sent = request_headers(dataclasses.replace(asked(), device=device), left_s=9)
        assert sent.get("Tile-Device") == header
        arrived = read_request(sent, asked().pixels.tobytes(), now=0, default=DEFAULTS)
        assert arrived.device == (header or "")
