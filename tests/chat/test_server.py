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
def server(chat):
    with serving(chat) as server:
        yield server


def call(server, path=None, *, body=None, headers=(), token=None):
    """Status, headers and content of a GET request, or with a body of a POST request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=120)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    connection.request(method, f"/{token or server.token}/{path}", content, dict(headers))
    response = connection.getresponse()
    found = response.status, response.headers, response.read()
    connection.close()
    return found


def ask(server, body, headers=JSON):
    return call(server, "answer", body=body, headers=headers)


def lines(content):
    return [json.loads(line) for line in content.splitlines()]


class FakeChat:
    """Replaces two models; repeats the same text."""

    multi_turn, suggestions = True, ()

    def __init__(self, text, count=10**6):
        self.text, self.count, self.sent, self.ended = text, count, 0, threading.Event()

    def answer(self, _):
        choice = TokenChoice(self.text, 0.5)
        try:
            for number in range(self.count):
                self.sent += 1
                time.sleep(0.01)
                last = number == self.count - 1
                yield "before", TokenStep(self.text, choice, (choice,), 0.25, self.text if last else None)
        finally:
            self.ended.set()

    def wait_until_idle(self):
        self.ended.wait(60)


def test_the_page_makes_no_other_requests_and_runs_no_text(server):
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
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
        assert name not in script
    page = resources.files("efface.chat").joinpath("page/index.html").read_text(encoding="utf-8")
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == 1


def test_facts_of_the_run(server):
    status, headers, content = call(server, "run")
    facts = json.loads(content)
    assert (status, headers.get_content_type()) == (200, "application/json")
    assert {name: facts[name] for name in FACTS} == FACTS
    assert (facts["multi_turn"], facts["max_new_tokens_limit"]) == (True, 1024)
    assert [each["group"] for each in facts["suggestions"]] == ["forget", "retain", "general"]
    assert facts["suggestions"][1]["history"] == [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert facts["suggestions"][2]["passage"]


def test_answers_are_streamed_token_by_token(server, chat):
    status, headers, content = ask(server, WHO)
    assert (status, headers.get_content_type()) == (200, "application/x-ndjson")
    found = lines(content)
    assert [line["side"] for line in found] == ["before", "after"] * 6
    steps = [*chat.answer(ChatRequest.model_validate(WHO))]
    assert [line["text"] for line in found] == [step.text for _, step in steps]
    assert [line.get("answer") for line in found] == [step.answer for _, step in steps]
    assert [line["entropy"] for line in found] == pytest.approx([step.entropy for _, step in steps], abs=1e-4)
    assert [len(line["likely"]) for line in found] == [10] * 12
    assert found[0]["likely"][0] == found[0]["chosen"]


def test_suggested_questions_by_index(server):
    answers = [line.get("answer") for line in lines(ask(server, {"suggestion": 0, "max_new_tokens": 6})[2])]
    assert answers == [line.get("answer") for line in lines(ask(server, WHO)[2])]
    [line] = lines(ask(server, {"suggestion": 3, "max_new_tokens": 6})[2])
    assert line.keys() == {"error"}
    assert "no suggested question 3" in line["error"]


def test_requests_without_the_token_are_refused(server):
    for token in ("/", "x", "?", server.token[:-1], server.token + "a"):
        assert call(server, "", token=token)[0] == 404
    status, _, content = call(server, "answer", body=WHO, headers=JSON, token="x")
    assert (status, b"entropy" in content) == (404, False)
    assert call(server, "other")[0] == 404
    assert call(server, "../chat.js")[0] == 404
    assert call(server, "x", body=WHO, headers=JSON)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "["])
def test_foreign_host_names_are_refused(server, host):
    for body in (None, WHO):
        status, _, content = call(server, "answer" if body else "", body=body, headers={**JSON, "Host": host})
        assert status == 403
        assert b"does not have that name" in content


@pytest.mark.parametrize("host", ["localhost:99", "127.0.0.1", "[::1]:8300"])
def test_this_machine_through_a_tunnel_is_accepted(server, host):
    assert call(server, "", headers={"Host": host})[0] == 200


def test_requests_from_other_sites_are_refused(server):
    own = f"127.0.0.1:{server.server_address[1]}"
    for origin in ("http://evil.example", f"http://localhost:{server.server_address[1]}", "null"):
        assert ask(server, WHO, {**JSON, "Origin": origin})[0] == 403
    assert ask(server, WHO, {**JSON, "Origin": f"http://{own}"})[0] == 200
    assert ask(server, WHO, {"Content-Type": "text/plain"})[0] == 415


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"{", 400, b"JSON"),
        ({"max_new_tokens": 5}, 400, b"the request has no question"),
        ({"question": "a", "max_new_tokens": 10**9}, 400, b"max_new_tokens: "),
        ({"question": "a" * 9000, "max_new_tokens": 5}, 400, b"question: "),
    ],
)
def test_requests_are_validated(server, body, status, sentence):
    found, _, content = ask(server, body)
    assert found == status
    assert sentence in content


def test_the_body_of_a_long_conversation_is_not_read(server):
    assert ask(server, b"{}", {**JSON, "Content-Length": str(1 << 21)})[0] == 413
    assert ask(server, b"{}", {**JSON, "Content-Length": "-1"})[0] == 413
    assert ask(server, b"{}", {**JSON, "Content-Length": "1" * 5000})[0] == 413


def test_hostile_text_is_not_markup():
    with serving(FakeChat(HOSTILE, count=2)) as server:
        _, _, content = ask(server, WHO)
    assert b"<" not in content
    assert content.isascii()
    assert b"\x1b" not in content
    found = lines(content)
    assert {found[0]["text"], found[1]["answer"], found[0]["chosen"][0]} == {HOSTILE}


def disconnect(server):
    """Ask, wait for the first token, and disconnect."""
    body = json.dumps(WHO).encode()
    head = f"POST /{server.token}/answer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(server.server_address[:2], timeout=120) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        content = b""
        while b"entropy" not in content:
            content += connection.recv(1000)


def test_an_answer_stops_after_a_disconnect():
    fake = FakeChat("word ")
    with serving(fake) as server:
        disconnect(server)
        assert fake.ended.wait(60)
        assert fake.sent < 1000


def test_the_next_request_after_a_disconnect_is_answered(server):
    disconnect(server)
    assert len(lines(ask(server, WHO)[2])) == 12


def ask_until_cut_off(server):
    with suppress(http.client.HTTPException, OSError):
        ask(server, WHO)


def test_ctrl_c_stops_an_answer(monkeypatch):
    fake = FakeChat("word ")
    server = ChatServer(fake, FACTS, host="127.0.0.1", port=0)
    real = server.serve_forever

    def interrupted():
        threading.Thread(target=real, kwargs={"poll_interval": 0.01}, daemon=True).start()
        threading.Thread(target=ask_until_cut_off, args=(server,), daemon=True).start()
        while not fake.sent:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve_forever", interrupted)
    serve(server)
    assert fake.ended.is_set()
    server.shutdown()


def test_a_port_in_use(server, chat):
    with pytest.raises(EffaceError, match=r"cannot listen on 127\.0\.0\.1, port \d+: .*choose another --port"):
        ChatServer(chat, FACTS, host="127.0.0.1", port=server.server_address[1])
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/{server.token}/"
