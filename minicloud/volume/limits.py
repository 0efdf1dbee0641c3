"""What the qualities of service of a type come to for a guest that has a volume of it."""

from __future__ import annotations

from collections.abc import Mapping

_RATES = [f"{way}_{unit}_sec" for way in ("read", "write", "total") for unit in ("iops", "bytes")]


def limits_of(specs: Mapping[str, str], size_gb: int) -> dict[str, str | int]:
    """``specs`` as a hypervisor reads them. What is ``per_gb`` grows with the volume, from the
    ``per_gb_min`` up to the ``max``, which then is no burst. What is no number becomes a rate that
    is none, for the hypervisor's host to refuse.
    """
    made: dict[str, str | int] = dict(specs)
    for rate in _RATES:
        per_gb = made.pop(f"{rate}_per_gb", None)
        if per_gb is None:
            continue
        least, most = made.pop(f"{rate}_per_gb_min", 0), made.pop(f"{rate}_max", None)
        try:
            total = max(int(per_gb) * size_gb, int(least))
            made[rate] = total if most is None else min(total, int(most))
        except ValueError:
            made[rate] = f"{per_gb} per GB"
    return made
