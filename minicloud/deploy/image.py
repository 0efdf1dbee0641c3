"""Stage: the demo guest's image file, fetched or built while other stages run.

CirrOS, which many know, where it can be had; else an image of the distribution's own kernel and
busybox, which needs its package archive alone. Both let ``cirros`` in with the same password.
"""

from __future__ import annotations

import hashlib
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

from minicloud.deploy import files, processes
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

CIRROS = "https://download.cirros-cloud.net/0.6.3/cirros-0.6.3-x86_64-disk.img"
AUTO, BUILT, FETCHED = "auto", "built", "cirros"
_BUILD_LIMIT_S = 600.0
_ANSWER_S = 4.0
"""How long a server may take to answer at all: nobody shall wait for one that is not there."""
_SUMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
_PIECE = 1 << 20
_LARGEST = 4 << 30


class NotToBeHad(Exception):
    """Why, in a few words."""


class DemoImage:
    """``wish``: auto, built, cirros, or a URL, to which ``#sha256=...`` may be added.

    auto leaves an image that is there as it is. One that was built is built again where
    ``checkout`` has changed how, and kept if that fails.
    """

    def __init__(self, places: Places, checkout: Path, wish: str = AUTO) -> None:
        self._file = places.demo_image
        self._log = places.log("image-build")
        self._builder = checkout / "tools" / "build-image"
        self._wish = wish
        self._thread = ThreadPoolExecutor(1)
        self._outcome: Future[str] | None = None

    def begin(self) -> None:
        if self._outcome is None and not self._is_there():
            files.directory(self._file.parent, mode=0o755)
            self._outcome = self._thread.submit(self._obtain)

    def ensure(self) -> str:
        if self._outcome is None and self._is_there():
            return f"{source(self._file).split()[0]}, in the cache"
        self.begin()
        assert self._outcome is not None
        words = self._outcome.result()
        self._outcome = None
        return words

    def _is_there(self) -> bool:
        wanted = {BUILT: self._recipe(), FETCHED: CIRROS, AUTO: source(self._file)}
        url = urldefrag(self._wish).url
        return self._file.exists() and source(self._file) == wanted.get(self._wish, url)

    def _obtain(self) -> str:
        if self._wish == BUILT:
            return self._build()
        url = CIRROS if self._wish in (AUTO, FETCHED) else self._wish
        try:
            part = fetch(url, self._file.parent)
        except NotToBeHad as problem:
            if self._wish != AUTO:
                raise StageFailed(
                    f"The image {url} cannot be had.", str(problem), "tools/up --image built"
                ) from problem
            return f"{self._build()} (no CirrOS: {problem})"
        self._make_room_for(urldefrag(url).url)
        part.replace(self._file)
        return f"{Path(urlsplit(url).path).name}, {self._file.stat().st_size / 1e6:.0f} MB"

    def _recipe(self) -> str:
        """Where an image is from that is built now: the word, and a digest of what builds it."""
        digest = hashlib.sha256(self._builder.read_bytes())
        for path in sorted((self._builder.parent / "guest").glob("*")):
            digest.update(path.read_bytes())
        return f"{BUILT} {digest.hexdigest()[:16]}"

    def _build(self) -> str:
        part = self._file.with_suffix(".new")
        build = processes.start_detached(
            # The person waits for the other stages first.
            ["nice", self._builder, "--cache", self._file.parent, part],
            log=self._log,
        )
        try:
            status = build.wait(_BUILD_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            build.terminate()
            raise StageFailed(
                f"The demo image was not built within {_BUILD_LIMIT_S:g} s.", log=self._log
            ) from error
        if status == 0 and part.exists():
            self._make_room_for(self._recipe())
            part.replace(self._file)
            return f"built, {self._file.stat().st_size / 1e6:.0f} MB"
        if self._file.exists() and source(self._file).split()[0] == BUILT:
            return f"built earlier; see {self._log} for why not anew"
        raise StageFailed(
            "The demo image could not be built.",
            advice="it needs the distribution's package archive; try apt-get update",
            log=self._log,
        )

    def _make_room_for(self, words: str) -> None:
        """Say where the file that is about to come is from; killed now, it comes the next time."""
        self._file.unlink(missing_ok=True)
        files.write(_source_file(self._file), f"{words}\n", mode=0o644)


def source(file: Path) -> str:
    """Where the image in ``file`` is from: ``built``, with a digest of how, or its URL."""
    try:
        return _source_file(file).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return BUILT


def fetch(url: str, directory: Path) -> Path:
    """The file at ``url``, whose checksum is right, in ``directory``. NotToBeHad."""
    place, fragment = urldefrag(url)
    kind, _, wanted = fragment.partition("=")
    if not fragment:
        kind, wanted = _published(place)
    elif kind != "sha256":
        raise NotToBeHad("a checksum is given as #sha256=...")
    part = directory / ".image.part"
    digest = hashlib.new(kind, usedforsecurity=kind != "md5")
    size = 0
    try:
        with _open(place) as answer, part.open("wb") as copy:
            while piece := answer.read(_PIECE):
                size += len(piece)
                if size > _LARGEST:
                    raise NotToBeHad("it is too large")
                digest.update(piece)
                copy.write(piece)
    except OSError as problem:
        raise NotToBeHad(_words(problem)) from problem
    if digest.hexdigest() != wanted.lower():
        part.unlink()
        raise NotToBeHad(f"its {kind} checksum is wrong")
    return part


def _published(url: str) -> tuple[str, str]:
    """(kind, checksum) that the directory of ``url`` names for it. NotToBeHad."""
    name = Path(urlsplit(url).path).name
    for sums, kind in _SUMS.items():
        try:
            with _open(urljoin(url, sums)) as answer:
                text = answer.read(_PIECE).decode("utf-8", "replace")
        except urllib.error.HTTPError:
            continue
        except OSError as problem:
            raise NotToBeHad(_words(problem)) from problem
        for line in text.splitlines():
            words = line.split()
            if len(words) == 2 and words[1].lstrip("*") == name:
                return kind, words[0]
    raise NotToBeHad("no checksum is published beside it")


def _open(url: str) -> urllib.request._UrlopenRet:
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotToBeHad("only http and https are fetched from")
    return urllib.request.urlopen(url, timeout=_ANSWER_S)  # noqa: S310 - checked above


def _words(problem: OSError) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        return f"status {problem.code}"
    reason = getattr(problem, "reason", problem)
    return "no answer" if isinstance(reason, TimeoutError) else "not reachable"


def _source_file(file: Path) -> Path:
    return file.with_suffix(".source")
