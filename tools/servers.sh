#!/bin/sh
# Install the real servers that the tests use, through apt as root; otherwise print which are missing.
# "servers.sh bench" adds the tools that the benchmark compares with, and "servers.sh clocks" libfaketime.
# "servers.sh demo" installs only the servers of the ACME demonstration and never fails, because the
# demonstration prints what is missing.
set -eu
PATH=$PATH:/usr/sbin:/sbin
export PATH
missing=
need() { # need PACKAGE TEST-COMMAND...
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
if [ "${1:-}" = demo ]; then
    need nginx-light command -v nginx
    need pebble command -v pebble
else
    need nginx-light command -v nginx
    need libnginx-mod-stream test -e /usr/lib/nginx/modules/ngx_stream_module.so
    need apache2-bin command -v apache2
    need haproxy command -v haproxy
    need openssl command -v openssl
    need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/initdb || command -v initdb'
    need pgbouncer command -v pgbouncer
    need dovecot-imapd sh -c 'test -e /usr/lib/dovecot/imap-login || test -e /usr/libexec/dovecot/imap-login'
    need dovecot-pop3d sh -c 'test -e /usr/lib/dovecot/pop3-login || test -e /usr/libexec/dovecot/pop3-login'
    need dovecot-managesieved sh -c 'test -e /usr/lib/dovecot/managesieve-login || test -e /usr/libexec/dovecot/managesieve-login'
    need dovecot-lmtpd sh -c 'test -e /usr/lib/dovecot/lmtp || test -e /usr/libexec/dovecot/lmtp'
    need slapd command -v slapd
    need mariadb-server-core command -v mariadbd
    need prosody command -v prosody
    need inn2 test -x /usr/lib/news/bin/nnrpd
    need chromium sh -c 'command -v chromium || command -v chromium-browser'
    need libnss3-tools command -v certutil
    need npm command -v npm
    need libpango-1.0-0 sh -c 'ls /usr/lib/*/libpango-1.0.so.0'
    need libpangoft2-1.0-0 sh -c 'ls /usr/lib/*/libpangoft2-1.0.so.0'
    need poppler-utils command -v pdftotext
    need systemd command -v systemd-analyze
    need pebble sh -c 'command -v pebble && command -v pebble-challtestsrv'
    need bind9 command -v named
    need dehydrated command -v dehydrated
    need lego command -v lego
    need openssh-server command -v sshd
    need openssh-client command -v ssh-keygen
    need zsh command -v zsh
    need fish command -v fish
    need fonts-dejavu-core sh -c 'ls /usr/share/fonts/truetype/dejavu'
fi
if [ "${1:-}" = clocks ]; then
    need faketime sh -c 'ls /usr/lib/*/faketime/libfaketimeMT.so.1'
fi
if [ "${1:-}" = bench ]; then
    need nmap command -v nmap
    need gcc command -v cc
    need libssl-dev test -e /usr/include/openssl/ssl.h
fi
axe() { # axe-core checks the pages in the tests; its version and hash are in tests/axe/package-lock.json
    axe_folder=$(dirname "$0")/../tests/axe
    [ -e "$axe_folder/node_modules/axe-core/axe.min.js" ] && return
    (cd "$axe_folder" && npm ci --ignore-scripts --no-audit --no-fund --silent)
}
acme2certifier() { # an ACME server with ARI (GPL, so it runs as a separate program); its versions and hashes are in tests/acme2certifier/requirements.lock
    a2c_folder=$(dirname "$0")/../tests/acme2certifier
    cmp -s "$a2c_folder/requirements.lock" "$a2c_folder/.venv/installed.lock" && return
    python=$(dirname "$0")/../${VENV:-.venv}/bin/python
    [ -x "$python" ] || python=${PYTHON:-python3}
    PYTHON=$python sh "$(dirname "$0")/venv.sh" "$a2c_folder/.venv" "$a2c_folder/requirements.lock"
    cp "$a2c_folder/requirements.lock" "$a2c_folder/.venv/installed.lock"
}
if [ "${1:-}" = demo ]; then
    axe() { :; }
    acme2certifier() { :; }
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then exit 0; fi
fi
if [ -z "$missing" ]; then
    axe
    acme2certifier
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # Packages start their servers on installation; the tests start their own, so forbid it for this call.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; fi
    # The installation of inn2 fails on a machine without a full name, unless a configuration names its domain.
    INNCONF=$(mktemp)
    export INNCONF
    printf '%s\n' 'domain: example.test' 'mta: "/bin/true %s"' 'pathnews: /usr/lib/news' 'pathetc: /etc/news' \
        'pathdb: /var/lib/news' 'pathrun: /run/news' 'pathspool: /var/spool/news' 'hismethod: hisv6' \
        'enableoverview: true' 'ovmethod: tradindexed' >"$INNCONF"
    chmod 644 "$INNCONF"
    trap 'rm -f "$INNCONF"; [ -z "$made" ] || rm -f $policy' EXIT
    if [ "${1:-}" = demo ]; then
        # shellcheck disable=SC2086
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; } >/dev/null 2>&1 || true
        exit 0
    fi
    apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
    axe
    acme2certifier
else
    echo "certmgr: the tests need servers that are not installed. As root: apt-get install$missing" >&2
    exit 1
fi
