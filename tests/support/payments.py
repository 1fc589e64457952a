"""Orders, attempts and a fake Stripe server for tests of payments. Not a test.

The fake is `localstripe`, which keeps what it is told. It lacks some of Stripe's rules that an
adapter stands on; `_Additions` has them as Stripe documents them. Run as a program, this file is the
server: it writes its port to its output, and ends with its input.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import httpx2
from pydantic import SecretStr

START_S = 60.0
END_S = 20.0
KEY: Final = SecretStr("sk_test_of_nobody")
NOW: Final = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)

Fault = Literal["lose_request", "lose_reply"]


@dataclass(frozen=True)
class FakeStripe:
    """A running server. What it holds is shared by all tests: each uses attempts of its own."""

    url: str

    def card(self, number: str) -> str:
        """A card's payment method, attached to a customer of its own, as a method's reference."""
        card = {"number": number, "exp_month": 12, "exp_year": 2090, "cvc": "123"}
        return self._attached({"type": "card", "card": card})

    def debit(self, iban: str) -> str:
        """The same of a bank account."""
        return self._attached({"type": "sepa_debit", "sepa_debit": {"iban": iban}})

    def act(self, intent: str, *, success: bool) -> None:
        """The customer authenticates, or fails to. A card that is then declined is no error."""
        secret = self.get(f"/v1/payment_intents/{intent}")["client_secret"]
        path = f"/v1/payment_intents/{intent}/_authenticate"
        self.post(path, {"client_secret": secret, "success": success}, allowed=(200, 402))

    def intents(self, name: str, value: str) -> list[dict[str, Any]]:
        """The intents whose metadata say so."""
        listed = self.get("/v1/payment_intents?limit=10000")["data"]
        return [one for one in listed if one["metadata"].get(name) == value]

    def fail_next(self, path: str, fault: Fault) -> None:
        """Let the next request whose path, behind its verb, ends so get lost, or its answer."""
        self.post("/_config/fault", {"path": path, "fault": fault})

    def clear_faults(self) -> None:
        """Let everything come through from now on."""
        self.post("/_config/clear_faults", {})

    def forget_keys(self) -> None:
        """Forget every idempotency key, as Stripe may after a day."""
        self.post("/_config/forget_keys", {})

    def get(self, path: str) -> dict[str, Any]:
        """What is found at that path."""
        return self._sent("GET", path, None, (200,))

    def post(
        self, path: str, body: dict[str, Any], allowed: tuple[int, ...] = (200,)
    ) -> dict[str, Any]:
        """What comes of that request."""
        return self._sent("POST", path, body, allowed)

    def _attached(self, method: dict[str, Any]) -> str:
        made = self.post("/v1/payment_methods", method)["id"]
        customer = self.post("/v1/customers", {"email": "anna@example.com"})["id"]
        self.post(f"/v1/payment_methods/{made}/attach", {"customer": customer})
        return f"{customer}/{made}"

    def _sent(
        self, verb: str, path: str, body: dict[str, Any] | None, allowed: tuple[int, ...]
    ) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {KEY.get_secret_value()}"}
        answered = httpx2.request(
            verb, self.url + path, json=body, headers=headers, timeout=START_S, trust_env=False
        )
        assert answered.status_code in allowed, (answered.status_code, answered.text)
        found: dict[str, Any] = answered.json()
        return found


@contextmanager
def fake_stripe() -> Generator[FakeStripe]:
    """Start the fake as a child process on a free port of loopback; ended with the block."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    watch = threading.Timer(START_S, process.kill)
    watch.start()
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        watch.cancel()
        assert port.isdecimal(), "the fake Stripe did not start"
        yield FakeStripe(f"http://127.0.0.1:{port}")
    finally:
        watch.cancel()
        try:
            process.communicate(timeout=END_S)  # closes its input
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Request:
    """What a scripted server was asked: the fields of its form, and its headers in lower case."""

    verb: str
    path: str
    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class ScriptedStripe:
    """A server that gives the answers it was told, in their order, and remembers what it was asked."""

    url: str = ""
    answers: list[tuple[int, dict[str, Any], dict[str, str]]] = field(
        default_factory=list[tuple[int, dict[str, Any], dict[str, str]]]
    )
    requests: list[Request] = field(default_factory=list[Request])

    def say(self, status: int, body: dict[str, Any], **headers: str) -> None:
        """The next answer but those before it; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, body, named))

    def refuse(self, status: int, kind: str, **told: str) -> None:
        """The same, as an error of Stripe's."""
        self.say(status, {"error": {"type": kind, "message": "No such pm_secret", **told}})

    @property
    def asked(self) -> list[str]:
        """Verb and path of each request, its query left out."""
        return [f"{one.verb} {one.path.partition('?')[0]}" for one in self.requests]


@contextmanager
def scripted_stripe() -> Generator[ScriptedStripe]:
    """A scripted server on loopback. It closes the connection where it has no answer left."""
    script = ScriptedStripe()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Request(self.command, self.path, dict(parse_qsl(content)), headers)
            script.requests.append(asked)
            self.close_connection = True
            if not script.answers:
                return
            status, body, told = script.answers.pop(0)
            written = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(written)), **told}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join(END_S)


