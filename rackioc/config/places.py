"""Where rackioc keeps its files: the paths of a configuration, each counted from its state directory.

That is what the configuration says under ``state_directory``, else the directory of the configuration file. So all
commands find the same files, wherever they are started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from archiver.settings import ArchiveSettings
from archiver.storage.url import DatabaseUrl
from rackioc.config.yamlfile import Key, YamlFile
from web.settings import WebSettings


class Places:
    """The state directory of the configuration file ``path``; ``data``: its keys."""

    def __init__(self, path: Path, data: dict[Any, Any], file: YamlFile) -> None:
        given = data.get("state_directory")
        self._path = path.absolute()
        self._file = file
        self._stem = path.stem
        # A relative one counts from where rackioc is started: "." is that directory.
        self.state = (Path(given) if isinstance(given, str) and given else path.parent).absolute()

    def site_file(self, given: Any) -> Path:
        """Return the path of the file with what clients set at run time."""
        return self._of(given, f"{self._stem}.site.yaml")

    def archive(self, settings: ArchiveSettings) -> ArchiveSettings:
        """Return the settings with absolute paths of the spool and of an SQLite file."""
        spool = replace(settings.spool, file=str(self._of(settings.spool.file, f"{self._stem}.spool")))
        return replace(settings, spool=spool, database=self._database(settings.database))

    def web(self, settings: WebSettings) -> WebSettings:
        """Return the settings with absolute paths."""
        return replace(
            settings,
            logins=self._if_given(settings.logins),
            certificate=self._if_given(settings.certificate),
            key=self._if_given(settings.key),
        )

    def check_state(self) -> None:
        """Report a state directory that is not there."""
        self._check(("state_directory",), self.state)

    def check_distinct(self, site_file: Path, archive: ArchiveSettings | None, web: WebSettings | None) -> None:
        """Report a file that would be written as two things: a spool would take an archive for its own."""
        files: dict[Key, Path | None] = {("site_file",): site_file}
        if archive is not None:
            files["archive", "database"] = DatabaseUrl.parse(archive.database).file
            files["archive", "spool", "file"] = Path(str(archive.spool.file))
        if web is not None and web.logins is not None:
            files["web", "logins"] = Path(web.logins)
        taken = {self._path.resolve(): "the configuration"}
        if archive is not None:
            for own in (archive.status_file(self._path), archive.figures_file(self._path)):
                taken[own.resolve()] = "a file that the archiver writes beside the spool"
        for key, file in files.items():
            if file is None:
                continue
            if other := taken.get(file.resolve()):
                self._file.fault(key, f"{file} is {other} already; write another path")
            taken[file.resolve()] = ".".join(map(str, key))

    def check_directories(self, site_file: Path, archive: ArchiveSettings | None, web: WebSettings | None) -> None:
        """Report what is no file or has no directory, and what the web server could not read."""
        self.check_state()
        files: dict[Key, Path] = {("site_file",): site_file}
        if archive is not None:
            url = DatabaseUrl.parse(archive.database)
            if url.file is not None:
                files["archive", "database"] = url.file
            files["archive", "spool", "file"] = Path(str(archive.spool.file))
        for key, file in files.items():
            self._check(key, file.parent)
        for name in ("logins", "certificate", "key") if web is not None else ():
            path = getattr(web, name)
            if path is not None:
                files["web", name] = Path(path)
                if is_missing(Path(path)):
                    self._file.fault(("web", name), f"there is no file {path}; make it, or write another path")
        for key, file in files.items():
            if os.path.isdir(file):  # not where one may not look
                self._file.fault(key, f"{file} is a directory; write the path of a file")

    def _database(self, database: str) -> str:
        url = DatabaseUrl.parse(database)
        if url.file is None:
            return database
        return url.nodes[0].set(database=str(self.state / url.file)).render_as_string(hide_password=False)

    def _of(self, given: Any, default: str) -> Path:
        return self.state / (given if isinstance(given, str) and given else default)

    def _if_given(self, given: str | None) -> str | None:
        return str(self.state / given) if given else None

    def _check(self, key: Key, folder: Path) -> None:
        if is_missing(folder, stat.S_ISDIR):
            self._file.fault(key, f"there is no directory {folder}; make it, or write another path")


def is_missing(path: Path, is_kind: Callable[[int], bool] = lambda _: True) -> bool:
    """Return True if there is no such file or directory; where one may not look there may be, for another user.

    The methods of a path do not tell the one from the other: from Python 3.14 on they are False for both.
    """
    try:
        return not is_kind(path.stat().st_mode)
    except PermissionError:
        return False
    except (OSError, ValueError):
        return True
