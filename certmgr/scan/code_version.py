"""The version of the code that reads and judges what servers send, for what is stored of it."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.resources import files


@cache
def code_version(*packages: str) -> str:
    """Return a digest of the modules of packages, without that of the packages in them.

    A number that each change has to increase would be forgotten, and an endpoint that serves the
    same as before would keep the findings of an earlier version.
    """
    digest = blake2b(digest_size=8)
    for package in packages:
        modules = [f for f in files(package).iterdir() if f.name.endswith(".py")]
        for module in sorted(modules, key=lambda f: f.name):
            digest.update(f"{package} {module.name} ".encode())
            digest.update(blake2b(module.read_bytes()).digest())
    return digest.hexdigest()
