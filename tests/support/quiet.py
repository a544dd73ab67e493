"""How pytest-xdist distributes the tests: file by file, and those that need a quiet machine at the end, one at a time."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

ALONE = "alone"
"""The marker of tests that need a quiet machine, and the name of their unit of work."""


@cache
def alone_in(file: Path) -> frozenset[str]:
    """Return the names of a file's test functions that are decorated with ``pytest.mark.alone``.

    The file is read because pytest-xdist tells the process that distributes the tests their names, and not their markers.
    """
    return frozenset(
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(
            ast.unparse(decorator) == f"pytest.mark.{ALONE}" for decorator in node.decorator_list
        )
    )


class QuietLast(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Distributes whole files, because the tests of a file share services that are expensive to start.

    Tests with the marker ``alone`` are held back until all workers but one have ended. So one run has one report and
    one exit status for all of them. The files start in the order in which they were collected.
    """

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        file, _, name = nodeid.partition("::")
        is_alone = name.partition("[")[0] in alone_in(self.config.rootpath / file)
        return ALONE if is_alone else file

    @property
    def _only_alone_left(self) -> bool:
        return list(self.workqueue) == [ALONE]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self._only_alone_left and len(self.nodes) > 1:
            return
        if next(iter(self.workqueue)) == ALONE and len(self.workqueue) > 1:
            self.workqueue.move_to_end(ALONE)  # the work of a worker that crashed comes first
        super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        if not self._only_alone_left or len(self.nodes) == 1:
            super()._reschedule(node)
        elif sum(not each.shutting_down for each in self.nodes) > 1:
            node.shutdown()  # it completes the tests that it has

    def remove_node(self, node: WorkerController) -> str | None:
        """Forget a worker that has ended or crashed; the last one may now begin with the tests that were held back.

        Returns:
            The test during which it crashed, which fails and is not tried again, or None.
        """
        left = [
            (scope, nodeid)
            for scope, unit in self.assigned_work[node].items()
            for nodeid, is_done in unit.items()
            if not is_done
        ]
        self.assigned_work[node] = {}
        for scope, nodeid in left[1:]:
            self.workqueue.setdefault(scope, {})[nodeid] = False
        super().remove_node(node)
        for each in self.nodes:
            # One that replaces a crashed worker begins when it has collected the tests.
            if each in self.registered_collections and self.workqueue:
                self._reschedule(each)
        return left[0][1] if left else None


def how_it_ended(node: WorkerController) -> str:
    """Return a line about a worker that crashed: the exit status of its process, or the signal that ended it.

    pytest-xdist only reports the test during which it happened.
    """
    process = node.gateway._io.popen  # execnet has no public name for it
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return f"{node.gateway.id} closed its connection and still runs"
    ended = f"exited with status {status}" if status >= 0 else f"was ended by signal {-status}"
    return f"{node.gateway.id}, process {process.pid}, {ended}"


LONG = ("tests/service/", "tests/repository/test_doc_blocks.py")
"""Where the tests are that run real services for minutes. They start first, so that no worker is left with one at the end."""


def order(item: pytest.Item) -> int:
    """Return the place of a test among all: long files first, and those that need a quiet machine last."""
    if item.get_closest_marker(ALONE):
        return 2
    return 0 if item.nodeid.startswith(LONG) else 1
