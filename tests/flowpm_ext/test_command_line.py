"""How commands end when a signal and an error come together."""

import pytest

from flowpm_ext.command_line import Terminated, run_command


class Interrupted(Exception):
    """An error during whose telling a signal arrives."""

    def __str__(self):
        raise Terminated


REPLACED = "MISMATCH of active exception types: ORIGINAL _NotOkStatusException REPLACED BY"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (Interrupted(), 143),
        (RuntimeError(f"{REPLACED} Terminated: <EMPTY MESSAGE>"), 143),
        (RuntimeError(f"{REPLACED} KeyboardInterrupt: <EMPTY MESSAGE>"), 130),
    ],
)
def test_an_interruption_is_one_line_also_during_an_error(error, code, capsys):
    def work():
        raise error

    assert run_command("name", work, lambda: "all is kept.") == code
    assert capsys.readouterr().err == "name: interrupted; all is kept.\n"
