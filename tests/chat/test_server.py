"""The server, over a real socket."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from importlib import resources

import pytest

from efface.chat.messages import ChatRequest
from efface.chat.server import ChatServer, serve
from efface.chat.stream import TokenChoice, TokenStep
from efface.errors import EffaceError

FACTS = {"facts": "a run", "max_new_tokens": 5, "temperature": 0, "seed": 0}
HOSTILE = "<script>alert(1)</script>\x1b[31m \u202e\u2028 <img src=x onerror=alert(2)>"
JSON = {"Content-Type": "application/json"}
WHO = {"question": "Who wrote it?", "max_new_tokens": 6}


@contextmanager
def serving(chat, host="127.0.0.1"):
    server = ChatServer(chat, FACTS, host=host, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(talking):
    with serving(talking) as server:
        yield server


def call(server, path=None, *, body=None, headers=(), token=None):
    """Status, headers and content of a page's file, or of what is posted."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    connection.request(method, f"/{token or server.token}/{path}", content, dict(headers))
    response = connection.getresponse()
    found = response.status, response.headers, response.read()
    connection.close()
    return found


def ask(server, body, headers=JSON):
    return call(server, "ask", body=body, headers=headers)


def lines(content):
    return [json.loads(line) for line in content.splitlines()]


class Talker:
    """Stands for two models that say the same thing over and over."""

    keeps_turns, presets = True, ()

    def __init__(self, text, count=10**6):
        self.text, self.count, self.told, self.ended = text, count, 0, threading.Event()

    def ask(self, _):
        choice = TokenChoice(self.text, 0.5)
        try:
            for number in range(self.count):
                self.told += 1
                time.sleep(0.01)
                last = number == self.count - 1
                yield "before", TokenStep(self.text, choice, (choice,), 0.25, self.text if last else None)
        finally:
            self.ended.set()

    def wait(self):
        self.ended.wait(5)


def test_the_page_asks_nobody_else_and_runs_no_text(server):
    for name, kind in (("", "text/html"), ("chat.js", "text/javascript"), ("style.css", "text/css")):
        status, headers, content = call(server, name)
        assert (status, headers.get_content_type()) == (200, kind)
        assert b"http:" not in content
        assert b"https:" not in content
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
    script = resources.files("efface.chat").joinpath("page/chat.js").read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert way not in script
    page = resources.files("efface.chat").joinpath("page/index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == 1


def test_what_the_page_is_told(server):
    status, headers, content = call(server, "run")
    told = json.loads(content)
    assert (status, headers.get_content_type()) == (200, "application/json")
    assert {name: told[name] for name in FACTS} == FACTS
    assert (told["keeps_turns"], told["most_new_tokens"]) == (True, 1024)
    assert [each["group"] for each in told["presets"]] == ["forget", "retain", "beyond"]
    assert told["presets"][1]["earlier"] == [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert told["presets"][2]["passage"]


def test_both_answers_come_token_by_token(server, talking):
    status, headers, content = ask(server, WHO)
    assert (status, headers.get_content_type()) == (200, "application/x-ndjson")
    found = lines(content)
    assert [line["side"] for line in found] == ["before", "after"] * 6
    steps = [*talking.ask(ChatRequest.model_validate(WHO))]
    assert [line["text"] for line in found] == [step.text for _, step in steps]
    assert [line.get("answer") for line in found] == [step.answer for _, step in steps]
    assert [line["entropy"] for line in found] == pytest.approx([step.entropy for _, step in steps], abs=1e-4)
    assert [len(line["likely"]) for line in found] == [10] * 12
    assert found[0]["likely"][0] == found[0]["chosen"]


def test_presets_by_number(server):
    whole = [line.get("answer") for line in lines(ask(server, {"preset": 0, "max_new_tokens": 6})[2])]
    assert whole == [line.get("answer") for line in lines(ask(server, WHO)[2])]
    [error] = lines(ask(server, {"preset": 3, "max_new_tokens": 6})[2])
    assert error == {"error": "there is no preset question 3; there are 3"}


def test_only_who_knows_the_address_may_ask(server):
    for token in ("/", "x", "?", server.token[:-1], server.token + "a"):
        assert call(server, "", token=token)[0] == 404
    status, _, content = call(server, "ask", body=WHO, headers=JSON, token="x")
    assert (status, b"entropy" in content) == (404, False)
    assert call(server, "other")[0] == 404
    assert call(server, "../chat.js")[0] == 404
    assert call(server, "x", body=WHO, headers=JSON)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "["])
