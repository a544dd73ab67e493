"""Request bodies that are compressed become what they were, or are refused, in bounded memory and time."""

from __future__ import annotations

import gzip
import sys
import time
import tracemalloc
import zlib
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enlarger.asgi.encodings import TAKEN, decoded, encodings_of
from enlarger.errors import BodyTooLarge, EnlargerError, MalformedEncoding, UnsupportedEncoding

LIMIT_BYTES = 1 << 20


def library_of(name: str) -> Any:
    """The compressor of an encoding that Python may not have."""
    if name == "zstd" and sys.version_info >= (3, 14):
        return import_module("compression.zstd")
    return import_module({"br": "brotli", "zstd": "backports.zstd"}[name])


def packed(data: bytes, name: str) -> bytes:
    """Made by the libraries' own compressors."""
    if name == "gzip":
        return gzip.compress(data)
    if name == "deflate":
        return zlib.compress(data)
    result: bytes = library_of(name).compress(data)
    return result


every_encoding = pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])


def test_encodings_of_installed_libraries_are_read() -> None:
    """Those of Python always; the tests' environment has the libraries of the others."""
    assert TAKEN == ("gzip", "deflate", "br", "zstd")


@every_encoding
@given(data=st.binary(max_size=3000))
def test_any_body_comes_out_as_it_went_in(name: str, data: bytes) -> None:
    """Also an empty one, whose encoding has bytes."""
    assert decoded(packed(data, name), [name], limit_bytes=LIMIT_BYTES) == data


@every_encoding
def test_body_up_to_the_limit_passes_and_one_byte_more_does_not(name: str) -> None:
    """The limit is that of plain bodies, to the byte."""
    exact = bytes(LIMIT_BYTES)
    assert decoded(packed(exact, name), [name], limit_bytes=LIMIT_BYTES) == exact
    with pytest.raises(BodyTooLarge) as refusal:
        decoded(packed(exact + b"x", name), [name], limit_bytes=LIMIT_BYTES)
    assert refusal.value.limit == LIMIT_BYTES


@every_encoding
def test_bomb_costs_no_more_than_the_limit(name: str) -> None:
    """A few kilobytes that stand for 128 MiB are left at the limit."""
    bomb = packed(bytes(128 << 20), name)
    assert len(bomb) < LIMIT_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decoded(bomb, [name], limit_bytes=LIMIT_BYTES)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * LIMIT_BYTES


@every_encoding
@given(data=st.binary(min_size=1, max_size=300), left_out=st.integers(1, 300))
def test_body_cut_short_is_refused(name: str, data: bytes, left_out: int) -> None:
    """Wherever it ends."""
    whole = packed(data, name)
    cut = whole[: max(1, len(whole) - left_out)]
    with pytest.raises(MalformedEncoding, match=f"not {name}, as its Content-Encoding says"):
        decoded(cut, [name], limit_bytes=LIMIT_BYTES)


@given(data=st.binary(min_size=1, max_size=300))
@every_encoding
def test_any_bytes_are_decoded_or_refused(name: str, data: bytes) -> None:
    """Nothing else is raised."""
    try:
        decoded(data, [name], limit_bytes=LIMIT_BYTES)
    except EnlargerError:
        return


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_streams_behind_one_another_are_one_body(name: str) -> None:
    """``cat a.gz b.gz`` is a gzip file (RFC 1952), and so it is with Zstandard (RFC 8878)."""
    body = packed(b"one, ", name) + packed(b"two", name)
    assert decoded(body, [name], limit_bytes=LIMIT_BYTES) == b"one, two"


def test_streams_behind_one_another_share_the_limit() -> None:
    """A bomb in parts is a bomb."""
    body = gzip.compress(bytes(LIMIT_BYTES)) * 2
    with pytest.raises(BodyTooLarge):
        decoded(body, ["gzip"], limit_bytes=LIMIT_BYTES)


def test_zeros_behind_gzip_are_ignored() -> None:
    """As gzip does; anything else is refused."""
    assert decoded(gzip.compress(b"a") + bytes(70_000), ["gzip"], limit_bytes=10) == b"a"


def test_half_a_million_empty_streams_are_refused_soon() -> None:
    """They come to nothing, and to begin each costs time."""
    body = gzip.compress(b"") * 500_000
    began = time.process_time()
    with pytest.raises(MalformedEncoding):
        decoded(body, ["gzip"], limit_bytes=LIMIT_BYTES)
    assert time.process_time() - began < 2


def test_window_of_zstandard_is_bounded() -> None:
    """A frame may ask for 128 MiB to be held; HTTP allows 8 (RFC 9659)."""
    zstd = library_of("zstd")
    options = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    body = packer.compress(b"a" * 1000) + packer.flush()
    with pytest.raises(MalformedEncoding):
        decoded(body, ["zstd"], limit_bytes=LIMIT_BYTES)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], []),
        ([""], []),
        (["identity"], []),
        (["gzip"], ["gzip"]),
        (["X-GZip"], ["gzip"]),
        (["deflate, gzip"], ["deflate", "gzip"]),
        (["deflate", "identity,gzip"], ["deflate", "gzip"]),
        ([" , "], []),
        (["UTF-8"], ["utf-8"]),
    ],
)
def test_header_is_read_as_a_list(values: list[str], names: list[str]) -> None:
    """In one header or in several, in any letter case."""
    headers = [(b"Content-Encoding", value.encode()) for value in values]
    assert encodings_of({"headers": headers}) == names


@pytest.mark.parametrize("names", [["utf-8"], ["gzip", "compress"], ["gzip"] * 3])
def test_what_is_not_read_is_named_with_what_is(names: list[str]) -> None:
    """So that the sender can mend it."""
    with pytest.raises(UnsupportedEncoding, match="it may be gzip, deflate, br, zstd"):
        decoded(b"x", names, limit_bytes=LIMIT_BYTES)
