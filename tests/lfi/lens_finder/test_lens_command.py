"""`python -m lfi lenses`: from nothing to a trained network."""

import json

import keras

from lfi.__main__ import main


def test_command_trains_and_keeps_a_finder(tmp_path, capsys):
    root = tmp_path / "new" / "finder"
    words = ["lenses", "--stamps=200", "--epochs=1", "--bands=gi", "--side=16"]
    assert main([*words, f"--output={root}"]) == 0
    said = capsys.readouterr().out
    assert "ROC area" in said and "100 stamps not trained on" in said
    finder = keras.models.load_model(f"{root}.keras")
    assert finder.bands == "gi" and float(finder.slope) != 1.0
    found = json.loads(root.with_suffix(".json").read_text())
    assert 0 < found["roc_area"] < 1 and found["num_lenses"] + found["num_others"] == 100
    assert root.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    # What is there is not replaced unless it is asked for.
    assert main([*words, f"--output={root}"]) == 2
    assert "`output` must be new" in capsys.readouterr().err


def test_command_refuses_in_one_line(tmp_path, capsys):
    code = main(["lenses", "--bands=xyz", f"--output={tmp_path / 'out'}"])
    error = capsys.readouterr().err
    assert code == 2 and "`bands` must be different letters" in error and error.count("\n") == 1
