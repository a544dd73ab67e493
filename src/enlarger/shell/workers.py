"""The composition root of ``enlarger upscale``: an engine in this process, or a server, does the work.

``enlarger mcp`` works with the same worker.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from enlarger import config
from enlarger.errors import ConfigError, EnlargerError, InvalidUrl, SourceUnreachable, WeightsError
from enlarger.memory import importing
from enlarger.reasons import reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from rich.console import Console

    from enlarger.config import Settings
    from enlarger.models import Catalogue
    from enlarger.models.rows import Row
    from enlarger.options import Options
    from enlarger.shell.adding import Tried
    from enlarger.shell.arguments import Asked
    from enlarger.shell.local import LocalWorker

_held: list[object] = []
"""Objects that are not destroyed when the command ends: releasing a network takes a tenth of a second."""


DEFAULT_SCALE = 4
"""The scale of the command line and of ``enlarger mcp``; that of requests is 2."""


def with_default_scale(options: Options, native_scale: int | None) -> Options:
    """Return options that state a size. ``native_scale`` is that of the model; None if nobody knows it."""
    if options.has_size:
        return options
    scale = 1.0 if native_scale == 1 else float(DEFAULT_SCALE)
    return options.model_copy(update={"scale": scale})


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
    from enlarger.shell.remote import RemoteWorker, native_scale
    from enlarger.shell.run import run
    from enlarger.shell.sources import Reader

    async with AsyncClient(url, api_key=api_key) as client, Decoders(1) as decoders:
        options = with_default_scale(options, await native_scale(client, options.model))
        worker = RemoteWorker(client, decoders, Reader(), is_watched=errors.is_terminal)
        return await run(asked, options, worker, errors, output=output)


async def enlarge_here(
    asked: Asked,
    options: Options,
    *,
    settings: Settings,
    device: str,
    errors: Console,
    output: Callable[[str], None],
) -> int:
    """Upscale pictures with an engine in this process and return the exit status.

    Args:
        asked: the pictures, and where their results go.
        options: the options for upscaling.
        settings: precision, folders, and which URLs may be fetched.
        device: what computes, as ``ENLARGER_DEVICE`` names it.
        errors: where progress and failures are shown.
        output: prints a line of the command's output.
    """
    async with worker_here(settings, device=device, options=options) as (worker, catalogue):
        from enlarger.shell.run import run

        scale = catalogue.choose(options.model, scale=4).scale
        options = with_default_scale(options, scale)
        return await run(asked, options, worker, errors, output=output)


@asynccontextmanager
async def worker_here(
    settings: Settings, *, device: str, options: Options | None = None
) -> AsyncIterator[tuple[LocalWorker, Catalogue]]:
    """Yield a worker with an engine in this process, and the models that it knows.

    Args:
        settings: precision, folders, and which URLs may be fetched.
        device: what computes, as ``ENLARGER_DEVICE`` names it.
        options: the options of all pictures, if they are known: their network is read while modules are imported.

    Raises:
        UnknownModel: the options name a model that is not installed.
        InvalidOption: the model cannot do what the options say.
        WeightsError, ConfigError: the models or the device cannot be used.
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
        if options is not None:
            catalogue.check(options)
        cores = config.cores()
        engine = await stack.enter_async_context(
            make_engine(
                catalogue,
                device=device,
                threads=cores,
                precision=settings.server.precision,
                cache_folder=settings.server.cache_folder,
                one_picture=True,
            )
        )
        _held.append(engine)
        if options is not None and not options.looks_at_pixels:
            named = catalogue.choose(options.model, scale=4)
            engine.begin_to_read(named.network(options.denoise).id)
        with importing():
            from enlarger.shell.local import LocalWorker
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

        yield (
            LocalWorker(
                engine=engine,
                catalogue=catalogue,
                decoders=decoders,
                executor=stack.enter_context(ThreadPoolExecutor(cores)),
                reader=Reader(fetched),
                precision=settings.server.precision,
                begin_to_load=engine.begin_to_load,
            ),
            catalogue,
        )


async def add_model_here(
    settings: Settings, *, param: Path, binary: Path, photograph: Path, **fields: Any
) -> tuple[str, Tried]:
    """Add a network to ``MODEL_DIR`` after it was tried in this process; return its id and what was found out.

    Args:
        settings: ``MODEL_DIR``.
        param: the text of the network.
        binary: its weights.
        photograph: a picture to measure it with.
        fields: ``id`` and other fields of its row; see ``Row``.

    Raises:
        ConfigError: no row may have the id, a file cannot be read, or ``MODEL_DIR`` cannot be written.
        WeightsError, WrongOutput, EngineFailed: the network cannot be used.
    """
    from enlarger.engine.factory import make_engine
    from enlarger.models import Catalogue, Model
    from enlarger.models.adding import draft, recognised
    from enlarger.models.readers.ncnn import NcnnFiles
    from enlarger.models.rows import refuse_id
    from enlarger.shell.adding import golden_of_ncnn, read_photograph, tried, write_picture

    try:
        refuse_id(fields["id"])
    except WeightsError as error:
        raise ConfigError(f"cannot add '{param}': {error}; --name sets the id") from error
    for file, hint in ((param, ""), (binary, "; --bin names the weights")):
        if not file.is_file():
            raise ConfigError(f"cannot add '{param}': there is no file '{file}'{hint}")
    kind = recognised(NcnnFiles(param, binary))
    with draft(settings.server.model_dir, param=param, binary=binary, **fields) as adding:

        def model(row: Row) -> Model:
            folder = adding.path.parent
            return Model.of(row, weights_folder=folder, folder=folder)

        async def trial(**more: bool) -> Tried:
            """Write the row and the golden picture, and compute with the network."""
            row = adding.write(architecture=kind.architecture, scale=kind.scale, **more)
            golden = golden_of_ncnn(model(row))
            if golden is not None:
                write_picture(adding.golden, golden)
                row = adding.write(golden=adding.golden.name)
            one = model(row)
            async with make_engine(Catalogue([one]), threads=config.cores()) as engine:
                return await tried(engine, one, read_photograph(photograph))

        found = await trial()
        if not found.looks_alike and kind.architecture == "generic":
            # Nothing in the files tells networks whose result is to be added to the picture from others.
            other = None
            with suppress(EnlargerError):
                other = await trial(is_residual=True)
            found = other if other and other.looks_alike else await trial(is_residual=False)
        adding.write(seams=found.seams)
        adding.publish()
    return fields["id"], found
