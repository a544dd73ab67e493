"""The command line, and the composition root: the only place where parts are wired together."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import secrets
import shlex
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.table import Table

from enlarger import __version__, config, tracing
from enlarger.config import Precision
from enlarger.errors import ConfigError, EnlargerError, InvalidUrl, SourceUnreachable, reason_of
from enlarger.memory import importing
from enlarger.streams import Unfailing

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from enlarger.client import JobStatus
    from enlarger.job import Options
    from enlarger.shell.arguments import Asked

app = typer.Typer(
    help="Self-hosted image upscaling: Real-ESRGAN in the shell and behind an HTTP API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# Names are printed as they are: nothing in them is markup, or the name of an emoji.
_console = Console(markup=False, emoji=False)
_errors = Console(file=cast(TextIO, Unfailing()), markup=False, emoji=False)
_held: list[object] = []
"""What a command leaves as it is when it ends: to take a network apart takes a tenth of a second."""

SAMPLE = Path(__file__).parent / "sample.png"
"""A small photo that comes with the package: the eye of a cat (scikit-image's "chelsea", CC0)."""

EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells count it."""

PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        help="f32, bf16, int8, or auto: bf16 where the processor has it, and f32 for pictures of more than 8 bits. [env: ENLARGER_PRECISION]"
    ),
]


ApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar="ENLARGER_API_KEY", help="Of the server, where it asks for one."),
]
ServerOption = Annotated[
    str, typer.Option(envvar="ENLARGER_SERVER_URL", help="Address of the enlarger server.")
]
JobArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the job: job_...")]

DEFAULT_SERVER = "http://127.0.0.1:8000"


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        _console.print(__version__)
        raise typer.Exit


@app.command()
def upscale(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... [OUT]",
            help="Pictures, folders of them, URLs, or - for standard input; and where the results go: a file, a folder "
            "for several, or - for standard output.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Where the results go; then all other arguments are inputs.",
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Put before the ending of each result: cat.jpg becomes cat-4x.jpg with --suffix=-4x. Without OUT, "
            "results lie beside their pictures.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale", "-s", help="Pixels of the result per pixel: 1 to 8. 4 if no size is given."
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Width of the result in pixels.")] = None,
    height: Annotated[int | None, typer.Option(help="Height of the result in pixels.")] = None,
    long_side: Annotated[int | None, typer.Option(help="Longer side of the result.")] = None,
    short_side: Annotated[int | None, typer.Option(help="Shorter side of the result.")] = None,
    fit: Annotated[
        str,
        typer.Option(
            help="How --width and --height together are met: inside, fill, outside or cover."
        ),
    ] = "inside",
    region: Annotated[
        str | None, typer.Option(help="Only this part: x,y,width,height in pixels of the picture.")
    ] = None,
    model: Annotated[str, typer.Option(help="A model id of `enlarger models`.")] = "auto",
    precision: PrecisionOption = None,
    color_lock: Annotated[
        bool, typer.Option(help="Set the colours of large areas back to those of the picture.")
    ] = True,
    color: Annotated[
        str, typer.Option(help="Keep the colour profile, or convert to srgb.")
    ] = "keep",
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="png, jpeg or jpg, webp, avif, tiff, or auto: the picture's own. The name of an OUT file decides by itself. "
            "Default: png, with --suffix auto.",
        ),
    ] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, for jpg, webp and avif.")] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(help="Largest size of the file: quality, then size is lowered until it fits."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="How much of an animation: all, first, or a number. All if the format of the result holds them."
        ),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="Colour to put under transparency, such as '#ffffff'.")
    ] = None,
    metadata: Annotated[str, typer.Option(help="keep or strip EXIF, XMP and resolution.")] = "keep",
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Write model, hash and options into the file.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there already.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave results alone that are there already.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only print what each picture would become, and its time, memory and bytes.",
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            help="Address of an enlarger server that does the work, such as http://host:8000."
        ),
    ] = None,
    api_key: ApiKeyOption = None,
) -> None:
    """Enlarge one picture, or many, in this process, or by a server."""
    _quiet_logs()
    # Imported here, as in the other commands, so that `enlarger --help` answers at once.
    from enlarger.job import read_options
    from enlarger.shell.arguments import StandardOutput, asked_of

    sized = any((scale, width, height, long_side, short_side))
    given = {
        "scale": scale if sized else 4.0,
        "width": width,
        "height": height,
        "long_side": long_side,
        "short_side": short_side,
        "fit": fit,
        "region": region,
        "model": model,
        "color_lock": color_lock,
        "color": color,
        "format": _format(format_),
        "quality": quality,
        "max_bytes": max_bytes,
        "frames": frames,
        "background": background,
        "metadata": metadata,
        "provenance": provenance,
        # Without a server it is the engine's, and a setting.
        "precision": precision if server and precision else "auto",
    }
    options = read_options(given, strict=False)
    asked = asked_of(
        arguments,
        output,
        suffix=suffix,
        overwrite=overwrite,
        skip_existing=skip_existing,
        dry_run=dry_run,
    )
    if isinstance(asked.out, StandardOutput) and sys.stdout.isatty() and not dry_run:
        _fail(
            "standard output is a terminal; send it to a file or a program", ConfigError.exit_status
        )
    if server is not None:
        working = _upscale_remotely(asked, options, server, api_key)
    else:
        working = _upscale(asked, options, config.load(precision=precision))
    status = asyncio.run(_until_told(working))
    if status:
        raise typer.Exit(status)


async def _until_told(working: Coroutine[Any, Any, int]) -> int:
    """The exit status of some work. SIGTERM and SIGHUP end it as Ctrl-C does: nothing half-written is left."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(working)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]  # as shells count it


_FORMATS = {"jpg": "jpeg", "tif": "tiff"}
"""Formats by the other names that people have for them."""


def _format(name: str | None) -> str | None:
    return None if name is None else _FORMATS.get(name.lower(), name.lower())


async def _upscale_remotely(asked: Asked, options: Options, url: str, api_key: str | None) -> int:
    """Have pictures enlarged by a server; returns the exit status."""
    from enlarger.client import AsyncClient
    from enlarger.picture.sandbox.pool import Decoders
    from enlarger.shell.remote import RemoteWorker
    from enlarger.shell.run import run
    from enlarger.shell.sources import Reader

    async with AsyncClient(url, api_key=api_key) as client, Decoders(1) as decoders:
        worker = RemoteWorker(client, decoders, Reader(), is_watched=_errors.is_terminal)
        return await run(asked, options, worker, _errors, output=_print)


async def _upscale(asked: Asked, options: Options, settings: config.Settings) -> int:
    """Enlarge pictures with an engine in this process; returns the exit status."""
    from enlarger.picture.sandbox.process import DecoderProcess

    decoder = DecoderProcess()
    async with AsyncExitStack() as stack:
        # Half a second, which the decoder has for its own imports.
        with importing():
            from enlarger.engine.openvino import OpenVINOEngine
            from enlarger.models import Catalogue
            from enlarger.picture.sandbox.pool import Decoders

        decoders = await stack.enter_async_context(Decoders(1, first=decoder))
        catalogue = Catalogue.installed(settings.model_dir)
        usual = catalogue.choose(options.model, scale=4)
        cores = config.cores()
        engine = await stack.enter_async_context(
            OpenVINOEngine(
                catalogue,
                threads=cores,
                precision=settings.precision,
                cache_folder=settings.cache_folder,
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
            from enlarger.fetch import Fetcher

            fetcher = Fetcher(settings.fetch, limit_bytes=settings.max_file_size_bytes)
            try:
                return await fetcher.fetch(url)
            except InvalidUrl as error:
                raise InvalidUrl(
                    "it must be an http or https URL with a host, without a user name and spaces"
                ) from error
            except SourceUnreachable as error:
                # A server's caller is not told why; here the user is also the operator.
                raise SourceUnreachable(reason_of(error.__cause__ or error)) from error

        worker = LocalWorker(
            engine=engine,
            catalogue=catalogue,
            decoders=decoders,
            executor=stack.enter_context(ThreadPoolExecutor(cores)),
            reader=Reader(fetched),
            precision=settings.precision,
            begin_to_load=engine.begin_to_load,
        )
        return await run(asked, options, worker, _errors, output=_print)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")
    ] = 8000,
) -> None:
    """Start the gateway and its model servers."""
    from enlarger.web import logs

    settings = config.load()
    logs.configure("gateway", level=settings.log_level, form=settings.log_format)
    _trace(settings, "enlarger-gateway")
    with importing():
        from enlarger import gateway

    announce = partial(_announce, public_url=settings.public_url)
    status = asyncio.run(gateway.serve(settings, host, port, announce=announce))
    tracing.stop()
    _leave(status)


def _trace(settings: config.Settings, service: str) -> None:
    """Send traces, if a setting asks for it."""
    if variable := settings.traces_asked_by:
        tracing.start(service, variable=variable)


def _announce(address: tuple[str, int], public_url: str | None) -> None:
    """Say on stdout that the service is ready, with a line to paste."""
    host, port = address
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://{shown}:{port}"
    for line in (
        f"enlarger is ready on {url}",
        *([f"Links in its answers begin with {public_url.rstrip('/')}"] if public_url else []),
        "Try it with a picture that is here already:",
        "",
        _paste_line(url),
        "",
    ):
        _console.print(line, highlight=False, soft_wrap=True)


def _paste_line(url: str) -> str:
    """A shell command that enlarges the sample picture; curl where there is one, else the Python that runs this."""
    if shutil.which("curl"):
        return (
            f"""printf '{{"scale": 4, "inline": false, "image_b64": "%s"}}' "$(base64 < {shlex.quote(str(SAMPLE))} | tr -d '\\n')" """
            f"| curl -s {url}/upscale -H 'Content-Type: application/json' -d @-"
        )
    code = (
        "import base64, json, urllib.request as http; "
        f"picture = base64.b64encode(open({str(SAMPLE)!r}, 'rb').read()).decode(); "
        "body = json.dumps({'scale': 4, 'inline': False, 'image_b64': picture}).encode(); "
        f"print(http.urlopen(http.Request('{url}/upscale', body, {{'Content-Type': 'application/json'}})).read().decode())"
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


_BEHIND_THE_GATEWAY = 5
"""Niceness of a model server that shares the gateway's cores: a third of the weight. Whoever waits for an answer needs
little of the cores, and needs it now. Not more: other programs on all cores must not make a tile four times
slower, which is when an attempt counts as lost."""


@app.command()
def model_server(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")
    ] = 5002,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Compute threads. Unset: one per core.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="What this process is called in its log.")
    ] = "model-server",
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
    ready_at_once: Annotated[bool, typer.Option("--ready-at-once", hidden=True)] = False,
) -> None:
    """Start one model server, for a gateway that names it in ENLARGER_SERVERS."""
    from enlarger.web import logs

    if exit_with_parent:
        os.nice(_BEHIND_THE_GATEWAY)
        _end_with_parent()
    settings = config.load()
    logs.configure(name, level=settings.log_level, form=settings.log_format)
    _trace(settings, "enlarger-model-server")
    asyncio.run(
        _model_server(
            settings,
            host,
            port,
            threads or config.cores(),
            is_loaded_first=not ready_at_once,
            is_supervised=exit_with_parent,
        )
    )
    tracing.stop()
    _leave(0)


