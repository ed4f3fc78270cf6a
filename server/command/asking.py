"""Asking a server from the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

ARROW_STREAM = "application/vnd.apache.arrow.stream"


class Failed(Exception):
    """No answer, or an error as answer; the text is for the user."""


def ask(
    url: str, values: dict[str, str], *, ranged: bool, key: str = "", org: str = ""
) -> dict[str, Any]:
    """The answer of ``/api/v1/query`` or, where *ranged*, ``/api/v1/query_range``."""
    return _json(url, _post(url, values, ranged, _headers(key, org)))


def ask_table(
    url: str, values: dict[str, str], *, ranged: bool, key: str = "", org: str = ""
) -> "pa.Table":
    """The same answer as an Arrow table."""
    import pyarrow as pa

    reply = _post(url, values, ranged, {**_headers(key, org), "Accept": ARROW_STREAM})
    if reply.headers.get("content-type") != ARROW_STREAM:
        _json(url, reply)
        raise Failed(f"{url} does not answer in Arrow")
    with pa.ipc.open_stream(reply.content) as stream:
        return stream.read_all()


def _headers(key: str, org: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {**headers, "X-Org-Id": org} if org else headers


def _post(
    url: str, values: dict[str, str], ranged: bool, headers: dict[str, str]
) -> "httpx.Response":
    import httpx  # takes a while, and a server asks nobody

    path = "/api/v1/query_range" if ranged else "/api/v1/query"
    form = {name: value for name, value in values.items() if value}
    try:
        return httpx.post(url.rstrip("/") + path, data=form, headers=headers, timeout=150)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failed(f"{url}: {error}") from None


def _json(url: str, reply: "httpx.Response") -> dict[str, Any]:
    try:
        answer: dict[str, Any] = reply.json()
    except ValueError:
        raise Failed(f"{url}: {reply.status_code} {reply.text.strip()}") from None
    if answer.get("status") != "success":
        raise Failed(str(answer.get("error", reply.text)))
    return answer