def test_a_name_that_somebody_else_owns_is_refused(server, host):
    for body in (None, WHO):
        status, _, content = call(server, "ask" if body else "", body=body, headers={**JSON, "Host": host})
        assert status == 403
        assert b"does not go by that name" in content


@pytest.mark.parametrize("host", ["localhost:99", "127.0.0.1", "[::1]:8300"])
def test_this_machine_through_a_tunnel_is_not(server, host):
    assert call(server, "", headers={"Host": host})[0] == 200


def test_another_site_may_not_ask(server):
    here = f"127.0.0.1:{server.server_address[1]}"
    for origin in ("http://evil.example", f"http://localhost:{server.server_address[1]}", "null"):
        assert ask(server, WHO, {**JSON, "Origin": origin})[0] == 403
    assert ask(server, WHO, {**JSON, "Origin": f"http://{here}"})[0] == 200
    assert ask(server, WHO, {"Content-Type": "text/plain"})[0] == 415


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, b"JSON"),
        ({"max_new_tokens": 5}, 400, b"there is no question"),
        ({"question": "a", "max_new_tokens": 10**9}, 400, b"max_new_tokens: "),
        ({"question": "a" * 9000, "max_new_tokens": 5}, 400, b"question: "),
    ],
)
def test_questions_are_bounded(server, body, status, sentence):
    found, _, content = ask(server, body)
    assert found == status
    assert sentence in content


def test_a_long_conversation_is_not_even_read(server):
    assert ask(server, b"{}", {**JSON, "Content-Length": str(1 << 21)})[0] == 413
    assert ask(server, b"{}", {**JSON, "Content-Length": "-1"})[0] == 413


def test_hostile_words_are_no_markup_on_the_wire():
    with serving(Talker(HOSTILE, count=2)) as server:
        _, _, content = ask(server, WHO)
    assert b"<" not in content
    assert content.isascii()
    assert b"\x1b" not in content
    found = lines(content)
    assert {found[0]["text"], found[1]["answer"], found[0]["chosen"][0]} == {HOSTILE}


def leave(server):
    """Ask, wait for the first words, and go."""
    body = json.dumps(WHO).encode()
    head = f"POST /{server.token}/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        content = b""
        while b"entropy" not in content:
            content += connection.recv(1000)


def test_an_answer_ends_when_nobody_reads_it():
    talker = Talker("word ")
    with serving(talker) as server:
        leave(server)
        assert talker.ended.wait(5)
        assert talker.told < 1000


def test_who_comes_after_one_that_left_is_answered(server):
    leave(server)
    assert len(lines(ask(server, WHO)[2])) == 12


def cut_short(server):
    with suppress(http.client.HTTPException, OSError):
        ask(server, WHO)


def test_ctrl_c_ends_an_answer(monkeypatch):
    talker = Talker("word ")
    server = ChatServer(talker, FACTS, host="127.0.0.1", port=0)
    real = server.serve_forever

    def interrupted():
        threading.Thread(target=real, kwargs={"poll_interval": 0.01}, daemon=True).start()
        threading.Thread(target=cut_short, args=(server,), daemon=True).start()
        while not talker.told:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve_forever", interrupted)
    serve(server)
    assert talker.ended.is_set()
    server.shutdown()


def test_a_port_that_is_taken(server, talking):
    with pytest.raises(EffaceError, match=r"cannot listen on 127\.0\.0\.1, port \d+: .*choose another --port"):
        ChatServer(talking, FACTS, host="127.0.0.1", port=server.server_address[1])
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/{server.token}/"
