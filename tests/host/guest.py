"""A guest of 512 bytes: says on the serial line that it is up, and obeys the power button.

Boots under emulation in a tenth of a second, so that tests of a real hypervisor can be quick.
The code, in 16-bit real mode (assembled with ``as --32`` and ``ld -Ttext=0x7c00``)::

        cli; xor %ax,%ax; mov %ax,%ds; mov %ax,%ss; mov $0x7c00,%sp; cld
        mov $msg,%si
        mov $0x3f8,%dx              # the first serial port
     1: lodsb; test %al,%al; jz 2f; outb %al,%dx; jmp 1b
     2: mov $0x602,%dx              # ACPI PM1 enable: the power button
        mov $0x100,%ax; outw %ax,%dx
        sti
     3: hlt                         # until the firmware's timer ticks, 18 times a second
        mov $0x600,%dx              # ACPI PM1 status
        inw %dx,%ax; testb $1,%ah; jz 3b
        mov $0x604,%dx              # ACPI PM1 control: soft off
        mov $0x2000,%ax; outw %ax,%dx; jmp 3b
   msg: .ascii "minicloud test guest is up\\r\\n\\0"
"""

from __future__ import annotations

from pathlib import Path

GREETING = b"minicloud test guest is up"

_CODE = bytes.fromhex(
    "fa31c08ed88ed0bc007cfcbe347cbaf803ac84c07403eeebf8ba0206b80001ef"
    "fbf4ba0006edf6c40174f6ba0406b80020efebed"
)
_DEAF_CODE = _CODE[:25] + bytes.fromhex("fbf4ebfd")
"""The same, but after the greeting it only sleeps."""
_TEXT_AT = 0x34
_SIZE = 1 << 20


def write_image(path: Path, *, deaf: bool = False) -> None:
    """Write the guest's raw disk image; a ``deaf`` guest ignores the power button."""
    code = (_DEAF_CODE if deaf else _CODE).ljust(_TEXT_AT, b"\x90") + GREETING + b"\r\n\0"
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(_SIZE - 512))
