"""Sets of maps: the same however they are made, resumed, refused, split, and streamed."""

import contextlib
import json
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import Planck18, redshift
from flowpm_ext.io import claimed_folder
from flowpm_ext.lensing import MapDataset, convergence_maps, shards, write_maps
from flowpm_ext.lensing.design import Design

# Tests simulate on few cells.
pytestmark = pytest.mark.filterwarnings("ignore:A pixel of:flowpm_ext.lensing.FinePixelWarning")

NZ = [redshift.delta_nz(0.5), redshift.delta_nz(1.0)]
PRIOR = {"Omega_c": (0.15, 0.4), "sigma8": (0.6, 1.0)}
OPTIONS = dict(
    prior=PRIOR, method="lognormal", num_pixels=8, field_size_deg=5.0, maps_per_shard=4,
    batch_size=2, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps")
    assert write_maps(path, NZ, 10, **OPTIONS) == []
    return path


def test_design_is_even_and_can_grow():
    design = Design(Planck18(), PRIOR, seed=1)
    theta = design.theta(64)
    np.testing.assert_array_equal(design.theta(10), theta[:10])
    low, high = np.array(list(PRIOR.values())).T
    unit = (theta - low) / (high - low)
    # A Sobol sequence has one point in each of 64 strips, of every parameter.
    for column in unit.T:
        assert len(set(np.floor(64 * column))) == 64
    random = Design(Planck18(), PRIOR, "random", seed=1).theta(64)
    assert random.min() >= 0.15 and not np.allclose(random, theta)


def test_maps_are_those_of_their_cosmologies(folder):
    maps = MapDataset(folder)
    design = Design(Planck18(), PRIOR, seed=3)
    np.testing.assert_array_equal(maps.theta, design.theta(10))
    np.testing.assert_array_equal(maps.index, np.arange(10))
    assert maps.names == ("Omega_c", "sigma8") and maps.map_shape == (8, 8, 2)
    found, theta = maps.read(np.array([3, 2]))
    expected = convergence_maps(
        design.cosmologies(maps.theta[2:4]), NZ, 5.0, 8, "lognormal", 2, shards.fold(3, 2)
    )
    np.testing.assert_allclose(found[::-1], expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(theta, maps.theta[[3, 2]], rtol=1e-6)


def test_removed_shards_come_back_as_they_were(folder, tmp_path):
    write_maps(tmp_path, NZ, 6, **OPTIONS)
    before = MapDataset(tmp_path).read(np.arange(6))[0]
    np.testing.assert_array_equal(before, MapDataset(folder).read(np.arange(6))[0])
    (tmp_path / "maps_00000.h5").unlink()
    write_maps(tmp_path, NZ, 10, **OPTIONS)  # and the set grows
    np.testing.assert_array_equal(
        MapDataset(tmp_path).read(np.arange(10))[0], MapDataset(folder).read(np.arange(10))[0]
    )


def test_interruption_keeps_whole_shards(tmp_path, monkeypatch):
    calls, make = [], shards.make_shard

    def interrupted(task, partial, report):
        calls.append(task.path.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        make(task, partial, report)

    monkeypatch.setattr(shards, "make_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_maps(tmp_path, NZ, 10, **OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["maps_00000.h5"]
    calls[:] = ["before"] * 2
    write_maps(tmp_path, NZ, 10, **OPTIONS)
    assert calls[2:] == ["maps_00001.h5", "maps_00002.h5"]


@contextlib.contextmanager
def files_no_longer_than(size):
    """What the system then says, in the middle of a write, differs from a full disk in a number."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.999])
def test_full_disk(folder, tmp_path, capfd, fraction):
    write_maps(tmp_path, NZ, 4, **OPTIONS)
    first, second = (tmp_path / f"maps_0000{i}.h5" for i in range(2))
    whole = first.read_bytes()
    with files_no_longer_than(int(fraction * len(whole))), pytest.raises(OSError) as failure:
        write_maps(tmp_path, NZ, 10, **OPTIONS)
    assert str(failure.value) == f"[Errno 27] File too large: '{second}'"
    assert "Traceback" not in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == [first] and first.read_bytes() == whole
    assert write_maps(tmp_path, NZ, 10, **OPTIONS) == []
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_failures_are_written_down(tmp_path, monkeypatch):
    def failing(cosmo, nz, *, batch_size, seed, **options):
        maps = convergence_maps(cosmo, nz, batch_size=batch_size, seed=seed, **options).numpy()
        if float(cosmo.sigma8[0]) > 0.9:
            raise ValueError("It does not\nwork.")
        maps[0, 0, 0, 0] = np.nan if float(cosmo.sigma8[0]) < 0.88 else 0
        return tf.constant(maps)

    monkeypatch.setattr(shards, "convergence_maps", failing)
    failures = write_maps(tmp_path, NZ, 16, **OPTIONS)
    maps = MapDataset(tmp_path)
    assert maps.failures == failures
    sigma8 = Design(Planck18(), PRIOR, seed=3).theta(16)[:, 1]
    broken = [i for i in range(16) if sigma8[i - i % 2] > 0.9]
    missing = [i for i in range(0, 16, 2) if sigma8[i] < 0.88]
    assert sorted(f.index for f in failures) == sorted(broken + missing) and broken and missing
    assert set(maps.index) == set(range(16)) - {f.index for f in failures}
    assert {f.reason for f in failures} == {"It does not work.", "The map is not finite."}
    monkeypatch.setattr(shards, "convergence_maps", None)  # nothing is made again
    assert write_maps(tmp_path, NZ, 16, **OPTIONS) == failures


def test_what_fails_for_every_map_is_raised(tmp_path):
    with pytest.raises(ValueError, match="`mesh_shape` must be left out"):
        write_maps(tmp_path, NZ, 10, mesh_shape=8, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_shards_say_what_they_are(folder):
    with h5py.File(folder / "maps_00001.h5") as file:
        assert file.attrs["format"] == "flowpm_ext lensing maps"
        about = json.loads(file.attrs["identity"])
        assert about["options"]["method"] == "lognormal" and about["prior"]["sigma8"] == [0.6, 1.0]
        assert about["nz"][0] == {"kind": "DeltaRedshift", "z0": 0.5, "gals_per_arcmin2": 1.0}
        assert "package_version" in file.attrs and file.attrs["seed"] == 3


def test_another_set_is_refused(folder):
    with pytest.raises(ValueError, match=r"of the same set of maps.*num_pixels': 8.*Take another"):
        write_maps(folder, NZ, 10, **(OPTIONS | {"num_pixels": 16}))


def test_a_folder_of_another_kind_of_run_is_refused(folder):
    with claimed_folder(folder), pytest.raises(ValueError, match="another run works"):
        write_maps(folder, NZ, 10, **OPTIONS)


def test_damaged_shard_is_named(tmp_path):
    write_maps(tmp_path, NZ, 6, **OPTIONS)
    path = tmp_path / "maps_00001.h5"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"maps_00001.h5.*Remove the file and run"):
        write_maps(tmp_path, NZ, 6, **OPTIONS)
    with pytest.raises(ValueError, match=r"maps_00001.h5.*Remove the file and run"):
        MapDataset(tmp_path)


def test_several_processes_make_the_same_files(folder, tmp_path):
    assert write_maps(tmp_path, NZ, 10, num_workers=3, **OPTIONS) == []
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_what_fails_in_several_processes_is_one_error(tmp_path):
    with pytest.raises(ValueError, match=r"^`mesh_shape` must be left out"):
        write_maps(tmp_path, NZ, 10, num_workers=2, mesh_shape=8, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_another_set_that_is_begun_is_refused(tmp_path, monkeypatch):
    make = shards.make_shard

    def at_work(task, partial, report):
        monkeypatch.setattr(shards, "make_shard", None)  # the other makes nothing
        with pytest.raises(ValueError, match=r"of the same set of maps.*num_pixels': 8.*Take"):
            write_maps(tmp_path, NZ, 10, **(OPTIONS | {"num_pixels": 16}))
        monkeypatch.setattr(shards, "make_shard", make)
        make(task, partial, report)

    monkeypatch.setattr(shards, "make_shard", at_work)
    assert write_maps(tmp_path, NZ, 10, **OPTIONS) == []


def test_calls_with_one_folder_share_the_maps(folder, tmp_path, monkeypatch):
    simulate, simulated, meet = shards.convergence_maps, [], threading.Barrier(2)

    def counted(cosmo, nz, **options):
        if len(simulated) < 2:
            meet.wait(60)  # so that both have a shard of their own
        simulated.append(threading.get_ident())
        return simulate(cosmo, nz, **options)

    monkeypatch.setattr(shards, "convergence_maps", counted)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(write_maps, tmp_path, NZ, 10, **OPTIONS) for _ in range(2)]
        assert [call.result(120) for call in calls] == [[], []]
    assert len(simulated) == 5 and len(set(simulated)) == 2  # batches of two maps
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in folder.iterdir())
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_simulated_maps_share_a_box(tmp_path):
    nz = [redshift.delta_nz(0.2)]
    options = dict(mesh_shape=8, num_pixels=8, stages=np.linspace(0.1, 1, 3), plane_resolution=1)
    assert write_maps(tmp_path, nz, 3, {"Omega_c": (0.2, 0.3)}, maps_per_shard=2, **options) == []
    maps, _ = MapDataset(tmp_path).read(np.arange(3))
    assert np.all(np.std(maps, axis=(1, 2, 3)) > 0)


def test_splits_do_not_overlap_and_stay_as_the_set_grows(folder, tmp_path):
    maps = MapDataset(folder, {"train": 0.5, "test": 0.5})
    train, test = maps.members("train"), maps.members("test")
    assert sorted([*train, *test]) == list(range(10)) and 4 <= len(train) <= 6
    write_maps(tmp_path, NZ, 20, **OPTIONS)
    grown = MapDataset(tmp_path, {"train": 0.5, "test": 0.5}).members("train")
    assert list(grown[grown < 10]) == list(train)


def test_pipeline_streams_all_maps_in_another_order_each_epoch(folder):
    maps = MapDataset(folder)
    pipeline = maps.dataset(batch_size=4, shuffle_seed=0)
    assert len(pipeline) == 3
    epochs = [np.concatenate([theta for _, theta in pipeline.as_numpy_iterator()]) for _ in "ab"]
    assert not np.array_equal(*epochs)
    for theta in epochs:
        assert set(map(tuple, theta)) == set(map(tuple, maps.theta.astype(np.float32)))
    plain = np.concatenate([x for x, _ in maps.dataset(batch_size=4).as_numpy_iterator()])
    np.testing.assert_array_equal(plain, maps.read(np.arange(10))[0])


def test_sequence_gives_the_same_batches(folder):
    maps = MapDataset(folder)
    sequence = maps.sequence(batch_size=4)
    assert len(sequence) == 3
    np.testing.assert_array_equal(sequence[2][0], maps.read(np.array([8, 9]))[0])
    shuffled = maps.sequence(batch_size=10, shuffle_seed=1)
    first = shuffled[0][1]
    shuffled.on_epoch_end()
    assert not np.array_equal(first, shuffled[0][1])


@pytest.mark.parametrize("kind", ["dataset", "sequence"])
def test_a_network_trains_from_disk(folder, kind):
    keras.utils.set_random_seed(0)
    maps = MapDataset(folder)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    batches = getattr(maps, kind)("train", batch_size=4, shuffle_seed=0)
    history = model.fit(batches, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prior": {"s8": (0, 1)}}, "`prior` must be one of"),
        ({"prior": {"sigma8": (1.0, 0.5)}}, r"`prior\['sigma8'\]` must be \(low, high\)"),
        ({"sampling": "grid"}, "`sampling` must be one of"),
        ({"num_maps": 0}, "`num_maps` must be a positive integer"),
        ({"num_workers": 0}, "`num_workers` must be a positive integer"),
        ({"nz": []}, "`nz` must hold at least one"),
    ],
)
def test_bad_input_to_sets_of_maps(tmp_path, change, words):
    arguments = {"nz": NZ, "num_maps": 2} | OPTIONS | change
    with pytest.raises(ValueError, match=words):
        write_maps(tmp_path / "none", **arguments)
    assert not (tmp_path / "none").exists()


def test_folder_without_maps_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`folder` must hold maps"):
        MapDataset(tmp_path)
