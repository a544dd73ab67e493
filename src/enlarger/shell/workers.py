"""The composition root of ``enlarger upscale``: an engine in this process, or a server, does the work."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from enlarger import config
from enlarger.errors import InvalidUrl, SourceUnreachable
from enlarger.memory import importing
from enlarger.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from enlarger.config import Settings
    from enlarger.options import Options
    from enlarger.shell.arguments import Asked

_held: list[object] = []
"""Objects that are not destroyed when the command ends: releasing a network takes a tenth of a second."""


async def enlarge_at_server(
    asked: Asked,
    options: Options,
    *,
    url: str,
    api_key: str | None,
    errors: Console,
    output: Callable[[str], None],
) -> int:
    """Upscale pictures on a server and return the exit status.

    Args:
        asked: the pictures, and where their results go.
        options: the options for upscaling.
        url: address of the server.
        api_key: API key for the server, if it requires one.
        errors: where progress and failures are shown.
        output: prints a line of the command's output.
    """
    from enlarger.client import AsyncClient
    from enlarger.picture.sandbox.pool import Decoders
    from enlarger.shell.remote import RemoteWorker, checked
    from enlarger.shell.run import run
    from enlarger.shell.sources import Reader

    async with AsyncClient(url, api_key=api_key) as client, Decoders(1) as decoders:
        await checked(client)
        worker = RemoteWorker(client, decoders, Reader(), is_watched=errors.is_terminal)
        return await run(asked, options, worker, errors, output=output)


async def enlarge_here(
    asked: Asked,
    options: Options,
    *,
    settings: Settings,
    errors: Console,
    output: Callable[[str], None],
) -> int:
    """Upscale pictures with an engine in this process and return the exit status.

    Args:
        asked: the pictures, and where their results go.
        options: the options for upscaling.
        settings: precision, folders, and which URLs may be fetched.
        errors: where progress and failures are shown.
        output: prints a line of the command's output.
    """
    from enlarger.picture.sandbox.process import DecoderProcess

    decoder = DecoderProcess()
    async with AsyncExitStack() as stack:
        # These imports take half a second, during which the decoder process does its own.
        with importing():
            from enlarger.engine.factory import make_engine
            from enlarger.models import Catalogue
            from enlarger.picture.sandbox.pool import Decoders

        decoders = await stack.enter_async_context(Decoders(1, first=decoder))
        catalogue = Catalogue.installed(settings.server.model_dir)
        usual = catalogue.choose(options.model, scale=4)
        cores = config.cores()
        engine = await stack.enter_async_context(
            make_engine(
                catalogue,
                threads=cores,
                precision=settings.server.precision,
                cache_folder=settings.server.cache_folder,
                one_picture=True,
            )
        )
        _held.append(engine)
        engine.begin_to_read(usual.id)
        with importing():
            from enlarger.shell.local import LocalWorker
            from enlarger.shell.run import run
            from enlarger.shell.sources import Reader

        async def fetched(url: str) -> bytes:
            from enlarger.fetch.fetcher import Fetcher

            fetcher = Fetcher(settings.fetch.rule, limit_bytes=settings.limits.max_file_size_bytes)
            try:
                return await fetcher.fetch(url)
            except InvalidUrl as error:
                raise InvalidUrl(
                    "it must be an http or https URL with a host, without a user name and spaces"
                ) from error
            except SourceUnreachable as error:
                # A server hides the reason from its callers. Here the user is also the operator.
                raise SourceUnreachable(reason_of(error.__cause__ or error)) from error

        worker = LocalWorker(
            engine=engine,
            catalogue=catalogue,
            decoders=decoders,
            executor=stack.enter_context(ThreadPoolExecutor(cores)),
            reader=Reader(fetched),
            precision=settings.server.precision,
            begin_to_load=engine.begin_to_load,
        )
        return await run(asked, options, worker, errors, output=output)
