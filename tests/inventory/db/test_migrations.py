"""The migrations form one chain, which ends at the revision that the program needs."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from inventory.db import migrations
from inventory.db.database import HEAD

FOLDER = Path(migrations.__file__).parent


def test_each_migration_follows_the_one_before_it_and_is_named_by_its_revision() -> None:
    """Two changes that take the same number at the same time would leave no usable chain."""
    files = sorted((FOLDER / "versions").glob("[0-9]*.py"))
    numbers = [f.name[:4] for f in files]
    assert numbers == [f"{n:04}" for n in range(1, len(files) + 1)]
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    chain = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    assert [(s.revision, Path(s.path).name) for s in chain] == [
        (number, f.name) for number, f in zip(numbers, files, strict=True)
    ]
    assert chain[-1].revision == HEAD
