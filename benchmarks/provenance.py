"""Which code numbers are of."""

import pathlib
import subprocess


def commit() -> str:
    """The commit of this code, with a plus where files have changed since."""
    here = pathlib.Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        return done.stdout.strip()

    return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain"))
