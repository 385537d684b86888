"""A whole rack, made from a configuration."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial
import usb.backend.libusb1
import usb.core
import yaml

from sim import rack as rack_module
from sim.caen.library import LIBRARY, NAME
from sim.control import send
from sim.rack import Rack, fake_class


@pytest.fixture
def instruments(tmp_path: Path) -> dict[str, Any]:
    """Those of the demo, with the port in a folder of the test."""
    demo = yaml.safe_load(Path(rack_module.__file__).with_name("demo.yaml").read_text())
    demo["instruments"]["GEN"]["port"] = str(tmp_path / "technix")
    instruments: dict[str, Any] = demo["instruments"]
    return instruments


@pytest.fixture
def rack(instruments: dict[str, Any], tmp_path: Path) -> Iterator[Rack]:
    with Rack(instruments, str(tmp_path / "control")) as rack:
        yield rack


def find_logger() -> Any:
    return usb.core.find(idVendor=0x04D9, idProduct=0xE000, serial_number="A1234")


def test_all_instruments_of_the_demo_are_there(rack: Rack, instruments: dict[str, Any]) -> None:
    loaded: object = ctypes.cdll.LoadLibrary(NAME)
    assert loaded is LIBRARY
    assert find_logger() is not None
    with serial.Serial(instruments["GEN"]["port"], timeout=1) as line:
        line.write(b"E\r")
        assert line.read_until(b"\r") == b"E65\r"


def test_the_control_channel_reaches_all_of_them(rack: Rack) -> None:
    assert rack.control_path is not None
    assert send(rack.control_path, "list") == "HV1:caen TC1:se521 GEN:technix"
    for name in ("HV1", "TC1", "GEN"):
        assert send(rack.control_path, f"{name} writes") == "0"
        assert send(rack.control_path, f"{name} state").startswith("{")


def test_the_scale_of_the_generator_is_that_of_the_configuration(instruments: dict[str, Any]) -> None:
    instruments["GEN"]["full_scale"] = {"voltage_kv": 30, "current_ma": 5}
    generator = Rack(instruments).fakes["GEN"].model
    assert (generator.full_kv, generator.full_ma) == (30, 5)


def test_closing_takes_everything_back(instruments: dict[str, Any], tmp_path: Path) -> None:
    get_backend, load = usb.backend.libusb1.get_backend, ctypes.cdll.LoadLibrary
    with Rack(instruments, str(tmp_path / "control")):
        assert usb.backend.libusb1.get_backend is not get_backend
    assert usb.backend.libusb1.get_backend is get_backend
    assert ctypes.cdll.LoadLibrary == load
    assert not LIBRARY.crates
    assert list(tmp_path.iterdir()) == []


def test_other_libraries_are_loaded_as_ever(rack: Rack) -> None:
    assert isinstance(ctypes.cdll.LoadLibrary("libc.so.6"), ctypes.CDLL)


def test_only_some_instruments_can_be_faked(instruments: dict[str, Any]) -> None:
    get_backend = usb.backend.libusb1.get_backend
    with Rack(instruments, only=["GEN"]) as rack:
        assert list(rack.fakes) == ["GEN"]
        assert usb.backend.libusb1.get_backend is get_backend


def test_a_backend_that_libusb_package_remembers_is_forgotten(instruments: dict[str, Any]) -> None:
    import libusb_package

    with Rack(instruments):
        inside = libusb_package.get_libusb1_backend()
        assert libusb_package.find(backend=inside, idVendor=0x04D9) is not None
    assert libusb_package.get_libusb1_backend() is not inside


@pytest.mark.parametrize("driver", ["caen", "se521", "technix"])
def test_a_fake_is_found_by_the_name_of_its_driver(driver: str) -> None:
    assert fake_class(driver).driver == driver


def test_an_instrument_that_has_no_simulation_is_named() -> None:
    with pytest.raises(
        ValueError,
        match=r"there is no simulation of toaster; there is one of (\w+, )*caen, (\w+, )*se521, (\w+, )*technix",
    ):
        Rack({"T": {"driver": "toaster"}})
    with pytest.raises(ValueError, match="there is no simulation of control"):
        fake_class("control")


def test_a_port_that_is_a_real_device_stops_the_rack_and_undoes_the_rest(instruments: dict[str, Any]) -> None:
    Path(instruments["GEN"]["port"]).touch()
    get_backend = usb.backend.libusb1.get_backend
    with pytest.raises(RuntimeError, match="exists and is not a simulated port"):
        Rack(instruments).plug()
    assert usb.backend.libusb1.get_backend is get_backend
    assert not LIBRARY.crates


def test_the_configuration_of_the_demo_is_alive(instruments: dict[str, Any]) -> None:
    """Its globs must match something: slot 2 and slot 4 of the crate."""
    crate = Rack(instruments).fakes["HV1"].model
    assert {"VMon", "IMon"} <= crate.channel(2, 0).params.keys() & crate.channel(4, 0).params.keys()
