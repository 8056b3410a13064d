"""Who may look: this user's browsers, by a link that opens once, and no page of another address."""

import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from longreach.view.key import derived

NEW_LINK = "stop `longreach view` with Ctrl-C, start it again, and open the link that it prints"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Stands before an application, and lets through who may look; everybody else hears why not, in a sentence.

    Admits    a browser that came once with the token of the link; from then on by a cookie, which counts for this
              port and this folder alone, also after a restart (`key`)
    Refuses   other hosts (a name that was made to point here), other origins (a page elsewhere that asks for ours),
              other methods than GET and HEAD (nothing here can be changed)
    Gives     every answer headers that keep it out of frames, caches and other pages
    """

    def __init__(self, app: ASGIApp, *, port: int, folder: Path, key: bytes):
        self._app = app
        # a browser leaves the port of http out
        self._hosts = {f"{host}{port}" for host in ("127.0.0.1:", "localhost:")} | (
            {"127.0.0.1", "localhost"} if port == 80 else set()
        )
        self._name = f"longreach-{derived(key, 'name', port, folder)[:16]}"
        self._value = derived(key, "value", port, folder)
        self._token: str | None = secrets.token_urlsafe(32)
        self.link = f"http://127.0.0.1:{port}/?token={self._token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send) if scope["type"] == "lifespan" else None
        answer = self._answer(scope) or self._app
        await answer(scope, receive, _with_headers(send))
        return None

    def _answer(self, scope: Scope) -> Response | None:
        """What stands between a request and the application; None for whoever may look."""
        headers = Headers(scope=scope)
        if why := self._foreign(headers):
            return refusal(403, f"403: this page is for the browsers of the machine that it runs on: {why}.")
        if scope["method"] not in ("GET", "HEAD"):
            answer = refusal(405, f"405: expected GET, got {scope['method'][:20]}: a run is looked at, never changed.")
            answer.headers["Allow"] = "GET, HEAD"
            return answer
        known = self._is_known(headers.getlist("cookie"))
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("token")
        if asked is None or scope["path"] != "/":
            return None if known else refusal(403, f"403: this browser has not been let in: {NEW_LINK}.")
        if known or (scope["method"] == "GET" and self._spend(asked)):
            return self._let_in()
        return refusal(403, f"403: this link is wrong, or has been opened before: it opens once; {NEW_LINK}.")

    def _foreign(self, headers: Headers) -> str | None:
        """Why a request comes from elsewhere, or is meant for elsewhere; None where it does not."""
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return f"expected the address of the link, got another host; {NEW_LINK}"
        if any(origin != f"http://{hosts[0]}" for origin in headers.getlist("origin")):
            return "a page of another origin asked for it"
        if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
            return "another page led here; copy the link into the address bar"
        return None

    def _is_known(self, cookies: Sequence[str]) -> bool:
        found = (cookie_parser(cookie).get(self._name, "") for cookie in cookies)
        return any(hmac.compare_digest(value.encode(), self._value.encode()) for value in found)

    def _spend(self, asked: Sequence[str]) -> bool:
        """Whether this is the token; if so it has been used."""
        token = self._token
        if token is None or len(asked) != 1 or not hmac.compare_digest(asked[0].encode(), token.encode()):
            return False
        self._token = None
        return True

    def _let_in(self) -> Response:
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(self._name, self._value, httponly=True, samesite="strict", path="/")
        return answer


def refusal(status: int, sentence: str) -> Response:
    """A sentence for somebody who gets nothing else."""
    return PlainTextResponse(sentence + "\n", status)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sent