async def _model_server(
    settings: config.Settings,
    host: str,
    port: int,
    threads: int,
    *,
    is_loaded_first: bool,
    is_supervised: bool,
) -> None:
    with importing():
        import structlog

        from enlarger.engine.openvino import OpenVINOEngine
        from enlarger.models import Catalogue
        from enlarger.pool.supervisor import PORT_LINE
        from enlarger.web import launcher

    if settings.tile_token is None and not launcher.is_loopback(host):
        raise ConfigError(
            f"ENLARGER_TILE_TOKEN: needed to listen on {host}, and the same at the gateway, so that nobody else "
            "uses this model server; `openssl rand -hex 32` makes one"
        )
    if is_supervised:
        # The gateway has looked at its start. What broke since must not keep the other models from coming back.
        catalogue, faults = Catalogue.examined(settings.model_dir, hashed=False)
        for fault in faults:
            structlog.get_logger().error("model_unusable", reason=fault)
    else:
        catalogue = Catalogue.installed(settings.model_dir, hashed=True)
    listener = launcher.bind(host, port, variable="--port")
    service = launcher.Service(settings.drain_s)
    usual = catalogue.choose("auto", scale=4).id if is_loaded_first else None
    async with OpenVINOEngine(
        catalogue, threads=threads, precision=settings.precision, cache_folder=settings.cache_folder
    ) as engine:
        if usual is not None:
            engine.begin_to_load(usual)
        # Imported here, beside the loading; whether that came to anything, `load` will find.
        with importing():
            from enlarger.model_server import ModelServer, load

        server = ModelServer(engine, service, token=settings.token)
        loading = asyncio.create_task(load(engine, server, usual))
        _console.print(f"{PORT_LINE}{listener.getsockname()[1]}", highlight=False)
        await launcher.serve(server.asgi(), listener=listener, service=service)
        loading.cancel()


