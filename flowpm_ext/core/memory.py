"""How much memory this machine has, asked before long work and not by crashing in it."""

import os
import pathlib
import sys

# The two generations of control groups: mount point, and the file with the limit.
LIMITS = (
    (pathlib.Path("/sys/fs/cgroup"), "memory.max"),
    (pathlib.Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)
GROUPS = pathlib.Path("/proc/self/cgroup")


def available_memory() -> int:
    """Memory that this process may use: that of the machine, or less where a limit is set.

    What other processes use of it is not subtracted. Limits are those of control groups, as
    containers and batch systems set them. The memory of accelerators is not looked at.

    Returns:
        Bytes; a number beyond any machine where the system does not say.
    """
    limits = [_limit(folder / name) for base, name in LIMITS for folder in _folders(base)]
    return min([_physical(), *limits])


def require_memory(needed: int, what: str, fix: str = "") -> None:
    """Refuse work that does not fit into memory.

    Args:
        needed: Memory that it takes (bytes).
        what: What takes it, as the beginning of a sentence.
        fix: What to do about it, added to the message.

    Raises:
        ValueError: If the machine has less.
    """
    has = available_memory()
    if needed > has:
        message = f"{what} needs about {_gigabytes(needed)}, the machine has {_gigabytes(has)}."
        raise ValueError(f"{message} {fix}".rstrip())


def _physical() -> int:
    """Memory of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def _folders(base: pathlib.Path) -> list[pathlib.Path]:
    """The control groups of this process below a mount point, from the innermost to the base."""
    try:
        groups = [line.split(":", 2)[2].strip("/") for line in GROUPS.read_text().splitlines()]
    except (OSError, IndexError):
        groups = []
    inner = [folder for group in groups for folder in ((base / group), *(base / group).parents)]
    return [base, *(folder for folder in inner if base in folder.parents)]


def _limit(path: pathlib.Path) -> int:
    """The limit in a file, which may be absent or say "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return sys.maxsize


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2g} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"
