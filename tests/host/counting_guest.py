"""A guest of 90 bytes that counts: 18 times a second it writes the number to its disk, by the
firmware, and as a line of eight hexadecimal digits to the serial console.

The code, in 16-bit real mode (assembled with ``as --32`` and ``ld -Ttext=0x7c00``)::

        cli; xor %ax,%ax; mov %ax,%ds; mov %ax,%es; mov %ax,%ss; mov $0x7c00,%sp; cld
        movl $0,0x8000
        sti
     1: hlt                         # until the firmware's timer ticks
        incl 0x8000
        mov $dap,%si                # write the sector at 0x8000 to the first disk
        mov $0x80,%dl; mov $0x4300,%ax; int $0x13
        mov $0x3f8,%dx              # the first serial port
        mov 0x8000,%ebx; mov $8,%cx
     2: rol $4,%ebx; mov %bl,%al; and $15,%al; add $0x30,%al
        cmp $0x39,%al; jbe 3f; add $0x27,%al
     3: outb %al,%dx; loop 2b
        mov $10,%al; outb %al,%dx
        jmp 1b
   dap: .byte 16,0,1,0; .word 0x8000,0; .long 64,0
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

_CODE = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfc66c706008000000000fbf466ff060080be4a7cb280b80043cd13baf803668b1e"
    "0080b9080066c1c30488d8240f04303c3976020427eee2edb00aeeebcd10000100008000004000000000000000"
)
_SECTOR = 64
_SIZE = 1 << 20


def write_image(path: Path) -> None:
    """Write the guest's raw disk image."""
    path.write_bytes(_CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes(_SIZE - 512))


def counted(log: Path) -> list[int]:
    """The numbers in a console's log, in their order; an unfinished line is left out."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [int(line, 16) for line in lines if len(line.strip()) == 8]


def written(disk: Path) -> int:
    """The number on a disk (qcow2), which may be in use."""
    command = ["qemu-io", "-U", "-r", "-f", "qcow2", "-c", f"read -v {_SECTOR * 512} 4", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if ":" in line)
    return int(struct.unpack("<I", bytes.fromhex("".join(line.split()[1:5])))[0])
