"""A local server of the chat page: a few files, and answers as lines of JSON. No framework, no external resources.

GET /TOKEN/, /TOKEN/chat.js and /TOKEN/style.css are the page. GET /TOKEN/run describes the run and lists the suggested
questions. POST /TOKEN/answer takes a `ChatRequest` and streams one JSON object per token: `side`, `text`, `chosen`,
`likely`, `entropy` and, in the last line of a side, `answer`; or `error`.
"""

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

from efface.chat.messages import MAX_NEW_TOKENS, ChatRequest, Side
from efface.chat.session import Chat
from efface.chat.stream import TokenChoice, TokenStep
from efface.errors import EffaceError

_MAX_BODY_BYTES = 1 << 20
_MAX_DIGITS = len(str(_MAX_BODY_BYTES))
"""Python refuses to read a number of thousands of digits."""
_SOCKET_TIMEOUT = 30
"""Seconds after which a connection without any traffic is closed."""
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
    """Serves one conversation at a secret address."""

    def __init__(self, chat: Chat, facts: dict[str, Any], *, host: str, port: int) -> None:
        """Listen; `serve` answers.

        Args:
            chat: The two models.
            facts: What /run returns in addition to the suggested questions: `facts`, a description of the run, and the
                defaults of `max_new_tokens`, `temperature` and `seed`.
            host: Address or name to listen on.
            port: 0 for any free port.

        Raises:
            EffaceError: The server cannot listen on this host and port.
        """
        self.chat, self.token, self.stopping = chat, secrets.token_urlsafe(24), threading.Event()
        self.host = host
        folder = resources.files("efface.chat").joinpath("page")
        self.files = {name: (folder.joinpath(file).read_bytes(), type_) for name, (file, type_) in _FILES.items()}
        self.files["run"] = (_json(facts | _chat_facts(chat)), "application/json")
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EffaceError(
                f"cannot listen on {host}, port {port}: {reason}; choose another --port or --host"
            ) from error

    @property
    def url(self) -> str:
        """Address of the page; anyone who knows it can ask."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        """Bind like HTTPServer, but without a DNS lookup of this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore disconnected browsers; print other errors."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def accepts_host(self, host: str) -> bool:
        """Protect against DNS rebinding.

        Args:
            host: The `Host` header of a request.

        Returns:
            Whether it is an IP address or a name of this machine. A foreign name that resolves to this machine is
            refused.
        """
        name = _host_name(host)
        try:
            ip_address(name)
        except ValueError:
            return name in {"localhost", self.host.lower(), socket.gethostname().lower()} - {""}
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # for chunked encoding, which shows whether an answer was cut off
    server_version, sys_version = "efface", ""
    timeout = _SOCKET_TIMEOUT

    @property
    def _chat_server(self) -> ChatServer:
        return cast(ChatServer, self.server)

    def do_GET(self) -> None:
        """Send a file of the page."""
        name = self._authorized_path()
        if name is None:
            return
        if name not in self._chat_server.files:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
            return
        content, type_ = self._chat_server.files[name]
        self._send_head(HTTPStatus.OK, type_, len(content))
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Answer a question; tokens are sent as they are generated."""
        name = self._authorized_path()
        if name is None:
            return
        if name != "answer":
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        elif (request := self._read_request()) is not None:
            self._send_head(HTTPStatus.OK, "application/x-ndjson", None)
            self._stream_answer(request)

    def log_message(self, *_: Any) -> None:
        """Log nothing: requests contain the secret address."""

    def _authorized_path(self) -> str | None:
        """The requested path below the secret token; None after refusing a request that is not authorized."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if not self._chat_server.accepts_host(host):
            self._refuse(HTTPStatus.FORBIDDEN, "this server does not have that name; use the address that it printed")
            return None
        if origin not in (None, f"http://{host}"):
            self._refuse(HTTPStatus.FORBIDDEN, "requests from other sites are refused")
            return None
        token, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self._chat_server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page; use the whole address that efface chat printed")
            return None
        return name

    def _read_request(self) -> ChatRequest | None:
        """The question in the body; None after refusing one that is not valid."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > _MAX_DIGITS or int(length) > _MAX_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the conversation is too long; start a new one")
            return None
        if self.headers.get_content_type() != "application/json":  # other sites cannot send it without a preflight
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a question must be JSON")
            return None
        try:
            return ChatRequest.model_validate_json(self.rfile.read(int(length)))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"]))
            self._refuse(HTTPStatus.BAD_REQUEST, f"{where}: {problem['msg']}" if where else problem["msg"])
            return None

    def _stream_answer(self, request: ChatRequest) -> None:
        """Write a line per token until both answers are complete; writing fails once the reader has disconnected."""
        try:
            with closing(self._chat_server.chat.answer(request)) as steps:
                for side, step in steps:
                    if self._chat_server.stopping.is_set():
                        return
                    self._write_line(_step_facts(side, step))
        except EffaceError as error:
            self._write_line({"error": str(error)})
        self.wfile.write(b"0\r\n\r\n")

    def _write_line(self, value: dict[str, Any]) -> None:
        line = _json(value) + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        content = f"{reason}\n".encode()
        self._send_head(status, "text/plain; charset=utf-8", len(content))
        self.wfile.write(content)

    def _send_head(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        """Status and headers of a response of `length` bytes, or of a chunked one."""
        size = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **size, **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()


def serve(server: ChatServer) -> None:
    """Serve until Ctrl-C, which stops the answer in progress.

    Args:
        server: Is closed at the end.
    """
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.stopping.set()
        server.chat.wait_until_idle()
        server.server_close()


def _host_name(host: str) -> str:
    """The name in a `Host` header without its port; empty if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _chat_facts(chat: Chat) -> dict[str, Any]:
    return {
        "multi_turn": chat.multi_turn,
        "max_new_tokens_limit": MAX_NEW_TOKENS,
        "suggestions": [
            {
                "group": each.group,
                "question": each.prompt.question,
                "answer": each.answer,
                "history": [turn.model_dump() for turn in each.prompt.history],
                "passage": each.prompt.passage,
            }
            for each in chat.suggestions
        ],
    }


def _step_facts(side: Side, step: TokenStep) -> dict[str, Any]:
    """The line of a token; only the last one of a side has `answer`."""
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
    """ASCII JSON without `<`: model output is never markup, wherever it is used."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c").encode()
