"""A real browser on a real server: chromium without a screen, uvicorn on a free port."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

if TYPE_CHECKING:
    from fastapi import FastAPI
    from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

    from tests.support.world import World

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 375, "height": 760}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the test, saying why, where the machine has no chromium."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: the pages are not looked at in a browser here")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is one

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def enter(context: BrowserContext, world: World, url: str, person: str = "dana") -> Page:
    """The inbox, as somebody who has just followed their link."""
    page = context.new_page()
    page.goto(f"{url}/login/{world.access.create_link(person)}")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/")
    return page


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def free_socket() -> socket.socket:
    """Bound to a free port of the loopback, so that nobody else can take it meanwhile."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@contextlib.contextmanager
def serving(app: FastAPI, bound: socket.socket) -> Iterator[str]:
    """The application's address while it is being served from a thread of this process."""
    settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "ws": "none"}
    server = _Server(uvicorn.Config(app, **settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        assert server.ready.wait(60), "the server did not come up"
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        bound.close()
