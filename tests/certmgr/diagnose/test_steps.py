"""The steps of a visit."""

from __future__ import annotations

from tests.certmgr.diagnose.demonstration import Demo, Run, call


def test_steps_of_a_good_site_are_those_of_a_visitor(certmgr: Run, demo: Demo) -> None:
    site = demo.sites.sites[0]
    found = call(
        certmgr, demo, "diagnose", f"https://{site.host}:{site.port}/", "--format", "json"
    ).json
    assert [s["step"] for s in found["steps"]] == [
        "name resolution",
        "reachability",
        "TLS",
        "chain",
        "name",
        "dates",
        "HTTP",
    ]
    assert {s["state"] for s in found["steps"]} == {"ok"}
