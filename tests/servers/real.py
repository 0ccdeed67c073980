"""Real servers from Debian and PyPI on free loopback ports: nginx, openssl s_server, Dovecot,
slapd, aiosmtpd, pyftpdlib and a DNS server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from certmgr.demo.authority import Authority, IssuedCertificate
from tests.campaign import PATIENCE
from tests.servers.ports import free_port, stop_receiving, wait_for
from tests.servers.processes import stop

_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"  # libnginx-mod-stream


def program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path, f"{name} is missing: apt-get install {package} (make test does it as root)"
    return path


def long_lived(authority: Authority, *names: str) -> IssuedCertificate:
    """Issue a certificate with the same validity as its CA.

    It is for servers whose clients, such as a mail library or a browser, compare it with the system
    clock instead of the clock of the tests.
    """
    certificate = authority.certificate
    return authority.issue(
        *names,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def write_pair(
    folder: Path, issued: IssuedCertificate, name: str = "site", *, whole: bool = True
) -> tuple[Path, Path]:
    """Write the certificate chain (or only the leaf) and the key as files."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate.write_bytes(
        issued.chain_pem if whole else issued.certificate.public_bytes(Encoding.PEM)
    )
    key.write_bytes(issued.key_pem)
    key.chmod(0o600)
    return certificate, key


