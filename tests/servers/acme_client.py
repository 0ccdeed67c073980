"""An account and orders of the acme library alone, for tests of the servers themselves."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from acme import client, crypto_util, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC


def connect(directory: str, ca_file: Path, key: JWK | None = None) -> client.ClientV2:
    """Return a client of the ACME library without an account."""
    key = key or JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    verify: Any = str(ca_file)
    network = client.ClientNetwork(key, alg=ES256, verify_ssl=verify)
    network.session.trust_env = False
    return client.ClientV2(client.ClientV2.get_directory(directory, network), network)


def register(acme: client.ClientV2, **values: Any) -> str:
    """Register an account and return its URL."""
    return str(
        acme.new_account(messages.NewRegistration(terms_of_service_agreed=True, **values)).uri
    )


def key_of(acme: client.ClientV2) -> JWK:
    assert isinstance(acme.net.key, JWK)
    return acme.net.key


def csr(*names: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    key_format = serialization.PrivateFormat.PKCS8
    return crypto_util.make_csr(
        key.private_bytes(serialization.Encoding.PEM, key_format, serialization.NoEncryption()),
        list(names),
    )


def challenge(authorization: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    return next(c for c in authorization.body.challenges if c.chall.typ == kind)


def answering(port: int, answers: dict[str, bytes]) -> HTTPServer:
    """Start an HTTP server with responses by path, such as those of http-01."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(200 if body else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def issue(acme: client.ClientV2, port: int, *names: str) -> messages.OrderResource:
    """Issue a certificate by http-01 on ``port``."""
    order = acme.new_order(csr(*names))
    answers: dict[str, bytes] = {}
    server = answering(port, answers)
    try:
        for authorization in order.authorizations:
            chosen = challenge(authorization, "http-01")
            response, validation = chosen.response_and_validation(acme.net.key)
            answers[chosen.chall.path] = validation.encode()
            acme.answer_challenge(chosen, response)
        return acme.poll_and_finalize(order)
    finally:
        server.shutdown()
        server.server_close()


def leaf(order: messages.OrderResource) -> x509.Certificate:
    return x509.load_pem_x509_certificates(order.fullchain_pem.encode())[0]
