"""Tests of the page in a real Chromium, against a real service. They run apart from the others: ``make browser``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running import RunningService

if importlib.util.find_spec("playwright") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from playwright.sync_api import Browser, sync_playwright

    from page.visitor import Visitor, chromium

    SETTINGS = {
        "NUM_SERVERS": "2",
        "FILE_MAX_AGE": "900",
        "ENLARGER_DRAIN": "2",
        "MAX_FILE_SIZE": "20000000",
        "ENLARGER_FETCH": "127.0.0.1",
    }

    @pytest.fixture(scope="session")
    def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
        """A service with its model servers, which most tests share."""
        with RunningService(tmp_path_factory.mktemp("service"), SETTINGS) as running:
            yield running

    @pytest.fixture(scope="session")
    def browser() -> Iterator[Browser]:
        """A browser, which all tests share."""
        with sync_playwright() as playwright:
            running = chromium(playwright)
            yield running
            running.close()

    @pytest.fixture
    def visit(browser: Browser, service: RunningService) -> Iterator[Callable[..., Visitor]]:
        """Open the page in a tab of its own; at the end nobody may have complained."""
        visitors: list[Visitor] = []

        def opened(url: str | None = None, **options: Any) -> Visitor:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            visitor = Visitor(context.new_page(), url or f"{service.url}/")
            visitors.append(visitor)
            return visitor

        yield opened
        for visitor in visitors:
            complaints = visitor.complaints
            visitor.page.context.close()
            assert complaints == []

    @pytest.fixture(scope="session")
    def photos() -> Path:
        """Photographs that scikit-image carries."""
        spec = importlib.util.find_spec("skimage")
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / "data"
