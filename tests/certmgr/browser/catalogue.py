"""All situations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase

from tests.certmgr.browser import (
    answers,
    certificates,
    chains,
    combinations,
    constraints,
    content_types,
    dates,
    demo_sites,
    fetched,
    flights,
    flights_12,
    handshakes,
    hellos,
    hsts,
    http2,
    keys,
    mixed,
    names,
    page_records,
    pages,
    paths,
    private_cas,
    recipes,
    records,
    redirects,
    refreshes,
    staples,
    syntax,
)
from tests.certmgr.browser.situations import Situation

GROUPS = {
    group.name: tuple(group.situations)
    for group in (
        certificates.GROUP,
        chains.GROUP,
        paths.GROUP,
        fetched.GROUP,
        staples.GROUP,
        combinations.GROUP,
        keys.GROUP,
        constraints.GROUP,
        handshakes.GROUP,
        hellos.GROUP,
        flights.GROUP,
        flights_12.GROUP,
        page_records.GROUP,
        http2.GROUP,
        records.GROUP,
        hsts.GROUP,
        names.GROUP,
        dates.GROUP,
        private_cas.GROUP,
        recipes.GROUP,
        answers.GROUP,
        answers.FORMS,
        content_types.GROUP,
        syntax.GROUP,
        syntax.FORMS,
        redirects.GROUP,
        refreshes.GROUP,
        pages.GROUP,
        mixed.GROUP,
        demo_sites.GROUP,
    )
}
SITUATIONS = tuple(s for group in GROUPS.values() for s in group)

# Relatives of other situations: "make soak" judges them, and "make test" only their kind.
_KEPT_ANSWERS = [
    "ordinary",
    "version-1",
    "version-0.9",
    "header-zero-byte",
    "headers-of-300-kilobytes",
    "headers-of-200-kilobytes",
    "one-letter",
    "length-word",
    "length-twice-different",
    "length-too-large",
    "chunked-twice",
    "chunked-but-plain",
    "encoding-utf-8",
    "encoding-gzip-but-plain",
    "status-999",
    "empty-404",
    "empty-500",
    "error-404-download",
    "nothing",
    "half-a-status-line",
    "other-protocol",
    "no-body",
]
_KEPT_FORMS = [
    "ordinary",
    "version-1",
    "version-0.9",
    "empty-line-first",
    "line-feeds-only",
    "status-600",
    "status-999",
    "status-404",
    "status-500",
    "status-403",
    "interim-103",
    "header-name-with-blank",
    "header-blank-before-colon",
    "header-without-colon",
    "header-folded",
    "length-word",
    "length-negative",
    "length-twice-different",
    "length-too-large",
    "chunked",
    "chunked-twice",
    "chunk-extension",
    "chunks-without-end",
    "encoding-gzip",
    "encoding-utf-8",
    "encoding-unknown",
    "type-xhtml",
    "type-xhtml-with-capitals",
    "type-plain-text",
    "type-empty",
    "body-utf-16",
    "body-shadow-root",
    "body-template",
    "body-srcdoc",
    "body-comment",
    "body-noscript",
    "body-capitals",
    "body-blank-in-type",
    "body-second-of-two-types",
    "body-in-svg",
]
_KEPT = {"answers": _KEPT_ANSWERS, "forms": _KEPT_FORMS}
_RELATIVES = {
    "certificates": "key-rsa3072 key-p224 key-ed448 signature-*384 signature-*512 usage-none"
    " usage-*non-repudiation* usage-*data-* usage-not-critical purpose-none purpose-email"
    " extension-unknown basic-path* authority-key* version-2* version-4 version-1-encoded"
    " serial-zero serial-2* malformed-ski malformed-aki malformed-crl* malformed-auth*"
    " malformed-unknown malformed-signed* malformed-boolean* policies* subject-empty-san*"
    " subject-bmp* subject-t61* subject-printable* size-20* extension-[se]* malformed-flag*"
    " signature-ecdsa-with*"
    " signature-algorithms-differ-rsa *null-expired subject-t61-* subject-u* subject-e*set"
    " subject-two* policy-* eku-ocsp*",
    "chains": "one-of-two* only-root* leaf-twice surplus-expired both-keys* three-int*"
    " six-int* root-unknown-intermediate-sent root-unknown-all-sent root-cross* intermediate-p384"
    " intermediate-secp* intermediate-for-any* intermediate-for-email intermediate-serial*"
    " intermediate-rsa-md5 constraint-excluded-other constraint-permitted-top constraint-mail*"
    " constraint-uri* constraint-address-excluded constraint-permitted-and* issuer-name-in-cap*"
    " rsa-chain policy-*not-critical policy-*below* policy-of* policy-*any* policy-*another"
    " intermediate-flag* intermediate-sec* intermediate-alg* intermediate-rsa-sig*"
    " intermediate-with-a* issuer-name-in-t61* issuer-name-in-bmp* leaf-has* three-intermediates-r*"
    " intermediate-not-sent-url-[lht]*"
    " intermediate-not-sent-url-answers-[!h]*",
    "handshakes": "alert-unexpected* alert-bad-record* alert-access* alert-decode* alert-inapp*"
    " alert-user* alert-missing* alert-certificate* alert-bad-cert* rsa-version-1.[02]*"
    " suite-*aes256* suite-*chacha* suite-*ccm suite-camellia* suite-ecdhe-rsa-aes128-gcm*"
    " group-secp* group-mlkem* group-x448 group-*-version-1.2 signature-pkcs1-sha*6-only"
    " signature-pkcs1-sha512* signature-pss* signature-ecdsa-sha256* alpn-ignored alpn-unknown*"
    " client-certificate-needed-v* zero-bytes record-of* smtp",
    "names": "wildcard-herokuapp* wildcard-blogspot* wildcard-s3* wildcard-com wildcard-com.au"
    " wildcard-city* wildcard-internal wildcard-local wildcard-two* wildcard-twice"
    " wildcard-second* one-label* none-of-many www-surplus address-as-uri address-mapped"
    " address-and-name san-*-first san-with-* san-uri* san-long* san-leading* san-zero-byte-at*"
    " digits* leading-* *-outside-ascii *-in-capitals wildcard-with-tr*",
    "dates": "expired-a-year* begins-next* begun-an* end-2049 end-3000 begin-19* hour-24"
    " generalized-with-comma generalized-with-offset valid-for-no* its-root-gen* leaf-began*"
    " expired-three* second-60-[begu]* second-61 minute-60",
    "private-cas": "root-version-1-with* root-without-key-id* root-serial-zero root-p521"
    " root-rsa2048* root-expired-with* root-for-servers* leaf-without-key-id* leaf-bare-with*"
    " leaf-serial-n* root-constraint-plain root-constraint-dotted-other"
    " intermediate-constraint-other intermediate-constraint-plain leaf-expired leaf-purpose*"
    " intermediate-expired pinned-expired pinned-of* root-key-usage* root-without-ext*-*"
    " root-without-basic* root-unknown*",
    "redirects": "status-30[238] query-only blanks* capital* umlaut loop-of* location-twice-same"
    " location-unsafe* refresh-header-upper* refresh-tag-without* status-403* status-503* to-alias",
}


def _is_relative(situation: Situation) -> bool:
    if situation.relative:
        return True
    if situation.group in _KEPT:
        return situation.name not in _KEPT[situation.group]
    patterns = _RELATIVES.get(situation.group, "").split()
    return any(fnmatchcase(situation.name, p) for p in patterns)


ORDINARY = tuple(s for s in SITUATIONS if not _is_relative(s))


def kind(situation: Situation) -> tuple[str, str]:
    """Return the group and the first word of the name, such as wildcard."""
    return situation.group, situation.name.split("-")[0]


def few(always: Collection[str]) -> tuple[Situation, ...]:
    """Return every third situation of each kind, without relatives, for ``make test``.

    Args:
        always: The ids of further situations.
    """
    kinds: dict[tuple[str, str], list[str]] = {}
    for situation in ORDINARY:
        kinds.setdefault(kind(situation), []).append(situation.id)
    chosen = {*always, *(id for ids in kinds.values() for id in ids[::3])}
    return tuple(s for s in SITUATIONS if s.id in chosen)


# Situations that are served and scanned together. More in one batch cost less; fewer waste less if
# two workers share a batch.
BATCH = 12


def batches(situations: Iterable[Situation]) -> Iterator[tuple[Situation, ...]]:
    """Divide situations into batches of one group, in their order."""
    batch: list[Situation] = []
    for situation in situations:
        # A host has one answer over plain HTTP.
        full = len(batch) == BATCH or situation.host in {s.host for s in batch}
        if batch and (full or situation.group != batch[0].group):
            yield tuple(batch)
            batch = []
        batch.append(situation)
    if batch:
        yield tuple(batch)
