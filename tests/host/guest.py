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

A guest that ``writes`` fills 32 MiB of its disk from the second MiB on, by its firmware::

        cli; xor %ax,%ax; mov %ax,%ds; mov %ax,%ss; mov $0x7c00,%sp; cld; sti
        mov $msg,%si; call say
        mov $0x1000,%ax; mov %ax,%es; xor %di,%di
        mov $0x8000,%cx; mov $0x5a,%al; rep stosb
     1: mov $packet,%si; mov $0x80,%dl
        mov $0x4300,%ax; int $0x13; jc 3f    # write 32 KiB
        addl $64,(packet+8); cmpl $(2048+65536),(packet+8); jb 1b
        mov $done,%si; call say
     3: hlt; jmp 3b
   say: mov $0x3f8,%dx
     4: lodsb; test %al,%al; jz 5f; outb %al,%dx; jmp 4b
     5: ret
        .balign 4
packet: .byte 16,0; .word 64; .word 0,0x1000; .quad 2048
  done: .ascii "all is written\\r\\n\\0"
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
_WRITER_CODE = bytes.fromhex(
    "fa31c08ed88ed0bc007cfcfbbe757ce83400b800108ec031ffb90080b05af3aa"
    "be547cb280b80043cd1372176683065c7c4066813e5c7c0008010072e3be647c"
    "e80300f4ebfdbaf803ac84c07403eeebf8c36690100040000000001000080000"
    "00000000616c6c206973207772697474656e0d0a00"
)
WRITTEN = b"all is written"
_TEXT_AT = 0x50
_SIZE = 1 << 20


def write_image(path: Path, *, deaf: bool = False, writes: bool = False) -> None:
    """Write the guest's raw disk image; a ``deaf`` guest ignores every request, one that ``writes``
    too.
    """
    code = (_DEAF_CODE if deaf else _CODE).ljust(_TEXT_AT, b"\x90")
    code = (_WRITER_CODE if writes else code) + GREETING + b"\r\n\0"
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes(_SIZE - 512))
