"""``make swagger-ui``: copies the files of swagger-ui-dist that ``/docs`` needs into the package, and checks each one.

npm fetches the package, and the script compares it with the hash below. To move to another version, change
``VERSION`` and ``INTEGRITY`` (``npm view swagger-ui-dist@VERSION dist.integrity``), run the script, and look at the
page in a browser. It writes ``SHA256SUMS`` beside the files, with which a test detects changed files.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "5.35.0"
INTEGRITY = "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ=="

FILES = (
    *("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"),
    *("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"),
)
"""The files that the page loads, and their licences."""

FOLDER = Path(__file__).parents[1] / "src" / "enlarger" / "api" / "document" / "swagger_ui"


def main() -> None:
    """Fetch, check, write."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(  # noqa: S603 - the command is written here
            ["npm", "pack", "--silent", f"swagger-ui-dist@{VERSION}"],  # noqa: S607 - of this machine
            cwd=name,
            check=True,
        )
        (package,) = Path(name).glob("*.tgz")
        digest = hashlib.sha512(package.read_bytes()).digest()
        if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
            raise SystemExit(f"swagger-ui-dist {VERSION} is not the package that was looked at")
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(package) as archive:
            for file in FILES:
                content = archive.extractfile(f"package/{file}")
                if content is None:
                    raise SystemExit(f"swagger-ui-dist {VERSION} has no {file}")
                (FOLDER / file).write_bytes(content.read())
    (FOLDER / "SHA256SUMS").write_text(sums())


def sums() -> str:
    """Return the SHA-256 of each file, in the format of ``sha256sum --check``."""
    return "".join(
        f"{hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()}  {file}\n"
        for file in sorted(FILES)
    )


if __name__ == "__main__":
    main()
