"""The pages of one web site, breadth first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from vermilion.errors import ArgumentValueError, InvalidArgumentError
from vermilion.pipes.files import need
from vermilion.pipes.lines import Faults
from vermilion.pipes.uri import redacted
from vermilion.version import __version__

TIMEOUT = 30.0
MOST_BYTES = 20_000_000
_REDIRECTS = 5

Page = tuple[str, str | None, str]


def pages(start: str, depth: int, faults: Faults) -> Iterator[Page]:
    """Address, title and text of the page, and of those it links to on its host."""
    parts = urlsplit(start)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentValueError(f"expected http:// or https://, got {redacted(start)!r}")
    need("bs4")
    import httpx

    agent = {"User-Agent": f"vermilion/{__version__}"}
    with httpx.Client(timeout=TIMEOUT, headers=agent) as client:
        seen = {urldefrag(start)[0]}
        level, number = [urldefrag(start)[0]], 0
        for deeper in range(depth, 0, -1):
            below: list[str] = []
            for address in level:
                number += 1
                try:
                    page, links = _read(client, address, parts.netloc)
                except (InvalidArgumentError, httpx.HTTPError) as error:
                    problem = f"page {number}, {redacted(address)}: {error}"
                    faults.leave_out(number, InvalidArgumentError(problem))
                    continue
                yield page
                if deeper > 1:
                    below += [link for link in links if not (link in seen or seen.add(link))]  # type: ignore[func-returns-value]  # a set's add is None
            level = below


def _read(client: Any, address: str, host: str) -> tuple[Page, list[str]]:
    """A page and the addresses on its host that it links to."""
    body, kind, address = _fetch(client, address, host)
    if "html" not in kind and not kind.startswith("text/"):
        raise InvalidArgumentError(f"it is {kind or 'of no type'}, not a page")
    soup = need("bs4").BeautifulSoup(body, "html.parser")
    for hidden in soup(["script", "style", "noscript", "template"]):
        hidden.decompose()
    title = soup.title.get_text(strip=True) if soup.title else None
    text = (soup.body or soup).get_text("\n", strip=True)
    found = [urldefrag(urljoin(address, one["href"]))[0] for one in soup.find_all("a", href=True)]
    links = [
        one for one in found if urlsplit(one).scheme in ("http", "https")
        and urlsplit(one).netloc == host
    ]  # fmt: skip
    return (redacted(address), title, text), links


def _fetch(client: Any, address: str, host: str) -> tuple[bytes, str, str]:
    for _ in range(_REDIRECTS):
        with client.stream("GET", address) as answer:
            if answer.next_request is not None:
                address = str(answer.next_request.url)
                if urlsplit(address).netloc != urlsplit(f"//{host}").netloc:
                    raise InvalidArgumentError("it leads to another host")
                continue
            if answer.status_code >= 400:
                raise InvalidArgumentError(f"the server answered {answer.status_code}")
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise InvalidArgumentError(f"it has more than {MOST_BYTES:,} bytes")
            return body, answer.headers.get("content-type", ""), address
    raise InvalidArgumentError("it redirects again and again")
