"""Real servers for the dialogues before TLS that no other test needs: ManageSieve and LMTP of
Dovecot, MariaDB, Prosody (XMPP) and nnrpd of INN (NNTP).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program


def _log_of(log: Path) -> str:
    return log.read_text(errors="replace") if log.exists() else ""


@contextmanager
def _running(command: list[str], log: Path, *ports: int, **environ: str) -> Iterator[None]:
    """Run a program, and wait until it listens at the ports; its log explains a failure."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environ},
        )
    try:
        for port in ports:
            try:
                wait_for(port, process)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{_log_of(log)}") from None
        yield
    finally:
        stop(process)


@contextmanager
def mail_store(folder: Path, certificate: Path, key: Path) -> Iterator[tuple[int, int]]:
    """Run ManageSieve and LMTP of Dovecot with STARTTLS, and yield both ports."""
    sieve, lmtp = free_port(), free_port()
    user = "nobody" if os.getuid() == 0 else os.environ.get("USER", "nobody")
    group = subprocess.run(
        ["id", "-gn", user], capture_output=True, text=True, check=True
    ).stdout.strip()
    config = folder / "dovecot.conf"
    config.write_text(
        f"base_dir = {folder}/run\nstate_dir = {folder}/run\nlog_path = {folder}/dovecot.log\n"
        f"protocols = sieve lmtp\nlisten = 127.0.0.1\nssl = yes\nssl_cert = <{certificate}\n"
        f"ssl_key = <{key}\ndefault_login_user = {user}\ndefault_internal_user = {user}\n"
        f"default_internal_group = {group}\nmail_location = maildir:{folder}/mail\n"
        "passdb {\n driver = static\n args = nopassword=y\n}\n"
        f"userdb {{\n driver = static\n args = uid=65534 gid=65534 home={folder}\n}}\n"
        "service managesieve-login {\n chroot =\n"
        f" inet_listener sieve {{\n port = {sieve}\n }}\n}}\n"
        f"service lmtp {{\n inet_listener lmtp {{\n port = {lmtp}\n }}\n}}\n"
        "service anvil {\n chroot =\n}\n"
    )
    command = [program("dovecot", "dovecot-managesieved dovecot-lmtpd"), "-F", "-c", str(config)]
    with _running(command, folder / "output.log", sieve, lmtp):
        yield sieve, lmtp


@contextmanager
def mariadb(folder: Path, pair: tuple[Path, Path] | None) -> Iterator[int]:
    """Run MariaDB with or without TLS, and yield its port.

    It has neither InnoDB nor privilege tables, so that it needs no installation of its database.
    """
    port = free_port()
    data = folder / "data"
    data.mkdir()
    command = [
        program("mariadbd", "mariadb-server-core"),
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={folder}/socket",
        f"--pid-file={folder}/pid",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        "--skip-grant-tables",
        "--skip-networking=0",
        "--innodb=OFF",
        "--default-storage-engine=Aria",
        "--lc-messages-dir=/usr/share/mysql",
    ]
    if os.getuid() == 0:
        command.append("--user=root")
    command += [f"--ssl-cert={pair[0]}", f"--ssl-key={pair[1]}"] if pair else ["--skip-ssl"]
    with _running(command, folder / "output.log", port):
        yield port


@contextmanager
def prosody(folder: Path, host: str, pair: tuple[Path, Path] | None) -> Iterator[tuple[int, int]]:
    """Run XMPP for a domain, with or without TLS; yield the ports for clients and servers."""
    client, server = free_port(), free_port()
    (folder / "data").mkdir()
    (folder / "certs").mkdir()
    tls = f'"{pair[0]}"; key = "{pair[1]}"' if pair else ""
    tls_module = '"tls"' if pair else ""
    config = folder / "prosody.cfg.lua"
    config.write_text(
        f'run_as_root = true\ndaemonize = false\npidfile = "{folder}/pid"\n'
        f'data_path = "{folder}/data"\ncertificates = "{folder}/certs"\n'
        f'interfaces = {{ "127.0.0.1" }}\nc2s_ports = {{ {client} }}\ns2s_ports = {{ {server} }}\n'
        f'modules_enabled = {{ "saslauth"; {tls_module} }}\n'
        "c2s_direct_tls_ports = {}\ns2s_direct_tls_ports = {}\n"
        f"c2s_require_encryption = {str(bool(pair)).lower()}\n"
        f"s2s_require_encryption = {str(bool(pair)).lower()}\n"
        f"allow_unencrypted_plain_auth = {str(not pair).lower()}\n"
        'authentication = "internal_hashed"\nlog = { info = "*console" }\n'
        f'VirtualHost "{host}"\n' + (f"ssl = {{ certificate = {tls} }}\n" if pair else "")
    )
    command = [program("prosody", "prosody"), "-F", "--config", str(config)]
    with _running(command, folder / "output.log", client, server):
        yield client, server


@contextmanager
def nnrpd(folder: Path, certificate: Path, key: Path) -> Iterator[int]:
    """Run the news server of INN for readers, without articles, and yield its port."""
    port = free_port()
    binary = "/usr/lib/news/bin/nnrpd"
    assert shutil.which(binary), "nnrpd is missing: apt-get install inn2 (make test does it)"
    for name in ("etc", "db", "run", "tmp", "log", "spool/articles", "spool/overview"):
        (folder / name).mkdir(parents=True)
    user, group = (
        subprocess.run(["id", option], capture_output=True, text=True, check=True).stdout.strip()
        for option in ("-un", "-gn")
    )
    config = folder / "etc" / "inn.conf"
    config.write_text(
        'domain: example.test\npathhost: news.example.test\nmta: "/bin/true %s"\n'
        f"pathnews: /usr/lib/news\npathetc: {folder}/etc\npathdb: {folder}/db\n"
        f"pathrun: {folder}/run\npathtmp: {folder}/tmp\npathlog: {folder}/log\n"
        f"pathspool: {folder}/spool\nhismethod: hisv6\nenableoverview: true\n"
        f"ovmethod: tradindexed\nrunasuser: {user}\nrunasgroup: {group}\n"
        "nnrpdloadlimit: 0\n"  # by default it refuses readers if the machine is busy
        f"tlscertfile: {certificate}\ntlskeyfile: {key}\n"
    )
    (folder / "etc" / "storage.conf").write_text("method trash {\n newsgroups: *\n class: 0\n}\n")
    (folder / "etc" / "readers.conf").write_text(
        'auth "all" { hosts: "*" default: "<any>" }\naccess "all" { users: "*" newsgroups: "*" }\n'
    )
    for name in ("db/active", "db/newsgroups", "db/active.times", "spool/overview/group.index"):
        (folder / name).touch()
    command = [binary, "-D", "-f", "-b", "127.0.0.1", "-p", str(port)]
    with _running(command, folder / "output.log", port, INNCONF=str(config)):
        yield port
