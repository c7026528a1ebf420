"""Every example runs from its first line to its last, at a small size."""

import pathlib
import runpy

import pytest

EXAMPLES = sorted((pathlib.Path(__file__).resolve().parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path, monkeypatch, capsys):
    assert path.read_text().startswith("# %% [markdown]")
    monkeypatch.chdir(tmp_path)
    # The example says what it does without the real data, which a user may not have.
    monkeypatch.delenv("FLOWPM_EXT_DATA", raising=False)
    monkeypatch.setenv("FLOWPM_EXT_SMALL", "1")
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