def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Additions:
    """What Stripe has and the fake lacks: keys, search, some parameters; and what may go wrong."""

    def __init__(self, resources: Any, web: Any) -> None:
        self._resources = resources
        self._web = web
        self._replies: dict[str, tuple[bytes, int, bytes]] = {}
        self._running: set[str] = set()
        self._faults: dict[str, str] = {}

    def install(self) -> Any:
        """The fake's application with the additions in it."""
        intents = self._resources.PaymentIntent
        self._resources.Store.dump_to_disk = _kept_in_memory
        extra = self._resources.extra_apis
        extra[:] = [(verb, path, self._changed(path, call)) for verb, path, call in extra]
        extra.insert(0, ("GET", "/v1/payment_intents/search", self._search))
        create = intents._api_create

        def without_pages(_cls: Any, /, automatic_payment_methods: Any = None, **given: Any) -> Any:
            return create(**given)

        intents._api_create = classmethod(without_pages)
        app = importlib.import_module("localstripe.server").app
        app.router.add_post("/_config/fault", self._set_fault)
        app.router.add_post("/_config/clear_faults", self._clear_faults)
        app.router.add_post("/_config/forget_keys", self._forget_keys)

        async def around(request: Any, handler: Any) -> Any:
            return await self._around(request, handler)

        app.middlewares.append(self._web.middleware(around))
        return app

    def _changed(self, path: str, call: Any) -> Any:
        if path == "/v1/payment_intents/{id}/confirm":
            return self._confirm
        if path == "/v1/payment_intents/{id}/cancel":
            return self._cancel
        return call

    def _confirm(self, id: str, payment_method: str, off_session: object = None) -> Any:
        intents = self._resources.PaymentIntent
        found = intents._api_retrieve(id)
        if found.status not in {"requires_payment_method", "requires_confirmation"}:
            raise self._error(400, "payment_intent_unexpected_state")
        method = self._resources.store.get(f"payment_method:{payment_method}")
        if method is None:
            raise self._error(404, "resource_missing", param="payment_method")
        if method.customer is not None and method.customer != found.customer:
            raise self._error(400, "payment_method_unexpected_customer")
        found.payment_method = payment_method
        found.latest_charge = None
        return intents._api_confirm(id)

    def _cancel(self, id: str, cancellation_reason: str | None = None) -> Any:
        found = self._resources.PaymentIntent._api_cancel(id)
        found.cancellation_reason = cancellation_reason
        return found

    def _search(self, query: str, limit: object = None) -> Any:
        name, _, value = query.removeprefix("metadata['").partition("']:")
        found = self._resources.List("/v1/payment_intents/search", limit=limit)
        found.object = "search_result"
        found._list = [
            one
            for one in self._resources.store.values()
            if one.object == "payment_intent" and one.metadata.get(name) == value.strip("'")
        ]
        return found

    def _error(self, status: int, code: str, **told: str) -> Exception:
        made = importlib.import_module("localstripe.errors").UserError(status, code)
        made.body["error"].update(code=code, **told)
        error: Exception = made
        return error

    async def _set_fault(self, request: Any) -> Any:
        told = await request.json()
        self._faults[told["path"]] = told["fault"]
        return self._web.Response(body=b"{}")

    async def _clear_faults(self, request: Any) -> Any:
        self._faults.clear()
        return self._web.Response(body=b"{}")

    async def _forget_keys(self, request: Any) -> Any:
        self._replies.clear()
        return self._web.Response(body=b"{}")

    async def _around(self, request: Any, handler: Any) -> Any:
        fault = self._fault(f"{request.method} {request.path}")
        if fault == "lose_request":
            request.transport.abort()
            return self._web.Response()
        answered = await self._once(request, handler)
        if fault == "lose_reply":
            request.transport.abort()
        return answered

    def _fault(self, asked: str) -> str | None:
        named = next((end for end in self._faults if asked.endswith(end)), None)
        return None if named is None else self._faults.pop(named)

    async def _once(self, request: Any, handler: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if request.method != "POST" or key is None:
            return await handler(request)
        asked = request.path.encode() + b"?" + await request.read()
        if key in self._replies:
            first, status, content = self._replies[key]
            if first != asked:
                told = {"error": {"type": "idempotency_error", "message": "another request"}}
                return self._web.json_response(told, status=400)
            headers = {"Idempotent-Replayed": "true"}
            kind = "application/json"
            return self._web.Response(
                body=content, status=status, headers=headers, content_type=kind
            )
        if key in self._running:
            told = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}
            return self._web.json_response(told, status=409)
        self._running.add(key)
        try:
            answered = await handler(request)
        except importlib.import_module("localstripe.errors").UserError as error:
            answered = error.to_response()
        finally:
            self._running.discard(key)
        # What was refused before anything was done is not kept.
        if answered.status in {200, 402, 500}:
            self._replies[key] = (asked, answered.status, answered.body)
        return answered


def _kept_in_memory(_store: Any) -> None:
    # The fake would write every change to one file that all of a machine share.
    return


def _end_with_input() -> None:
    # Whoever started it may be killed: what it leaves behind ends all the same.
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve() -> None:
    web = importlib.import_module("aiohttp.web")
    app = _Additions(importlib.import_module("localstripe.resources"), web).install()
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_input, daemon=True).start()
    web.run_app(app, sock=listening, print=None, access_log=None)


if __name__ == "__main__":
    _serve()