_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def _end_with_parent() -> None:
    """End when the parent does, however it ends."""
    if sys.platform == "linux":
        # One that is stopped, or stuck in native code, reads nothing: the kernel kills it. It does so when the thread
        # ends that started this process: asyncio starts processes on its loop's thread, the gateway's first one,
        # which ends last. A parent that is dead by now has closed our stdin already.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    """End when the parent does: it holds the other end of stdin open as long as it lives."""
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


def _leave(status: int) -> NoReturn:
    """End now: a thread that still computes what nobody waits for must not hold the process."""
    try:
        sys.stdout.flush()
    except OSError:
        status = status or EnlargerError.exit_status
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(status)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Of the caller: letters, digits, '.', '_' and '-'.")],
) -> None:
    """Make an API key, and the entry for ENLARGER_API_KEYS that lets its owner in."""
    secret = f"enl_{secrets.token_urlsafe(32)}"
    entry = f"{name}:sha256-{hashlib.sha256(secret.encode()).hexdigest()}"
    config.load(api_keys=entry)
    _say("The key, for the caller. It is shown this once:")
    _console.print(secret, highlight=False, soft_wrap=True)
    _say("The entry for ENLARGER_API_KEYS, which holds no secret:")
    _console.print(entry, highlight=False, soft_wrap=True)


