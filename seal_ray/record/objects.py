"""Objects below a URL of S3, Google Cloud Storage or Azure. No write overwrites what its writer has not seen."""

from __future__ import annotations

import os
from typing import Any

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Objects:
    """Credentials, region and endpoint are those of the environment (`AWS_…`, `GOOGLE_…`) or the machine's role."""

    def __init__(self, url: str) -> None:
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
        self._store: Any = from_url(url, client_options={"allow_http": endpoint.startswith("http://")})

    def walk(self, folder: str) -> dict[str, int]:
        """Sizes of all objects below a folder, by their names from the root."""
        return {each["path"]: each["size"] for chunk in self._store.list(folder) for each in chunk}

    def exists(self, name: str) -> bool:
        return self._tag(name) is not None or bool(self.walk(name))

    def read(self, name: str) -> bytes:
        return bytes(self._store.get(name).bytes())

    def write(self, name: str, data: bytes) -> bool:
        """Replace what was seen a moment ago, or write what was not there; False when another came between."""
        tag = self._tag(name)
        try:
            self._store.put(name, data, mode="create" if tag is None else tag)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def create(self, name: str, data: bytes) -> bool:
        """Write an object that is not there yet; False, and nothing is written, when it is."""
        try:
            self._store.put(name, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return self.read(name) == data  # ours, if the answer to a first attempt was lost on the way
        return True

    def delete(self, name: str) -> None:
        self._store.delete(name)

    def move(self, name: str, to: str) -> None:
        self._store.rename(name, to)

    def _tag(self, name: str) -> dict[str, str] | None:
        """Which state of an object is there, as a condition for replacing it."""
        try:
            head = self._store.head(name)
        except FileNotFoundError:
            return None
        return {key: head[key] for key in ("e_tag", "version") if head[key] is not None}


ERRORS: tuple[type[Exception], ...] = (BaseError,)
