"""What anybody may send: each nonsense is answered with a sentence, and nothing of it is carried out."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time

import pytest

from tests.web.served import PVS, Served, iso

NONSENSE = [
    ({"pv": "T:DOUBLE", "from_": "yesterday"}, "'from' is not a time: write it as"),
    ({"pv": "T:DOUBLE", "to": "2024-13-01T00:00:00Z"}, "'to' is not a time: there is no such day or hour"),
    ({"pv": "T:DOUBLE", "to": "1h"}, "'to' is not a time: write it as"),
    ({"pv": "T:DOUBLE", "from_": iso(10**9), "to": iso(0)}, "'to' is before 'from'"),
    ({}, "'pv' is missing"),
    ({"pv": "x" * 501}, "'pv' has 501 characters"),
    ({"pv": ["T:DOUBLE", "T:ONCE"]}, "'pv' is there more than once"),
    ({"pv": "mean_60(T:DOUBLE"}, "a parenthesis that is not closed"),
    ({"pv": "median_x(T:DOUBLE)"}, "median: the number behind the name is not a whole number above 0"),
    ({"pv": "mean_0(T:DOUBLE)"}, "mean: the number behind the name is not a whole number above 0"),
    ({"pv": "mean_99999999999999999999(T:DOUBLE)"}, "mean: the number behind the name is not"),
    ({"pv": "optimized_-5(T:DOUBLE)"}, "optimized: the number behind the name"),
    ({"pv": "drop_60(T:DOUBLE)"}, "there is no such operator; there are: count, firstFill,"),
    ({"pv": "T:DOUBLE", "pp": "__import__('os')"}, "there is no such operator"),
    ({"pv": "flyers_60_x(T:DOUBLE)"}, "flyers: the number of deviations"),
    ({"pv": "mean_60(T:TEXT)", "from_": iso(0)}, "mean needs numbers, and T:TEXT is a text"),
]
BINS = "31,536,001 bins, and 5,000,000 are allowed"
NONSENSE += [
    ({"pv": f"{name}_1(T:DOUBLE)", "from_": "2025-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, BINS)
    for name in ("mean", "median", "count", "statistics", "firstFill", "lastFill")
]
UNKNOWN = [
    "T:NONE", "", " ", "../../etc/passwd", "T:DOUBLE\0", "T:DOUBLE' OR '1'='1", "T:DOUBLE; DROP TABLE sample",
    "%", "T:%", "T:DOUBL_", "T:*", "T:DOUBLE\r\nX-Header: 1", "<script>alert(1)</script>", "T:DOUBLE.DESC",
    "t:double", "\ud7ff\ufffd",
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "sentence"), NONSENSE, ids=str)
@pytest.mark.parametrize("form", ["raw", "json"])
def test_nonsense_is_refused_with_a_sentence(
    served: Served, parameters: dict[str, str], sentence: str, form: str
) -> None:
    answer = served.get(f"/data/getData.{form}", **parameters)
    assert answer.status == 400
    assert sentence in answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_one_of_several_pvs_cannot_answer_is_told_before_the_others_are(served: Served) -> None:
    for pvs, sentence in (
        (["mean_60(T:DOUBLE)", "mean_60(T:TEXT)"], "mean needs numbers, and T:TEXT is a text"),
        (["mean_60(T:DOUBLE)", "flyers_60(T:ARRAY)"], "flyers needs numbers, and T:ARRAY is a text or an array"),
        (["mean_15(T:DOUBLE)", "mean_15(T:COUNT)", "mean_15(T:STATE)"], "bins, and 5,000,000 are allowed"),
    ):
        answer = served.get(
            "/data/getDataForPVs.json", pv=pvs, from_="2025-01-01T00:00:00Z", to="2026-01-01T00:00:00Z"
        )
        assert answer.status == 400
        assert sentence in answer.body.decode()


@pytest.mark.parametrize("pv", UNKNOWN, ids=repr)
def test_an_unknown_pv_is_not_found_whatever_its_name(served: Served, pv: str) -> None:
    for path in ("/data/getData.raw", "/data/getData.json", "/data/getDataForPVs.json", "/bpl/getMetadata"):
        answer = served.get(path, pv=pv)
        assert answer.status == 404
        assert answer.headers.get("X-Header") is None
        assert answer.headers["content-type"].startswith("text/plain")
    assert served.get("/bpl/areWeArchivingPV", pv=pv or "-").json() == {"status": "false"}
    assert served.get("/data/getData.raw", pv="T:DOUBLE").status == 200


@pytest.mark.parametrize(
    "path", ["/data/getData.exe", "/data/getData.", "/data/../ping/x", "/bpl/getClientConfig", "/x"]
)
def test_an_address_that_there_is_not_is_not_found(served: Served, path: str) -> None:
    assert served.get(path, pv="T:DOUBLE").status == 404


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"[1, 2]", 400, "something else than texts"),
        (b'["T:DOUBLE"', 400, "is not JSON"),
        (b"[" * 100_000, 400, "is not JSON"),
        (b'["T:DOUBLE"' + b" " * (1 << 20) + b"]", 413, "has more than"),
        (b"x," * 20_000, 400, "too many names"),
        (b"pv=x&" * 20_000, 400, "too many names"),
    ],
    ids=["numbers", "open", "deep", "large", "many", "form"],
)
def test_a_list_of_names_that_is_none_is_refused(served: Served, body: bytes, status: int, sentence: str) -> None:
    answer = served.get("/data/getDataAtTime", body)
    assert (answer.status, sentence in answer.body.decode()) == (status, True)


def test_a_form_may_name_as_many_pvs_as_a_list(served: Served) -> None:
    answer = served.get("/data/getDataAtTime", b"pv=T:DOUBLE&" * 1500 + b"pv=T:BROKEN", at="2025-01-01T00:00:00Z")
    assert answer.json().keys() == {"T:DOUBLE", "T:BROKEN"}


def test_a_get_of_values_at_a_time_is_refused_and_so_are_its_bad_times(served: Served) -> None:
    assert served.get("/data/getDataAtTime").status == 405
    assert served.get("/data/getDataAtTime", b"[]", at="noon").status == 400
    assert served.get("/data/getDataAtTime", b"[]", searchPeriod="1 day").status == 400


def test_a_page_of_another_site_may_read(served: Served) -> None:
    answer = served.get("/data/getData.json", None, {"Origin": "http://grafana.example"}, pv="T:ONCE")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers.get("access-control-allow-credentials") is None
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    asked = {"Origin": "http://x", "Access-Control-Request-Method": "POST"}
    connection.request("OPTIONS", "/retrieval/data/getDataAtTime", headers=asked)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_client_that_offers_http2_is_answered_by_http_1_1(served: Served) -> None:
    headers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABk",
    }
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.request(
        "GET", "/retrieval/data/getData.raw?pv=T%3AONCE&from=2024-01-01T00%3A00%3A00Z", headers=headers
    )
    answer = connection.getresponse()
    assert (answer.status, answer.version) == (200, 11)
    assert answer.read()
    connection.close()


def test_names_are_found_by_glob_and_by_regular_expression(served: Served) -> None:
    assert served.get("/bpl/getMatchingPVs", pv="*").json() == PVS
    assert served.get("/bpl/getMatchingPVs", pv="T:?NCE").json() == ["T:ONCE"]
    assert served.get("/bpl/getMatchingPVs", pv="T.ONCE").json() == []
    assert served.get("/bpl/getMatchingPVs", regex=".*(ONCE|RARE).*").json() == ["T:ONCE", "T:RARE"]
    assert served.get("/bpl/getMatchingPVs", regex="ONCE").json() == []
    assert served.get("/bpl/getMatchingPVs", regex=".*", limit="2").json() == PVS[:2]
    assert served.get("/bpl/getMatchingPVs", regex=".*", limit="-1").json() == PVS
    assert served.get("/bpl/getMatchingPVs", regex=".*", limit="x").status == 400
    assert served.get("/bpl/getMatchingPVs").status == 404
    found = served.get("/bpl/searchForPVsRegex", regex=".*T:.*E")
    assert found.headers["content-type"].startswith("text/plain")
    assert found.body.decode().splitlines() == [pv for pv in PVS if pv.endswith("E")]
    assert served.get("/bpl/searchForPVsRegex").status == 404


@pytest.mark.parametrize(
    "regex",
    ["(T:)?(.*)*(.*)*(.*)*x", "(a|aa)+$" * 50, "(((((.*)+)+)+)+)+y", "[a-z]{900}" * 90, "(?=x)", "(", r"\1", "*"],
)
def test_a_regular_expression_takes_no_time_worth_mentioning(served: Served, regex: str) -> None:
    began = time.monotonic()
    assert served.get("/bpl/getMatchingPVs", regex=regex).status in {200, 400}
    assert time.monotonic() - began < 2


def test_what_is_known_of_a_pv_and_of_the_server(served: Served) -> None:
    found = served.get("/bpl/getMetadata", pv="T:DOUBLE").json()
    assert found.items() >= {
        "pvName": "T:DOUBLE", "DBRType": "DBR_SCALAR_DOUBLE", "scalar": "true", "elementCount": "1", "EGU": "V",
        "units": "V", "upperDisplayLimit": "100.0", "lowerAlarmLimit": "-5.0",
    }.items()  # fmt: skip
    types = {pv: served.get("/bpl/getMetadata", pv=pv).json()["DBRType"] for pv in ("T:STATE", "T:TEXT", "T:COUNT")}
    assert types == {"T:STATE": "DBR_SCALAR_ENUM", "T:TEXT": "DBR_SCALAR_STRING", "T:COUNT": "DBR_SCALAR_INT"}
    assert served.get("/bpl/getMetadata", pv="T:ARRAY").json()["elementCount"] == "3"
    assert served.get("/bpl/getMetadata").status == 404
    assert served.get("/bpl/areWeArchivingPV", pv="ca://T:DOUBLE.VAL").json() == {"status": "true"}
    assert served.get("/bpl/areWeArchivingPV").status == 404
    assert "version" in served.get("/bpl/getVersion").json()
    assert served.get("/ping").body == b"Pong\n"


def test_a_request_that_is_no_http_harms_nobody(served: Served) -> None:
    for data in (b"\x16\x03\x01" + b"\0" * 100, b"GET / HTTP/9\r\n\r\n", b"x" * 200_000, b"GET /\r\n" * 50):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100)[:12] in {b"HTTP/1.1 400", b""}
    assert served.get("/ping").status == 200
