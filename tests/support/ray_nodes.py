"""A Ray cluster of several nodes on this machine, in a process of its own: `python -m support.ray_nodes CPUS...`.

It prints the address once the nodes are there. Each line of standard input is a command, which is answered with a line:
`remove N` ends node N without warning, as if its machine lost power; `add CPUS` adds a node. It ends with its input.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from support.places import TESTS

STORE_BYTES = 150_000_000
PATIENCE_S = 150


@dataclass
class RayNodes:
    """Nodes as long as the context lasts; the first one is the head.

    Args:
        log: where Ray's own lines go.
        cpus: logical CPUs of each node.
    """

    log: Path
    cpus: tuple[float, ...]

    def __post_init__(self) -> None:
        self.token = secrets.token_hex(32)
        self.address = ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables of programs that connect to the cluster."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "ENLARGER_RAY_ADDRESS": self.address,
        }

    def __enter__(self) -> RayNodes:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.ray_nodes", *map(str, self.cpus)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=TESTS,
                env={**os.environ, **self.environment, "PYTHONPATH": str(TESTS)},
            )
        try:
            self.address = self._answer().split()[-1]
        except RuntimeError:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def remove(self, number: int) -> None:
        """End a node without warning."""
        self._ask(f"remove {number}")

    def add(self, cpus: float = 1) -> None:
        """Add a node."""
        self._ask(f"add {cpus}")

    def _ask(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("nodes: "):
                return line
        raise RuntimeError(f"the nodes ended; see {self.log}")


def _main(cpus: list[float]) -> None:
    from enlarger.cluster.environment import prepare

    prepare("here")
    from ray._private import services
    from ray.cluster_utils import Cluster

    get_node = services.get_node

    def patient_get_node(*arguments: object) -> object:
        """Wait longer than the 30 s that Ray waits for a node: a machine that runs other tests is slow."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() >= give_up:
                    raise
                time.sleep(0.5)

    services.get_node = patient_get_node

    def options(count: float) -> dict[str, object]:
        return {
            "num_cpus": count,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }

    cluster = Cluster(initialize_head=True, head_node_args=options(cpus[0]))
    nodes = [cluster.head_node, *(cluster.add_node(wait=False, **options(one)) for one in cpus[1:])]
    cluster.wait_for_nodes(PATIENCE_S)
    print("nodes: ready", cluster.address, flush=True)  # noqa: T201 - the answer
    for line in sys.stdin:
        command, number = line.split()
        if command == "remove":
            cluster.remove_node(nodes[int(number)], allow_graceful=False)
        else:
            nodes.append(cluster.add_node(wait=False, **options(float(number))))
            cluster.wait_for_nodes(PATIENCE_S)
        print("nodes: done", flush=True)  # noqa: T201 - the answer
    cluster.shutdown()


if __name__ == "__main__":
    _main([float(one) for one in sys.argv[1:]])
