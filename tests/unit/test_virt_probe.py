"""How the domain type is decided; QEMU is a script here, but for the last test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minicloud.domain.errors import HostProblem, Invalid
from minicloud.virt import probe


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


def qemu(directory: Path, script: str) -> str:
    """A stand-in for QEMU that counts its runs in the file ``runs``."""
    path = directory / "qemu"
    path.write_text(f"#!/bin/sh\necho run >> {directory}/runs\n{script}\n")
    path.chmod(0o755)
    return str(path)


def runs(directory: Path) -> int:
    path = directory / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("choice", ["kvm", "qemu"])
def test_the_operator_is_taken_at_their_word(choice: str, tmp_path: Path, device: Path) -> None:
    decision = probe.decide(choice, tmp_path, qemu=qemu(tmp_path, "exit 1"), kvm=device)
    assert decision.virt_type == choice
    assert runs(tmp_path) == 0


def test_an_unknown_choice_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="auto, kvm, qemu"):
        probe.decide("xen", tmp_path)


def test_no_device_means_emulation(tmp_path: Path) -> None:
    decision = probe.decide("auto", tmp_path, kvm=tmp_path / "none")
    assert decision.virt_type == "qemu"
    assert "absent" in decision.reason


def test_a_probe_guest_that_gets_through_means_kvm(tmp_path: Path, device: Path) -> None:
    decision = probe.decide("auto", tmp_path, qemu=qemu(tmp_path, "exit 99"), kvm=device)
    assert decision.virt_type == "kvm"


def test_a_failing_probe_means_emulation_and_says_why(tmp_path: Path, device: Path) -> None:
    broken = qemu(tmp_path, "echo first >&2; echo 'failed to set MSR' >&2; exit 134")
    decision = probe.decide("auto", tmp_path, qemu=broken, kvm=device)
    assert decision.virt_type == "qemu"
    assert "failed to set MSR" in decision.reason


def test_the_answer_is_remembered_until_the_next_boot(tmp_path: Path, device: Path) -> None:
    first = probe.decide("auto", tmp_path, qemu=qemu(tmp_path, "exit 99"), kvm=device)
    again = probe.decide("auto", tmp_path, qemu=qemu(tmp_path, "exit 1"), kvm=device)
    assert (again, runs(tmp_path)) == (first, 1)
    memory = tmp_path / "virt-probe.json"
    memory.write_text(memory.read_text().replace('"boot_id":"', '"boot_id":"another-'))
    after_boot = probe.decide("auto", tmp_path, qemu=qemu(tmp_path, "exit 1"), kvm=device)
    assert (after_boot.virt_type, runs(tmp_path)) == ("qemu", 2)


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path, device: Path) -> None:
    (tmp_path / "virt-probe.json").write_text('{"boot_id": ')
    decision = probe.decide("auto", tmp_path, qemu=qemu(tmp_path, "exit 99"), kvm=device)
    assert decision.virt_type == "kvm"


def test_a_host_without_qemu_says_so(tmp_path: Path, device: Path) -> None:
    with pytest.raises(HostProblem, match="cannot be run"):
        probe.decide("auto", tmp_path, qemu=str(tmp_path / "no-qemu"), kvm=device)


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_the_probe_guest_runs_through_in_emulation() -> None:
    assert probe.boots("tcg") == (True, "it ran through")
