"""Situations of mixed content: parts that a page over HTTPS loads or sends without encryption.

Left out is what Chromium loads only later: pages and pictures below the window, pictures of rules
that match nothing, icons, and what a script requests.
"""

from __future__ import annotations

from tests.certmgr.browser.serving import page, serves
from tests.certmgr.browser.situations import Group

GROUP = Group("mixed")

_X = "http://x.nowhere.test"
_UPGRADE = "<meta http-equiv=Content-Security-Policy content='upgrade-insecure-requests'>"
# Name -> the page. {x} is a server without HTTPS.
_PAGES = {
    "image": "<img src='{x}/a.png'>",
    "image-secure": "<img src='//x.nowhere.test/a.png'>",
    "image-candidates": "<img src='//x.nowhere.test/b.png' srcset='{x}/a.png 1x'>",
    "image-of-picture": "<picture><source srcset='{x}/a.png'><img src='/b.png'></picture>",
    "image-of-this-machine": "<img src='http://localhost/a.png'>",
    "image-of-loopback": "<img src='http://127.0.0.1/a.png'>",
    "image-with-tab-in-scheme": "<img src='ht\ttp://x.nowhere.test/a.png'>",
    "image-with-backslashes": r"<img src='http:\\x.nowhere.test/a.png'>",
    "image-without-slashes": "<img src='http:x.nowhere.test/a.png'>",
    "image-in-template": "<template><img src='{x}/a.png'></template>",
    "image-in-noscript": "<noscript><img src='{x}/a.png'></noscript>",
    "image-in-textarea": "<textarea><img src='{x}/a.png'></textarea>",
    "image-hidden": "<div hidden><img src='{x}/a.png'></div>",
    "image-in-shadow-root": "<div><template shadowrootmode=open><img src='{x}/a'></template></div>",
    "image-of-input": "<input type=image src='{x}/a.png'>",
    "image-of-text-field": "<input type=text src='{x}/a.png'>",
    "image-by-old-name": "<image src='{x}/a.png'>",
    "image-background": "<body background='{x}/a.png'>",
    "image-background-of-row": "<table><tr background='{x}/a.png'><td>x</table>",
    "image-background-of-head": "<table><tr><th background='{x}/a.png'>x</table>",
    "svg-image": "<svg><image href='{x}/a.png'/></svg>",
    "svg-image-xlink": "<svg><image xlink:href='{x}/a.png'/></svg>",
    "svg-use": "<svg><use href='{x}/a.svg#a'/></svg>",
    "svg-filter": "<svg><filter id=f><feImage href='{x}/a.png'/></filter>"
    "<rect width=9 height=9 filter='url(#f)'/></svg>",
    "svg-script": "<svg><script href='{x}/a.js'></script></svg>",
    "svg-script-src": "<svg><script src='{x}/a.js'></script></svg>",
    "svg-link": "<svg><a href='{x}/'>x</a></svg>",
    "media-audio": "<audio src='{x}/a.mp3'></audio>",
    "media-video-source": "<video><source src='{x}/a.mp4'></video>",
    "media-source-alone": "<source src='{x}/a.mp4'>",
    "media-poster": "<video poster='{x}/a.png'></video>",
    "script": "<script src='{x}/a.js'></script>",
    "script-module": "<script type=module src='{x}/a.js'></script>",
    "script-of-old-type": "<script type='text/javascript1.5' src='{x}/a.js'></script>",
    "script-of-empty-type": "<script type='' src='{x}/a.js'></script>",
    "script-of-type-with-charset": "<script type='text/javascript;charset=utf-8' src='{x}/a'>"
    "</script>",
    "script-of-data": "<script type='application/json' src='{x}/a.js'></script>",
    "script-of-template": "<script type='text/x-handlebars' src='{x}/a.js'></script>",
    "script-without-module": "<script nomodule src='{x}/a.js'></script>",
    "style": "<link rel=stylesheet href='{x}/a.css'>",
    "style-in-body": "<p>x<link rel='alternate stylesheet' title=x href='{x}/a.css'>",
    "style-for-print": "<link rel=stylesheet media=print href='{x}/a.css'>",
    "style-disabled": "<link rel=stylesheet disabled href='{x}/a.css'>",
    "style-of-less": "<link rel=stylesheet type='text/less' href='{x}/a.css'>",
    "style-of-css": "<link rel=stylesheet type='text/css' href='{x}/a.css'>",
    "style-import": "<style>@import '{x}/a.css';</style>",
    "style-import-in-comment": "<style>/* @import '{x}/a.css'; */</style>",
    "style-picture": '<style>body{{background:url( "{x}/a.png" )}}</style>',
    "style-picture-of-attribute": "<p style='background:url({x}/a.png)'>x</p>",
    "style-picture-of-set": "<style>body{{background:image-set('{x}/a.png' 1x)}}</style>",
    "style-picture-with-escape": "<style>body{{background:url(\\68 ttp://x.nowhere.test/a)}}</style>",
    "link-preload-style": "<link rel=preload as=style href='{x}/a.css'>",
    "link-preload-image": "<link rel=preload as=image href='{x}/a.png'>",
    "link-preload-candidates": "<link rel=preload as=image imagesrcset='{x}/a.png 1x'>",
    "link-preload-of-nothing": "<link rel=preload href='{x}/a.css'>",
    "link-preconnect": "<link rel=preconnect href='{x}'>",
    "link-canonical": "<link rel=canonical href='{x}/'>",
    "frame-inline": "<iframe src='{x}/'></iframe>",
    "frame-of-set": "<frameset><frame src='{x}/'></frameset>",
    "frame-document": "<iframe srcdoc=\"<script src='{x}/a.js'></script>\"></iframe>",
    "frame-document-without-scripts": "<iframe sandbox srcdoc=\"<script src='{x}/a'></script>\">"
    "</iframe>",
    "frame-object": "<object data='{x}/a.svg'></object>",
    "frame-embedded": "<embed src='{x}/a.svg'>",
    "form": "<form action='{x}/'><input name=a></form>",
    "form-of-this-machine": "<form action='http://localhost/'><input name=a></form>",
    "form-of-script": "<form action='javascript:void(0)'><input name=a></form>",
    "form-in-template": "<template><form action='{x}/'><input name=a></form></template>",
    "base": "<base href='{x}/'><img src='a.png'>",
    "base-of-script": "<base href='{x}/'><script src='a.js'></script>",
    "base-of-form": "<base href='{x}/'><form action='a'><input name=a></form>",
    "base-of-form-without-action": "<base href='{x}/'><form><input name=a></form>",
    "base-second": "<base href='https://x.nowhere.test/'><base href='{x}/'><img src='a.png'>",
    "base-after-one-without-href": "<base target=_blank><base href='{x}/'><img src='a.png'>",
    "base-in-body": "<p>x<base href='{x}/'><img src='a.png'>",
    "base-after-image": "<img src='a.png'><base href='{x}/'>",
    "policy-upgrades": _UPGRADE + "<script src='{x}/a.js'></script>",
    "policy-after-script": "<script src='{x}/a.js'></script>" + _UPGRADE,
    "policy-in-body": "<body><p>x</p>" + _UPGRADE + "<script src='{x}/a.js'></script>",
    "policy-upgrades-form": "<head>" + _UPGRADE + "<body><form action='{x}/'><input></form>",
    "policy-of-report-only": _UPGRADE.replace("Policy ", "Policy-Report-Only ")
    + "<script src='{x}/a.js'></script>",
    "policy-blocks-images": "<meta http-equiv=Content-Security-Policy content=\"img-src 'none'\">"
    "<img src='{x}/a.png'>",
    "policy-of-inner-document": '<iframe srcdoc="' + _UPGRADE + '<p>x"></iframe>'
    "<script src='{x}/a.js'></script>",
    "policy-for-inner-document": _UPGRADE + "<iframe srcdoc=\"<script src='{x}/a'></script>\">"
    "</iframe>",
    "text-of-link": "<a href='{x}/'>x</a><blockquote cite='{x}/'>x</blockquote>",
    "text-of-preview": "<meta property='og:image' content='{x}/a.png'>",
}
_CSP = "Content-Security-Policy"
_HEADERS = {
    "policy-of-header": f"{_CSP}: upgrade-insecure-requests",
    "policy-of-header-in-capitals": f"{_CSP.upper()}: default-src * ; UPGRADE-Insecure-Requests",
    "policy-of-header-for-reports": f"{_CSP}-Report-Only: upgrade-insecure-requests",
    "policy-of-header-with-comma": f"{_CSP}: img-src *, upgrade-insecure-requests",
}

for _name, _body in _PAGES.items():
    GROUP.add(
        _name,
        serves(page("<!doctype html><title>x</title>" + _body.format(x=_X))),
        mixed=True,
        relative="-" in _name,
    )
for _name, _header in _HEADERS.items():
    GROUP.add(
        _name,
        serves(page(f"<!doctype html><title>x</title><script src='{_X}/a.js'></script>", _header)),
        mixed=True,
        relative=True,
    )