@app.command()
def sign(
    url: Annotated[
        str, typer.Argument(help="To be signed, or its path and query: '/v1/upscale?url=...'.")
    ],
    expires_s: Annotated[
        int, typer.Option("--expires", min=1, help="Seconds until the link is refused.")
    ] = 3600,
    kid: Annotated[
        str | None, typer.Option("--key", help="Name of the key. Unset: the first one.")
    ] = None,
) -> None:
    """Sign a link, so that whoever has it needs no key; with a key of ENLARGER_SIGNING_KEYS."""
    from yarl import URL

    from enlarger.api import signing

    settings = config.load()
    keys = settings.signing_keys
    key = next((key for key in keys if kid in (None, key.kid)), None)
    if key is None:
        named = f" '{kid}'" if kid is not None else ""
        raise ConfigError(
            f"ENLARGER_SIGNING_KEYS: it has no key{named} to sign with; set it as at the gateway"
        )
    try:
        given = URL(url)
    except ValueError:
        _fail(f"'{url}' is no URL", ConfigError.exit_status)
    public_path = URL(settings.public_url).raw_path if settings.public_url else "/"
    prefix = signing.prefix_of(given.raw_path, public_path)
    if prefix is None:
        _fail("only links to what is under /v1/ can be signed", ConfigError.exit_status)
    # As it is sent: quoted where it has to be, by yarl, and the one sign that only browsers quote. Without the path
    # that a proxy takes off, as the gateway sees it.
    target = signing.sign(
        given.raw_path_qs.removeprefix(prefix).replace("'", "%27"),
        kid=key.kid,
        secret=key.secret.get_secret_value(),
        expires_at=int(time.time()) + expires_s,
    )
    host = f"{given.scheme}://{given.raw_authority}" if given.absolute else ""
    _console.print(f"{host}{prefix}{target}", highlight=False, soft_wrap=True)


@app.command()
def models() -> None:
    """List the models installed here, and what is wrong with those of MODEL_DIR that cannot be used."""
    from rich.text import Text

    from enlarger.models import Catalogue

    settings = config.load()
    catalogue, faults = Catalogue.examined(settings.model_dir)
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "scale", "for", "licence", "SHA-256"):
        table.add_column(heading, no_wrap=heading != "for")
    for model in catalogue:
        row = (model.id, f"{model.scale}x", model.title, model.licence, model.sha256[:12])
        table.add_row(*map(Text, row))
    _console.print(table)
    if note := settings.missing_model_dir:
        _say(note)
    for fault in faults:
        _complain(f"{fault} (in MODEL_DIR, '{settings.model_dir}')")
    if faults:
        raise typer.Exit(ConfigError.exit_status)