@contextmanager
def nginx(
    folder: Path,
    sites: Sequence[tuple[str, Path, Path]],
    extra: str = "",
    address: str = "127.0.0.1",
    http: str = "",
) -> Iterator[int]:
    """Run nginx with each (name, certificate, key) by SNI, and yield its port.

    The first site is the default. ``extra`` is added to every server block.
    """
    port = free_port(address)
    if "ssl_protocols" not in extra:
        extra = f"ssl_protocols TLSv1.2 TLSv1.3; {extra}"
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    blocks = "\n".join(
        f"server {{ listen {listen} ssl; server_name {name}; ssl_certificate {cert};"
        f" ssl_certificate_key {key}; {extra} return 204; }}"
        for name, cert, key in sites
    )
    temp = " ".join(
        f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log"
        f" {folder}/error.log;\nevents {{ worker_connections 512; }}\nhttp {{ access_log off;"
        f" {temp} {http}\n{blocks}\n}}\n"
    )
    process = subprocess.Popen(
        [
            program("nginx", "nginx-light"),
            "-e",
            str(folder / "error.log"),
            "-c",
            str(folder / "nginx.conf"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process, address)
        yield port
    finally:
        stop(process)


@contextmanager
def tls_counter(
    folder: Path,
    certificate: Path,
    key: Path,
    log: Path,
    addresses: Sequence[str],
    more: str = "",
) -> Iterator[int]:
    """Run nginx as a TLS server that logs the name of each finished connection; yield its port.

    ``more`` are further directives of the server.
    """
    port = free_port()
    listens = " ".join(f"listen {address}:{port} ssl;" for address in addresses)
    (folder / "counter.conf").write_text(
        f"load_module {_STREAM_MODULE}; daemon off; worker_processes 1; pid {folder}/counter.pid;"
        f" error_log {folder}/counter.log;\nevents {{ worker_connections 1024; }}\n"
        f"stream {{ log_format name '$ssl_server_name'; access_log {log} name;\n"
        f"server {{ {listens} ssl_certificate {certificate}; ssl_certificate_key {key};"
        f" ssl_protocols TLSv1.2 TLSv1.3; {more} return ''; }} }}\n"
    )
    command = [program("nginx", "nginx-light"), "-e", str(folder / "counter.log")]
    process = subprocess.Popen(
        [*command, "-c", str(folder / "counter.conf")], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port, process, addresses[0])
        yield port
    finally:
        stop(process)


@contextmanager
def web(
    folder: Path, pair: tuple[Path, Path], plain: str, secure: str, host: str = "_", http: str = ""
) -> Iterator[tuple[int, int]]:
    """Run nginx with one site over HTTP and HTTPS, and yield both ports.

    ``plain`` and ``secure`` are added to the server blocks; HTTP_PORT and HTTPS_PORT are replaced
    in them. Files are served from the folder.
    """
    temp = " ".join(
        f"{k}_temp_path {folder}/{k};" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = (
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        f" user root;\nevents {{ worker_connections 512; }}\nhttp {{ access_log {folder}/access.log"
        f" combined; {temp} types {{ text/html html; }} default_type text/html; {http}\n"
    )
    for _ in range(5):  # another test may take a free port before nginx does
        plain_port, secure_port = free_port(), free_port()
        text = (
            f"{head}server {{ listen 127.0.0.1:{plain_port}; server_name {host}; root {folder};"
            f" {plain} }}\nserver {{ listen 127.0.0.1:{secure_port} ssl; server_name {host}; root"
            f" {folder}; ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; {secure}"
            " }\n}\n"
        )
        (folder / "web.conf").write_text(
            text.replace("HTTPS_PORT", str(secure_port)).replace("HTTP_PORT", str(plain_port))
        )
        command = [
            program("nginx", "nginx-light"),
            "-e",
            str(folder / "error.log"),
            "-c",
            str(folder / "web.conf"),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for(plain_port, process)
            wait_for(secure_port, process)
            break
        except AssertionError:
            process.kill()
            process.wait()
            if "Address already in use" not in (folder / "error.log").read_text():
                raise
    try:
        yield plain_port, secure_port
    finally:
        stop(process)


@contextmanager
def s_server(certificate: Path, key: Path, *options: str) -> Iterator[int]:
    """Run ``openssl s_server`` with further options, and yield its port."""
    port = free_port()
    issuers = certificate.with_suffix(".issuers")
    issuers.write_text(
        "-----BEGIN" + "-----BEGIN".join(certificate.read_text().split("-----BEGIN")[2:])
    )
    process = subprocess.Popen(
        [
            program("openssl", "openssl"),
            "s_server",
            "-accept",
            f"127.0.0.1:{port}",
            "-cert",
            str(certificate),
            "-key",
            str(key),
            "-cert_chain",
            str(issuers),
            "-quiet",
            *options,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        process.kill()
        process.communicate()  # it closes the input as well


@contextmanager
def dovecot(folder: Path, certificate: Path, key: Path) -> Iterator[tuple[int, int]]:
    """Run IMAP and POP3 with STARTTLS, and yield both ports."""
    imap, pop3 = free_port(), free_port()
    user = "nobody" if os.getuid() == 0 else os.environ.get("USER", "nobody")
    mailuser = f"default_login_user = {user}\ndefault_internal_user = {user}\n"
    if os.getuid() == 0:
        group = subprocess.run(
            ["id", "-gn", "nobody"], capture_output=True, text=True, check=True
        ).stdout.strip()
        mailuser += f"default_internal_group = {group}\n"
    (folder / "dovecot.conf").write_text(
        f"base_dir = {folder}/run\nstate_dir = {folder}/run\nlog_path ="
        f" {folder}/dovecot.log\nprotocols = imap pop3\nlisten = 127.0.0.1\nssl = yes\nssl_cert ="
        f" <{certificate}\nssl_key = <{key}\n{mailuser}mail_location ="
        f" maildir:{folder}/mail\npassdb {{\n driver = static\n args = nopassword=y\n}}\nuserdb"
        f" {{\n driver = static\n args = uid={os.getuid() or 65534} gid={os.getgid() or 65534}"
        f" home={folder}\n}}\nservice imap-login {{\n chroot =\n inet_listener imap {{\n port ="
        f" {imap}\n }}\n inet_listener imaps {{\n port = 0\n }}\n}}\nservice pop3-login {{\n chroot"
        f" =\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = 0\n"
        " }\n}\nservice anvil {\n chroot =\n}\n"
    )
    process = subprocess.Popen(
        [
            program("dovecot", "dovecot-imapd dovecot-pop3d"),
            "-F",
            "-c",
            str(folder / "dovecot.conf"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(imap, process)
        wait_for(pop3, process)
        yield imap, pop3
    finally:
        stop(process)


@contextmanager
def slapd(folder: Path, certificate: Path, key: Path) -> Iterator[int]:
    """Run LDAP with StartTLS, and yield its port."""
    port = free_port()
    (folder / "db").mkdir()
    (folder / "slapd.conf").write_text(
        f"include /etc/ldap/schema/core.schema\npidfile {folder}/slapd.pid\nmodulepath"
        " /usr/lib/ldap\nmoduleload back_mdb\n"
        f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n"
        f'database mdb\nsuffix "dc=example,dc=test"\ndirectory {folder}/db\n'
    )
    process = subprocess.Popen(
        [
            program("slapd", "slapd"),
            "-f",
            str(folder / "slapd.conf"),
            "-h",
            f"ldap://127.0.0.1:{port}",
            "-d",
            "0",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        stop(process)


@contextmanager
def smtp(certificate: Path, key: Path, *, starttls: bool = True) -> Iterator[int]:
    """Run aiosmtpd with or without STARTTLS, and yield its port."""
    import ssl

    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Sink

    context = None
    if starttls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    controller = Controller(
        Sink(),
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        ready_timeout=PATIENCE,
    )
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextmanager
def ftp(certificate: Path) -> Iterator[int]:
    """Run pyftpdlib with AUTH TLS, and yield its port.

    ``certificate`` is a file with chain and key.
    """
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import FTPServer

    class Handler(TLS_FTPHandler):  # type: ignore[misc]
        certfile = str(certificate)
        keyfile = str(certificate)
        authorizer = DummyAuthorizer()

    server = FTPServer(("127.0.0.1", free_port()), Handler)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.serve_forever(timeout=0.05, blocking=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(server.address[1])
    finally:
        stop.set()
        thread.join()
        server.close_all()


Answer = str | Sequence[str]


@contextmanager
def dns(answers: Mapping[str, Answer], broken_family: str = "") -> Iterator[str]:
    """Run a name server, and yield its HOST:PORT for [scan] resolvers.

    Args:
        answers: Name -> addresses, or "NXDOMAIN", "SERVFAIL", "NODATA" or "SILENT".
        broken_family: A or AAAA, whose questions are answered with SERVFAIL.
    """
    import dns.flags
    import dns.message
    import dns.rcode
    import dns.rrset

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def reply(data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = answers.get(question.name.to_text(omit_final_dot=True).lower(), "NXDOMAIN")
        response = dns.message.make_response(query, recursion_available=True)
        if broken_family and dns.rdatatype.to_text(question.rdtype) == broken_family:
            answer = "SERVFAIL"
        if answer == "SILENT":
            return None
        if answer in ("NXDOMAIN", "SERVFAIL"):
            response.set_rcode(dns.rcode.from_text(str(answer)))
        elif answer != "NODATA":
            kind = dns.rdatatype.to_text(question.rdtype)
            wanted = (
                [a for a in answer if (":" in a) == (kind == "AAAA")]
                if kind in ("A", "AAAA")
                else []
            )
            if wanted:
                response.answer.append(
                    dns.rrset.from_text_list(question.name, 60, "IN", kind, wanted)
                )
        return response.to_wire()

    def serve() -> None:
        # The socket may be closed while an answer is made.
        with suppress(OSError):
            while (received := sock.recvfrom(4096))[0]:  # no bytes: it was shut down
                data, peer = received
                if (answer := reply(data)) is not None:
                    sock.sendto(answer, peer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{sock.getsockname()[1]}"
    finally:
        stop_receiving(sock)
