"""A guest of 512 bytes: says on the serial line that it is up, obeys the power button, and lets
devices go that it is asked for.

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
        mov $63,%cx
     4: mov %cx,%ax; cwtl           # of each bus with slots (0xcd0 selects it)
        mov $0xcd0,%dx; outl %eax,%dx
        mov $0xc4,%dl; inl %dx,%eax # the slots that are to be emptied
        mov $0xc8,%dl               # eject what is in them
        test %eax,%eax; jz 5f; outl %eax,%dx
     5: dec %cx; jns 4b
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
    "fa31c08ed88ed0bc007cfcbe507cbaf803ac84c07403eeebf8ba0206b80001ef"
    "fbf4b93f0089c86698bad00c66efb2c466edb2c86685c0740266ef4979e7ba00"
    "06edf6c40174daba0406b80020efebd1"
)
_DEAF_CODE = _CODE[:25] + bytes.fromhex("fbf4ebfd")
"""The same, but after the greeting it only sleeps."""
_TEXT_AT = 0x50
_SIZE = 1 << 20


def write_image(path: Path, *, deaf: bool = False) -> None:
    """Write the guest's raw disk image; a ``deaf`` guest ignores every request."""
    code = (_DEAF_CODE if deaf else _CODE).ljust(_TEXT_AT, b"\x90") + GREETING + b"\r\n\0"
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(_SIZE - 512))