jobs = typer.Typer(
    help="Jobs at a server: work that goes on without this shell.", no_args_is_help=True
)
app.add_typer(jobs, name="jobs")


@jobs.command("submit")
def jobs_submit(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="A picture, its URL, or - for standard input.")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", help="Such as scale=4 or format=webp; may be repeated."),
    ] = None,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
) -> None:
    """Have a picture enlarged by a job; prints its id."""
    from enlarger.client import Client, UpscaleOptions
    from enlarger.job import read_options

    pairs = [pair.partition("=") for pair in option or []]
    if any(not equals for _, equals, _ in pairs):
        _fail("an option is given as NAME=VALUE, such as -o scale=4", ConfigError.exit_status)
    given = {name: value for name, _, value in pairs}
    options = read_options(given, strict=False).model_dump(exclude_unset=True)
    # Names that are unknown here go on to the server, which may know them, or says that it does not.
    fields = cast(UpscaleOptions, {**given, **options})
    with Client(server, api_key=api_key) as client:
        picture = sys.stdin.buffer if source == "-" else source
        _console.print(client.submit(picture, **fields).id, highlight=False)


@jobs.command("show")
def jobs_show(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Say how a job stands."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        _console.print(_job_line(client.jobs.get(job_id).status()), highlight=False)


@jobs.command("watch")
def jobs_watch(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Say how a job goes on, line by line, until it ends; fails if the job does."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        shown = ""
        for job in client.jobs.get(job_id).events():
            line = _job_line(job)
            if line != shown:
                _console.print(line, highlight=False, soft_wrap=True)
            shown = line
            if job.is_finished:
                job.check()


@jobs.command("save")
def jobs_save(
    job_id: JobArgument,
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="File of the result, or - for standard output.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it is there already.")
    ] = False,
    server: ServerOption = DEFAULT_SERVER,
    api_key: ApiKeyOption = None,
) -> None:
    """Write the result of a job into a file, once it is there."""
    from enlarger.client import Client
    from enlarger.shell import names
    from enlarger.shell.remote import line_of
    from enlarger.shell.targets import check_file
    from enlarger.shell.writing import written_aside

    file = None if str(target) == "-" else target
    if file is not None:
        check_file(file, overwrite=overwrite)
    with Client(server, api_key=api_key) as client:
        picture = client.jobs.get(job_id).result()
    if file is not None:
        picture.check_name(file)
    with written_aside(file, overwrite=overwrite) as aside:
        aside.write_bytes(picture.data)
    _say(line_of(picture, "standard output" if file is None else names.shown(file)))


@jobs.command("cancel")
def jobs_cancel(
    job_id: JobArgument, server: ServerOption = DEFAULT_SERVER, api_key: ApiKeyOption = None
) -> None:
    """Stop a job; of one that is done, delete the result."""
    from enlarger.client import Client

    with Client(server, api_key=api_key) as client:
        _console.print(_job_line(client.jobs.get(job_id).cancel()), highlight=False)


def _job_line(job: JobStatus) -> str:
    """How a job stands, in a line."""
    parts = [f"{job.id}: {job.state}"]
    if job.queue_position is not None:
        parts.append(f"number {job.queue_position} in the queue")
    if job.tiles_total:
        parts.append(f"{job.tiles_done} of {job.tiles_total} tiles")
    if job.eta_s is not None and not job.is_finished:
        parts.append(f"about {job.eta_s:.0f} s left")
    if job.error is not None:
        parts.append(f"{job.error.code}: {job.error}")
    return ", ".join(parts)


def main() -> NoReturn:
    """Run the command line; every error becomes a line and an exit status."""
    status = 0
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EnlargerError.exit_status
    except EnlargerError as error:
        status = error.exit_status
        _complain(str(error))
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except OSError as error:  # all others are told apart where they occur
        status = EnlargerError.exit_status
        _complain(f"cannot write to standard output: {reason_of(error)}")
    _leave(status)


def _say(text: str) -> None:
    _errors.print(text, highlight=False, soft_wrap=True)


def _print(text: str) -> None:
    _console.print(text, highlight=False, soft_wrap=True)


def _complain(text: str) -> None:
    _errors.print(f"enlarger: {text}", style="red", highlight=False, soft_wrap=True)


def _fail(text: str, status: int) -> NoReturn:
    _complain(text)
    sys.exit(status)


def _quiet_logs() -> None:
    """A shell command prints its result, not its log."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
