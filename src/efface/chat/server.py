"""The page, served to one machine: a few files, and answers as lines of JSON. No framework, nothing from elsewhere."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import sys
import threading
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from ipaddress import ip_address
from socketserver import TCPServer
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from efface.chat.messages import MOST_NEW_TOKENS, ChatRequest, Side
from efface.chat.session import Chat
from efface.chat.stream import TokenChoice, TokenStep
from efface.errors import EffaceError

_LONGEST_BODY = 1 << 20
_SECONDS_OF_SILENCE = 30
"""Until a browser that neither sends nor reads is given up."""
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "chat.js": ("chat.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Connection": "close",
}


class ChatServer(ThreadingHTTPServer):
    """Serves one conversation at an address that nobody guesses."""

    def __init__(self, chat: Chat, facts: dict[str, Any], *, host: str, port: int) -> None:
        """`facts`: what the page shows of the run. Raises `EffaceError` where it cannot listen there."""
        self.chat, self.token, self.stopping = chat, secrets.token_urlsafe(24), threading.Event()
        self.host = host
        folder = resources.files("efface.chat").joinpath("page")
        self.files = {name: (folder.joinpath(file).read_bytes(), kind) for name, (file, kind) in _FILES.items()}
        self.files["run"] = (_json(facts | _of_chat(chat)), "application/json")
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise EffaceError(
                f"cannot listen on {host}, port {port}: {why}; choose another --port or --host"
            ) from error

    @property
    def url(self) -> str:
        """Where the page is; whoever knows it may ask."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        """As that of HTTPServer, but it asks no name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers leave when they like; other errors are shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def may_be_called(self, host: str) -> bool:
        """Whether a browser may know this server as `host`.

        A name that somebody else owns, and lets point here, is refused: addresses and this machine's own names are not.
        """
        name = _name_in(host)
        try:
            ip_address(name)
        except ValueError:
            return name in {"localhost", self.host.lower(), socket.gethostname().lower()} - {""}
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # in whose chunks an answer that was cut short is no whole one
    server_version, sys_version = "efface", ""
    timeout = _SECONDS_OF_SILENCE

    @property
    def _here(self) -> ChatServer:
        return cast(ChatServer, self.server)

    def do_GET(self) -> None:
        """One of the page's files."""
        name = self._asked_for()
        if name is None:
            return
        if name not in self._here.files:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        content, kind = self._here.files[name]
        self._start(HTTPStatus.OK, kind, len(content))
        self.wfile.write(content)

    def do_POST(self) -> None:
        """A question; the answers are written as they come."""
        name = self._asked_for()
        if name is None:
            return
        if name != "ask":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        elif (asked := self._question()) is not None:
            self._start(HTTPStatus.OK, "application/x-ndjson", None)
            self._answer(asked)

    def log_message(self, *_: Any) -> None:
        """Say nothing: requests hold the address that is to be guessed."""

    def _asked_for(self) -> str | None:
        """What of the page is asked for; None, and refused, where whoever asks may not."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self._here.may_be_called(host):
            self._refuse(HTTPStatus.FORBIDDEN, "this server does not go by that name; use the address that it printed")
            return None
        if origin not in (None, f"http://{host}"):
            self._refuse(HTTPStatus.FORBIDDEN, "another site asked")
            return None
        token, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self._here.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page; use the whole address that efface chat printed")
            return None
        return name

    def _question(self) -> ChatRequest | None:
        """What is asked; None, and refused, where it cannot be."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the conversation is too long; start a new one")
            return None
        if self.headers.get_content_type() != "application/json":  # which other sites cannot send unasked
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question is JSON")
            return None
        try:
            return ChatRequest.model_validate_json(self.rfile.read(int(length)))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            self._refuse(HTTPStatus.BAD_REQUEST, f"{where}: {problem['msg']}" if where else problem["msg"])
            return None

    def _answer(self, asked: ChatRequest) -> None:
        """Write a line for each token, until both answers end; where nobody reads any more, writing fails."""
        try:
            with closing(self._here.chat.ask(asked)) as steps:
                for side, step in steps:
                    if self._here.stopping.is_set():
                        return
                    self._line(_of_step(side, step))
        except EffaceError as error:
            self._line({"error": str(error)})
        self.wfile.write(b"0\r\n\r\n")

    def _line(self, value: dict[str, Any]) -> None:
        line = _json(value) + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        content = f"{why}\n".encode()
        self._start(status, "text/plain; charset=utf-8", len(content))
        self.wfile.write(content)

    def _start(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        """The head of an answer of `length` bytes, or of chunks."""
        size = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        self.send_response(status)
        for name, value in {"Content-Type": kind, **size, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()


def serve(server: ChatServer) -> None:
    """Serve until Ctrl-C; an answer that is being written is then given up."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.stopping.set()
        server.chat.wait()
        server.server_close()


def _name_in(host: str) -> str:
    """The name in a header `Host`, without its port; blank where it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _of_chat(chat: Chat) -> dict[str, Any]:
    return {
        "keeps_turns": chat.keeps_turns,
        "most_new_tokens": MOST_NEW_TOKENS,
        "presets": [
            {
                "group": each.group,
                "question": each.prompt.question,
                "answer": each.answer,
                "earlier": [turn.model_dump() for turn in each.prompt.history],
                "passage": each.prompt.passage,
            }
            for each in chat.presets
        ],
    }


def _of_step(side: Side, step: TokenStep) -> dict[str, Any]:
    """A line; `answer` is there in a side's last one."""
    line = {
        "side": side,
        "text": step.text,
        "chosen": _pair(step.chosen),
        "likely": [_pair(each) for each in step.likely],
        "entropy": round(step.entropy, 4),
    }
    return line if step.answer is None else {**line, "answer": step.answer}


def _pair(choice: TokenChoice) -> list[str | float]:
    return [choice.token, round(choice.probability, 6)]


def _json(value: Any) -> bytes:
    """JSON in ASCII without `<`: nothing that a model says is markup, wherever it ends up."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").encode()
