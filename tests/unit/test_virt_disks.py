"""Disk files, made by the real qemu-img."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from minicloud.domain.errors import HostProblem
from minicloud.virt.libvirt import disks

GIB = 1 << 30

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("qemu-img", "prlimit")),
    reason="qemu-img or prlimit is not installed",
)


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "image.raw"
    path.write_bytes(b"data" * 128 + bytes(4 << 20))
    return path


@pytest.fixture
def qcow2(tmp_path: Path, raw: Path) -> Path:
    path = tmp_path / "image.qcow2"
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, path)
    return path


@pytest.mark.parametrize("base_format", ["raw", "qcow2"])
def test_an_overlay_is_as_large_as_asked(tmp_path: Path, base_format: str, qcow2: Path) -> None:
    base = tmp_path / f"image.{base_format}"
    path = tmp_path / "server" / "disk.qcow2"
    disks.ensure_overlay(path, base, base_format, 2)
    info = disks.image_info(path)
    assert (info.format, info.virtual_size) == ("qcow2", 2 * GIB)
    assert info.foreign_files == (str(base),)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("base_format", ["raw", "qcow2"])
def test_an_overlay_is_never_smaller_than_its_base(
    tmp_path: Path, base_format: str, raw: Path, qcow2: Path
) -> None:
    path = tmp_path / "disk.qcow2"
    disks.ensure_overlay(path, tmp_path / f"image.{base_format}", base_format, 0)
    assert disks.image_info(path).virtual_size == raw.stat().st_size


def test_an_existing_disk_is_left_alone(tmp_path: Path, raw: Path) -> None:
    path = tmp_path / "disk.qcow2"
    disks.ensure_overlay(path, raw, "raw", 1)
    before = path.read_bytes()
    disks.ensure_overlay(path, raw, "raw", 5)
    disks.ensure_blank(path, 7, "raw")
    assert path.read_bytes() == before


def test_a_half_made_disk_is_made_anew(tmp_path: Path, raw: Path) -> None:
    path = tmp_path / "disk.qcow2"
    (tmp_path / "disk.qcow2.part").write_bytes(b"half")
    disks.ensure_overlay(path, raw, "raw", 1)
    assert disks.image_info(path).format == "qcow2"
    assert not (tmp_path / "disk.qcow2.part").exists()


def test_a_missing_base_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match=r"base image .*none\.raw is not on this host"):
        disks.ensure_overlay(tmp_path / "disk.qcow2", tmp_path / "none.raw", "raw", 1)


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_a_blank_disk_takes_no_space(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / "blank"
    disks.ensure_blank(path, 3, image_format)
    info = disks.image_info(path, image_format)
    assert info.virtual_size == 3 * GIB
    assert info.actual_size < 1 << 20


def test_flatten_keeps_the_content_and_stays_sparse(tmp_path: Path, raw: Path, qcow2: Path) -> None:
    target = tmp_path / "base"
    disks.flatten_to_raw(qcow2, "qcow2", target)
    assert target.read_bytes() == raw.read_bytes()
    assert target.stat().st_blocks * 512 < raw.stat().st_size


def test_flatten_refuses_an_image_that_refers_to_another(tmp_path: Path, raw: Path) -> None:
    evil = tmp_path / "evil.qcow2"
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", raw, evil)
    with pytest.raises(HostProblem, match="refers to other files"):
        disks.flatten_to_raw(evil, "qcow2", tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_data_file_is_found(tmp_path: Path) -> None:
    evil = tmp_path / "evil.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path}/shadow", evil, "1M")
    assert disks.image_info(evil).foreign_files == (f"{tmp_path}/shadow",)


def test_flatten_of_rubbish_says_what_qemu_img_says(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"rubbish" * 1000)
    with pytest.raises(HostProblem, match="not in qcow2 format"):
        disks.flatten_to_raw(rubbish, "qcow2", tmp_path / "base")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rubbish"]


def test_an_unwritable_place_is_a_host_problem(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostProblem, match="cannot be written"):
        disks.ensure_overlay(tmp_path / "file" / "disk", raw, "raw", 1)


def test_config_drive(tmp_path: Path) -> None:
    import pycdlib

    files = {
        "openstack/latest/meta_data.json": b'{"uuid": "1"}',
        "openstack/latest/user_data": b"#!/bin/sh\n" * 3000,
        "openstack/2018-08-27/meta_data.json": b"{}",
        "openstack/content/0000": b"",
        "a long name with spaces.json": b"[]",
    }
    path = tmp_path / "config.iso"
    disks.ensure_config_drive(path, files)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 1 << 20
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    try:
        assert iso.pvd.volume_identifier.decode().strip() == "config-2"
        out = tmp_path / "out"
        for kind in ("rr_path", "joliet_path"):
            for name, content in files.items():
                iso.get_file_from_iso(str(out), **{kind: f"/{name}"})
                assert out.read_bytes() == content
    finally:
        iso.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_kernel_reads_the_config_drive(tmp_path: Path) -> None:
    path, point = tmp_path / "config.iso", tmp_path / "mnt"
    point.mkdir()
    disks.ensure_config_drive(path, {"openstack/latest/meta_data.json": b"{}"})
    mounted = subprocess.run(
        ["mount", "-t", "iso9660", "-o", "loop,ro", path, point], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine cannot mount it: {mounted.stderr.decode().strip()}")
    try:
        assert (point / "openstack/latest/meta_data.json").read_bytes() == b"{}"
    finally:
        subprocess.run(["umount", point], check=True)


def test_remove_tree_twice(tmp_path: Path, raw: Path) -> None:
    directory = tmp_path / "server"
    disks.ensure_blank(directory / "disk", 1, "raw")
    disks.remove_tree(directory)
    disks.remove_tree(directory)
    assert not directory.exists()
    with pytest.raises(HostProblem, match="cannot be removed"):
        disks.remove_tree(raw)
