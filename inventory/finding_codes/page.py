"""Findings about pages and redirects."""

from inventory.finding_codes.kinds import (
    FindingCode,
    FindingText,
    Fix,
    Layer,
    Responsible,
    Visitor,
)
from inventory.vocabulary import Severity

PAGE: dict[str, FindingCode] = {
    "http-collects-secrets": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.NOT_SECURE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "password or card over HTTP",
            "A page of {host} asks for a password or a payment card without encryption"
            " ({url}); browsers show 'Not secure'.",
            "Redirect {url} to HTTPS at {addresses}. If there is no certificate yet, install"
            " one first. The field: {field}.",
        ),
    ),
    "http-collects-input": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.NOT_SECURE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "form over HTTP",
            "A page of {host} accepts what visitors type without encryption ({url}); browsers"
            " show 'Not secure'.",
            "Redirect {url} to HTTPS at {addresses}. If there is no certificate yet, install"
            " one first. The field: {field}.",
        ),
    ),
    "http-served": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.NOT_SECURE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "served over HTTP",
            "{host} shows its pages without encryption ({url}); browsers show 'Not secure'.",
            "Redirect {url} to HTTPS at {addresses} (301). If there is no certificate yet,"
            " install one first.",
        ),
    ),
    "redirect-missing": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.NOT_SECURE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "no redirect to HTTPS",
            "{host} does not redirect visitors of {url} to HTTPS, so their connection stays"
            " without encryption.",
            "Redirect {url} to HTTPS at {addresses} (nginx: 'return 301"
            " https://$host$request_uri;').",
        ),
    ),
    "redirect-insecure": FindingCode(
        severity=Severity.HIGH,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.NOT_SECURE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "HTTPS redirects to HTTP",
            "{host} sends its visitors from the secure address {url} to one without encryption"
            " ({to}).",
            "Remove the redirect from {url} to {to} at {addresses}. Check the web server and"
            " the settings of the site itself.",
        ),
    ),
    "redirect-broken": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.UNREACHABLE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "redirect leads to an error",
            "{host} cannot be opened: it redirects {url} to {to}, and browsers show an error"
            " there: {why}.",
            "Correct the redirect from {url} to {to} at {addresses}: {advice}.",
        ),
    ),
    "answer-invalid": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.UNREACHABLE,
        text=FindingText(
            "answer that browsers refuse",
            "{host} cannot be opened: its server answers the request for {url} with {why}, and"
            " browsers show an error.",
            "Correct the web server, the proxy or the program that answers {url} at"
            " {addresses}. Each answer needs one status line, and Location, Content-Length and"
            " Content-Disposition at most once.",
        ),
    ),
    # An API often has nothing at its home page. Staff know what the host is for.
    # Staff know whether only programs use the host.
    "page-missing": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.STAFF,
        layer=Layer.HTTP,
        visitor=Visitor.UNREACHABLE,
        text=FindingText(
            "no page",
            "{host} has no page: {url} answers with status {status}, and a browser shows an"
            " error. Programs that use {host} may work without it.",
            "If only programs use {host}, state it: certmgr domain edit {host} --purpose api."
            " If it needs a page, correct the web server at {addresses}.",
        ),
    ),
    "redirect-loop": FindingCode(
        severity=Severity.CRITICAL,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.UNREACHABLE,
        fix=Fix.REDIRECT,
        text=FindingText(
            "redirect loop",
            "{host} cannot be opened: it redirects {url} again and again ({why}).",
            "Find the two rules that redirect to each other ({path}) at {addresses}. Often one"
            " is in the web server, and the other in the site or its CDN.",
        ),
    ),
    # In the site itself, which the provider of the server cannot change.
    # The URLs are in the content of the site, which its owner edits.
    "mixed-content": FindingCode(
        severity=Severity.MEDIUM,
        role=Responsible.CLIENT,
        layer=Layer.HTTP,
        visitor=Visitor.MIXED,
        fix=Fix.CONTENT,
        text=FindingText(
            "loads over HTTP",
            "The page {url} is secure, but loads or sends parts of it without encryption"
            " ({example}); browsers block or mark them.",
            "Change these addresses from http:// to https:// in the site {host}: {urls}.",
        ),
    ),
    # A large max-age cannot be taken back, so the instruction begins with a small one (RFC 6797
    # 11.2).
    "hsts-missing": FindingCode(
        severity=Severity.LOW,
        role=Responsible.HOST,
        layer=Layer.HTTP,
        visitor=Visitor.REMARK,
        fix=Fix.HSTS,
        text=FindingText(
            "no HSTS",
            "{host} does not instruct browsers to use only HTTPS; visitors notice nothing.",
            "Once HTTPS works everywhere, send 'Strict-Transport-Security: max-age=31536000'"
            " at {addresses}; begin with a small max-age.",
        ),
    ),
    # Protection services refuse programs. What visitors see is then unknown, and not wrong.
    "http-unknown": FindingCode(
        severity=Severity.UNDETERMINED,
        role=Responsible.STAFF,
        layer=Layer.HTTP,
        visitor=Visitor.UNKNOWN,
        text=FindingText(
            "page undetermined",
            "We could not determine what visitors of {host} see at {url}: {why}.",
            "Open {url} in a browser from another network. Allow our scanner there ([http]"
            " contact identifies it), or accept this finding.",
        ),
    ),
}
