"""The least that any server of this stack could do: an endpoint that keeps 600 bytes, and one
that waits for it to be called.

    python -m tests.benchmarks.floor PORT FILE
"""

import asyncio
import sqlite3
import sys
import threading

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

ROW = "x" * 600


class Empty(BaseModel):
    text: str = ""


def application(file: str) -> FastAPI:
    app, turn, bell = FastAPI(), threading.Lock(), asyncio.Event()
    store = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, body TEXT)")

    def keep() -> None:
        with turn:
            store.execute("INSERT INTO row (body) VALUES (?)", [ROW])

    @app.get("/health")
    def health() -> Empty:
        return Empty()

    @app.post("/keep")
    def kept(body: Empty) -> Empty:
        """One durable commit."""
        keep()
        return body

    @app.get("/wait")
    async def wait() -> Empty:
        """Answers once somebody rings."""
        await bell.wait()
        bell.clear()
        return Empty()

    @app.post("/ring")
    async def ring(body: Empty) -> Empty:
        """One durable commit, then the bell."""
        await asyncio.to_thread(keep)
        bell.set()
        return body

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning"
    )
