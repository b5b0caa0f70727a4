"""Fetching published data: whole and with the content asked for, or not at all."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from headrace.errors import InputError
from headrace.experiments.config import Download
from headrace.logs import logger
from headrace.provenance.manifests import digest_file, digest_json, read_json, write_json
from headrace.sources.archives import unpack
from headrace.sources.files import hash_files

CHUNK_BYTES = 2**20
TIMEOUT_S = 30
"""Without a byte from the other side."""
STALE_S = 7 * 24 * 3600
"""Nobody fetches for so long: what is older was left by a process that was killed."""


def fetch(downloads: Sequence[Download], root: Path) -> Path:
    """The folder with the files asked for, which are fetched unless they lie there with the content they had.

    It appears whole or not at all, whatever ends this process. Raises InputError, naming the address, for what cannot
    be reached, has another content than asked for, or cannot be unpacked.
    """
    names = [_file_name(download.address) for download in downloads]
    wanted = [[name, d.sha256, d.unpack] for name, d in zip(names, downloads, strict=True)]
    folder = root / digest_json(wanted)[:16]
    if _is_whole(folder):
        return folder
    _remove_stale(root)
    private = root / f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        private.mkdir(parents=True)
        digests: dict[str, str] = {}
        for name, download in zip(names, downloads, strict=True):
            digests |= _fetch_one(name, download, private)
        _publish(private, folder, digests)
    except OSError as error:
        raise InputError(f"download: {root}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return folder


def _file_name(address: str) -> str:
    """The last part of an address. Raises InputError where that is no name of a file."""
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    if not name or name == ".." or name.startswith(".") or "\\" in name or not name.isprintable():
        raise InputError(f"download: {address}: does not end with the name of a file")
    return name


def _fetch_one(name: str, download: Download, folder: Path) -> dict[str, str]:
    """Fetch a file, and unpack it where that is asked for; returns the SHA-256 of what is there by its path."""
    # What is yet to be unpacked has a place of its own: an archive may hold a file of its own name.
    path = folder / (f".{name}" if download.unpack else name)
    if path.exists():
        raise InputError(f"download: {download.address}: another file of the name {name} was fetched already")
    logger.info("fetching %s", download.address)
    _transfer(download.address, path)
    sha256 = digest_file(path)
    if sha256 != download.sha256:
        raise InputError(
            f"download: {download.address}: its content has the SHA-256 {sha256}, not {download.sha256} as asked for"
        )
    if not download.unpack:
        return {name: sha256}
    digests = unpack(path, folder, f"download: {download.address}")
    path.unlink()
    return digests


def _transfer(address: str, path: Path) -> None:
    from ftplib import Error as FTPError

    from pooch import FTPDownloader, HTTPDownloader

    if address.startswith("ftp:"):
        downloader = FTPDownloader(timeout=TIMEOUT_S, chunk_size=CHUNK_BYTES)
    else:
        # As it is published: a server may offer to compress it on the way, and what arrives is what is hashed.
        headers = {"Accept-Encoding": "identity"}
        downloader = HTTPDownloader(chunk_size=CHUNK_BYTES, timeout=TIMEOUT_S, headers=headers)
    try:
        downloader(address, path, None)
    # Those of requests are OSErrors; addresses that it cannot make sense of are ValueErrors.
    except (OSError, FTPError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"download: {address}: cannot be fetched: {why}") from None


def _record(folder: Path) -> Path:
    """Which files a folder holds, and what is in them."""
    return folder.with_name(f"{folder.name}.json")


def _is_whole(folder: Path) -> bool:
    """Whether everything lies there, with the content it had, and nothing else."""
    try:
        digests = read_json(_record(folder))
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        if not isinstance(digests, Mapping) or found != set(digests) or not folder.is_dir():
            return False
        paths = [folder / name for name in sorted(found)]
        hashed = hash_files(paths, folder.with_name(f"{folder.name}.hashes.json"))
    except (OSError, ValueError, InputError):
        return False
    return all(file["sha256"] == digests[name] for name, file in zip(sorted(found), hashed, strict=True))


def _publish(private: Path, folder: Path, digests: Mapping[str, str]) -> None:
    """Move what was fetched into place; another process that was first has fetched the same."""
    for _ in range(3):
        if _is_whole(folder):
            return
        if folder.exists():
            logger.warning("%s: was changed since it was fetched; it is replaced", folder)
            aside = private.with_name(f"{private.name}.old")
            with suppress(FileNotFoundError):
                os.replace(folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
        write_json(_record(folder), dict(digests))
        try:
            os.rename(private, folder)
        except FileExistsError:
            continue
        except OSError as error:
            if not folder.exists():
                raise error
            continue
        return
    raise InputError(f"download: {folder}: cannot be put in place; somebody else writes there")


def _remove_stale(root: Path) -> None:
    for path in root.glob(".*-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_S:
                shutil.rmtree(path, ignore_errors=True)
