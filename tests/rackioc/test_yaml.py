"""YAML as people mean it: a scalar's own text where a text is wanted, a number of YAML 1.2 where a number is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Point, RecordType
from drivers.se521 import SE521Config
from drivers.technix.config import TechnixConfig
from rackioc.config import schema, sitefile, yamlfile
from rackioc.config.config import Config, ConfigError
from rackioc.config.load import load
from rackioc.config.sitefile import SiteFile
from tests.small_ioc import until

# What YAML 1.1 makes something else of, or YAML 1.2 does
WORDS = [
    *("ON", "off", "yes", "No", "y", "true", "FALSE", "1:30", "0x10", "0o17", "012", "1_000", "1e5", "1e-9"),
    *("0_0_32100000", "5", "5.50", "-7", ".5", "2026-11-20", "=", "<<"),
]


def read(tmp_path: Path, text: str) -> yamlfile.YamlFile:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return yamlfile.read(path)


def configured(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "rack.yaml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize("word", WORDS)
def test_a_text_is_what_stands_in_the_file(tmp_path: Path, word: str) -> None:
    file = read(tmp_path, f"serial: {word}\n")
    config = schema.check(SE521Config, file.data, (), file)
    assert (config.serial, file.faults) == (word, [])
    assert file.data == {"serial": word}, "the simulation takes its keys from here"


@pytest.mark.parametrize("word", [word for word in WORDS if word not in ("=", "<<")])
def test_a_name_is_what_stands_in_the_file(tmp_path: Path, word: str) -> None:
    records = f"records: {{ {word}{word}:T1: {{DESC: {word}}} }}"
    text = f"prefix: {word}\ninstruments: {{{word}: {{driver: se521}}}}\n{records}\n"
    if "." in word:
        with pytest.raises(ConfigError, match="has a character that is not allowed"):
            configured(tmp_path, text)
        return
    config = configured(tmp_path, text)
    assert (config.prefix, config.instruments[0].name, list(config.raw)) == (word, word, [word])
    applied = config.site.apply(f"{word}{word}:T1", Point(name="T1", rtyp=RecordType.ai))
    assert applied.point.desc == word


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-9", 1e-9), ("1e5", 1e5), ("0x10", 16), ("0o17", 15), ("+2", 2), (".5", 0.5), ("5.", 5.0), ("1.5E+1", 15.0)],
)
def test_a_number_is_one_of_yaml_1_2(tmp_path: Path, text: str, number: float) -> None:
    file = read(tmp_path, f"port: x\nfull_scale: {{voltage_kv: {text}, current_ma: 50}}\n")
    config = schema.check(TechnixConfig, file.data, (), file)
    assert not file.faults
    assert config.full_scale.voltage_kv == number


@pytest.mark.parametrize("text", ["012", "1_000", "1:30", "0b11", "on", "yes", "true", '"5"'])
def test_what_might_be_another_number_is_a_fault_where_a_number_is_wanted(tmp_path: Path, text: str) -> None:
    file = read(tmp_path, f"port: x\nfull_scale:\n  voltage_kv: {text}\n  current_ma: 50\n")
    assert schema.check(TechnixConfig, file.data, (), file) is None
    (fault,) = file.faults
    assert (fault.line, fault.key) == (3, "full_scale.voltage_kv")
    assert "must be a number" in fault.sentence


@pytest.mark.parametrize("nothing", ["", "~", "null"])
def test_a_key_without_a_value_is_a_fault_and_not_a_key_left_out(tmp_path: Path, nothing: str) -> None:
    full = "port: x\nfull_scale: {voltage_kv: 100, current_ma: 50}\n"
    file = read(tmp_path, f"{full}limits:\n  voltage_kv: {nothing}\n  current_ma: 20\n")
    assert schema.check(TechnixConfig, file.data, (), file) is None
    (fault,) = file.faults
    assert (fault.line, fault.key) == (4, "limits.voltage_kv")
    assert fault.sentence == "has no value; write one, or leave the key out"


@pytest.mark.parametrize("word", ["off", '"off"'])
def test_the_words_off_and_on_need_no_quotes(tmp_path: Path, word: str) -> None:
    limits = "limits: {voltage_kv: 0.5}"
    file = read(tmp_path, f"port: x\nfull_scale: {{voltage_kv: 1, current_ma: 1}}\n{limits}\nover_limit: {word}\n")
    config = schema.check(TechnixConfig, file.data, (), file)
    assert config.over_limit == "off"


@pytest.mark.parametrize("word", ["false", "no", "OFF"])
def test_other_words_for_off_are_a_fault(tmp_path: Path, word: str) -> None:
    file = read(tmp_path, f"port: x\nfull_scale: {{voltage_kv: 1, current_ma: 1}}\nover_limit: {word}\n")
    assert schema.check(TechnixConfig, file.data, (), file) is None
    assert [(fault.line, "must be one of 'alarm', 'off'" in fault.sentence) for fault in file.faults] == [(3, True)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\n~: 2", 2, "a key must be a word or a number"),
        ("a: 1\n? [x]\n: 2", 2, "a key must be a word or a number"),
        ("a: 1\n? {x: y}\n: 2", 2, "a key must be a word or a number"),
        ("4: 1\n'4': 2", 2, "is there twice (first in line 1)"),
        ("on: 1\n'on': 2", 2, "is there twice (first in line 1)"),
        ("a: 1\nb: !!int 1:30", 2, "'1:30' is not of the type int"),
        ("a: 1\nb: !!bool yes", 2, "'yes' is not of the type bool"),
        ("a: 1\nb: !!timestamp 2026-11-20", 2, "the tag !!timestamp is not known"),
        ("a: 1\nb: !secret x", 2, "the tag !secret is not known"),
        ("a: 1\nb:\n  <<: 5", 3, "<< takes over other mappings"),
        ("a: 1\nb: &b\n  <<: *b", 3, "<< takes over other mappings"),
        ("a: &a {p: 1}\nb:\n  <<: [*a, x]", 3, "<< takes over other mappings"),
        ("a: &a {p: 1}\nb: {<<: *a, p: 2, p: 3}", 2, "is there twice (first in line 2)"),
        ("prefix: LAB:\nb: 1", 1, 'a text with a colon needs quotes, as "LAB:"'),
        ("a: b\n  c: d", 2, "indented further than the one above"),
        ("a: 1\nb: [*]", 2, "a text that begins with * or & needs quotes"),
        ("a: 1\nb: [LAB, *:x]", 2, "a text that begins with * or & needs quotes"),
        ("a: 1\nb: %x", 2, "a text that begins with %, @ or ` needs quotes"),
        ("a: 1\nb: 'x\nc: 1\n", 2, "a quote begins in this line"),
        ("a: 1\nb: {c: 1\nd: 2\n", 2, "a bracket begins in this line"),
        ("a: 1\nb: {c: 1, d: ${NAME}}\n", 2, 'a text needs quotes, as "${NAME}"'),
        ("a: 1\nb\nc: 1", 2, "a key has no colon"),
        ("a:\n  b: 1\n c: 1", 3, "not indented as those above it"),
        ("a: 1\n---\nb: 1", 2, "--- begins a second document"),
    ],
)
def test_what_is_ambiguous_is_a_fault_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    faults = read(tmp_path, text).faults
    assert [(fault.line, words in fault.sentence) for fault in faults] == [(line, True)], faults


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("~", None),
        ("{a: , b: null, c: ~, d: ''}", {"a": None, "b": None, "c": None, "d": ""}),
        ("{a: true, b: FALSE, c: 'true', d: !!str true}", {"a": True, "b": False, "c": "true", "d": "true"}),
        ("{a: !!float 5, b: !!int '5'}", {"a": 5.0, "b": 5}),
        ("a: &x {p: 1}\nb: {<<: *x, q: 2}", {"a": {"p": 1}, "b": {"p": 1, "q": 2}}),
        ("a: &x {p: 1}\nb: {<<: *x, p: 2}\nc: {p: 3, <<: *x}", {"a": {"p": 1}, "b": {"p": 2}, "c": {"p": 3}}),
        (
            "a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: [*y, {p: 5, r: 6}]}\nd: *y",
            {"a": {"p": 1}, "b": {"p": 1, "q": 2}, "c": {"p": 1, "q": 2, "r": 6}, "d": {"p": 1, "q": 2}},
        ),
        ("a: |\n  on\n", {"a": "on\n"}),
    ],
)
def test_other_scalars_and_merges_are_read(tmp_path: Path, text: str, data: Any) -> None:
    file = read(tmp_path, text)
    assert (file.data, file.faults) == (data, [])


def test_a_number_from_the_environment_reaches_the_simulation_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMIT", "1e2")
    config = configured(
        tmp_path,
        "prefix: A\ninstruments: {GEN: {driver: technix, port: x, "
        "full_scale: {voltage_kv: '${LIMIT}', current_ma: 1}}}\n",
    )
    assert config.raw["GEN"]["full_scale"] == {"voltage_kv": 100.0, "current_ma": 1}


def test_a_description_that_looks_like_a_number_is_kept_as_it_was_put(tmp_path: Path) -> None:
    path = tmp_path / "rack.site.yaml"

    async def put(text: str) -> None:
        site_file = SiteFile(path, {"LAB:T1": {"DESC": text}})
        site_file.changed()
        site_file.close()

    for word in WORDS:
        asyncio.run(put(word))
        until(path.exists, 5)
        assert sitefile.load(path) == ({"LAB:T1": {"DESC": word}}, [])
