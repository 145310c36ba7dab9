"""Data sets: contents, fixed splits, files, and one clear sentence for each mistake."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from canvas_rl.errors import DatasetError, UnknownNameError
from canvas_rl.evaluation.data import DATASETS, Dataset, describe_dataset, load_dataset, make_dataset
from canvas_rl.evaluation.data import motifs as motifs_module
from canvas_rl.evaluation.data import shapes as shapes_module

DIGITS_FINGERPRINT = "c5eabe828a298e7f51415df7a5b17f3b9f14db2d78209407e683e714e532350f"


def write_cifar(folder: Path, name: str) -> None:
    """A miniature of the official binary files: 1,020 records in each training batch of CIFAR-10."""
    rng = np.random.default_rng(0)
    labels, classes = (1, 10) if name == "cifar10" else (2, 100)
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    counts = dict.fromkeys(files, 1020)
    if name == "cifar100":
        counts = {"train.bin": 5100, "test.bin": 100}
    folder.mkdir(parents=True)
    for file, count in counts.items():
        records = rng.integers(0, 256, (count, labels + 3072), dtype=np.uint8)
        records[:, labels - 1] = np.arange(count) % classes
        records.tofile(folder / file)


def arrays(count: int = 12) -> dict[str, npt.NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    content: dict[str, npt.NDArray[np.generic]] = {}
    for part in ("train", "val", "test"):
        content[f"{part}_images"] = rng.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
        content[f"{part}_labels"] = (np.arange(count) % 3)[:, None]
    return content


def mapping_for_test() -> dict[str, npt.NDArray[np.generic]]:
    return arrays()


def number_for_test() -> int:
    return 3


def failing_for_test() -> None:
    raise RuntimeError("no disk")


@pytest.mark.parametrize("name", ["digits", "shifted_digits", "motifs", "shapes"])
def test_shipped_data_sets_fit_their_description(name: str) -> None:
    dataset = load_dataset(name)
    assert (dataset.image_shape, dataset.classes) == describe_dataset(name)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int64
        assert set(np.unique(split.labels)) == set(range(dataset.classes))
        assert len(split) == len(split.images)
    assert dataset.chance == pytest.approx(1 / dataset.classes, abs=0.01)
    assert np.abs(dataset.train.images.mean(axis=(0, 2, 3))).max() < 1e-4
    assert np.abs(dataset.train.images.std(axis=(0, 2, 3)) - 1).max() < 1e-3


@pytest.mark.parametrize("name", ["digits", "shifted_digits", "motifs", "shapes"])
def test_no_image_is_in_two_splits(name: str) -> None:
    dataset = load_dataset(name)
    splits = [
        {image.tobytes() for image in split.images} for split in (dataset.train, dataset.validation, dataset.test)
    ]
    assert not splits[0] & splits[1]
    assert not splits[0] & splits[2]
    assert not splits[1] & splits[2]


def test_digits_never_change() -> None:
    dataset = load_dataset("digits", seed=5)
    assert dataset.fingerprint == DIGITS_FINGERPRINT
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [797, 500, 500]


def test_shifted_digits_are_the_digits_anywhere() -> None:
    digits, shifted = load_dataset("digits"), load_dataset("shifted_digits")
    assert len(shifted.train) == 2 * len(digits.train)
    assert np.array_equal(shifted.test.labels, digits.test.labels)
    ink = (shifted.test.images - shifted.test.images.min()).sum(axis=(1, 2, 3))
    original = (digits.test.images - digits.test.images.min()).sum(axis=(1, 2, 3))
    assert np.corrcoef(ink, original)[0, 1] > 0.99
    used = np.abs(np.diff(shifted.train.images, axis=0)).max(axis=(0, 1))
    assert used[1:-1, 1:-1].min() > 0  # every pixel inside belongs to some digit
    assert load_dataset("shifted_digits", seed=1).fingerprint != shifted.fingerprint


def test_motifs_follow_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motifs_module, "SIZES", (60, 24, 24))
    assert load_dataset("motifs", seed=1) == load_dataset("motifs", seed=1)
    assert load_dataset("motifs", seed=1).fingerprint != load_dataset("motifs", seed=2).fingerprint


def test_motifs_differ_in_arrangement_only() -> None:
    motifs = motifs_module.draw_motifs(np.random.default_rng(0))
    assert motifs.shape == (motifs_module.CLASSES, motifs_module.PIXELS)
    sets = [set(motif.tolist()) for motif in motifs]
    assert all(len(motif) == motifs_module.PIXELS for motif in sets)
    assert max(len(a & b) for i, a in enumerate(sets) for b in sets[:i]) <= motifs_module.PIXELS // 2


def test_motif_brightness_says_nothing() -> None:
    train = load_dataset("motifs").train
    brightness = train.images.mean(axis=(1, 2, 3))
    means = [brightness[train.labels == label].mean() for label in range(motifs_module.CLASSES)]
    assert np.std(means) < 0.15 * brightness.std()


def test_shapes_follow_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes_module, "SIZES", (60, 20, 20))
    assert load_dataset("shapes", seed=1) == load_dataset("shapes", seed=1)
    assert load_dataset("shapes", seed=1).fingerprint != load_dataset("shapes", seed=2).fingerprint


def test_no_two_shapes_look_alike() -> None:
    rows, columns = np.linspace(-1, 1, 41, dtype=np.float32)[:, None], np.linspace(-1, 1, 41, dtype=np.float32)[None]
    u, v = np.broadcast_arrays(rows, columns)
    masks = [shape(u, v) for shape in shapes_module.SHAPES]
    for index, mask in enumerate(masks):
        assert 0.1 < mask.mean() < 0.8
        assert all((mask ^ other).mean() > 0.05 for other in masks[:index])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar_reads_the_binary_files(tmp_path: Path, name: str, inside: bool) -> None:
    folder = tmp_path / ("cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary")
    write_cifar(folder, name)
    dataset = load_dataset(name, folder if inside else tmp_path)
    assert (dataset.image_shape, dataset.classes) == describe_dataset(name)
    assert (len(dataset.train), len(dataset.validation)) == (100, 5000)
    assert dataset.test.labels[:5].tolist() == [0, 1, 2, 3, 4]


def test_cifar_without_a_folder_says_what_to_download() -> None:
    with pytest.raises(DatasetError, match=r"cifar-10-binary\.tar\.gz.*--data-dir"):
        load_dataset("cifar10")


def test_cifar_names_the_missing_file(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", "cifar10")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DatasetError, match=r"data_batch_3\.bin.*cifar-10-binary\.tar\.gz"):
        load_dataset("cifar10", tmp_path)


def test_cifar_refuses_a_cut_file(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar-100-binary", "cifar100")
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(b"x" * 5000)
    with pytest.raises(DatasetError, match=r"test\.bin has 5000 bytes: expected a multiple of 3074"):
        load_dataset("cifar100", tmp_path)


def test_npz_is_read_relative_to_the_data_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays())  # type: ignore[arg-type]
    dataset = load_dataset("mine.npz", tmp_path)
    assert (dataset.image_shape, dataset.classes) == ((3, 6, 5), 3)
    assert dataset.fingerprint == load_dataset(str(tmp_path / "mine.npz")).fingerprint


def test_npz_without_validation_holds_out_training_images(tmp_path: Path) -> None:
    content = {
        key.replace("train_images", "x_train")
        .replace("train_labels", "y_train")
        .replace("test_images", "x_test")
        .replace("test_labels", "y_test"): value
        for key, value in arrays(18).items()
        if not key.startswith("val")
    }
    np.savez(tmp_path / "keras.npz", **content)  # type: ignore[arg-type]
    dataset = load_dataset("keras.npz", tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (15, 3, 18)


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    content = {**arrays(), "train_images": np.array([{"evil": 1}], dtype=object)}
    np.savez(tmp_path / "evil.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=r"can't be read as an \.npz archive"):
        load_dataset("evil.npz", tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken", b"\x93NUMPY"])
def test_damaged_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"bad\.npz' can't be read"):
        load_dataset("bad.npz", tmp_path)


def test_npy_under_an_npz_name(tmp_path: Path) -> None:
    with (tmp_path / "plain.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DatasetError, match="can't be read"):
        load_dataset("plain.npz", tmp_path)


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, folder, place in (("none.npz", None, "none.npz"), ("none.npz", ".", "none.npz")):
        with pytest.raises(DatasetError) as refused:
            load_dataset(name, folder)
        assert repr(str(tmp_path / place)) in str(refused.value)
    for folder in ("nowhere", "~nobody_of_this_name", "x" * 300):
        with pytest.raises(DatasetError, match=f"'{tmp_path}/{folder}' is not a folder"):
            load_dataset("cifar10", folder)
    with pytest.raises(DatasetError, match=r"~copy\.npz' does not exist"):
        load_dataset("~copy.npz")


def test_missing_npz_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.npz' does not exist"):
        load_dataset("none.npz", tmp_path)
    with pytest.raises(DatasetError, match="is not a folder: check --data-dir"):
        load_dataset("digits", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, "has no array 'test_labels'"),
        ({"train_images": np.zeros((12, 6))}, r"images of shape \(12, 6\)"),
        ({"test_images": np.zeros((12, 7, 5, 3))}, "the same sizes in every split"),
        ({"val_labels": np.zeros(5, dtype=int)}, "expected one for each of 12 images"),
        ({"val_labels": np.full(12, -1)}, "whole numbers from 0"),
        ({"val_labels": np.full(12, 0.5)}, "whole numbers from 0"),
        ({"train_images": np.full((12, 6, 5, 3), np.nan)}, "not-a-number pixels"),
        ({"train_images": np.full((12, 6, 5, 3), "a")}, "expected a NumPy array of numbers"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, change: dict[str, object], message: str) -> None:
    content = {key: value for key, value in {**arrays(), **change}.items() if value is not None}
    np.savez(tmp_path / "odd.npz", **content)  # type: ignore[arg-type]
    with pytest.raises(DatasetError, match=message):
        load_dataset("odd.npz", tmp_path)


def test_one_class_is_no_task() -> None:
    part = np.zeros((4, 1, 2, 2)), np.zeros(4, dtype=int)
    with pytest.raises(DatasetError, match="labels up to 0"):
        make_dataset("flat", part, part, part)


def test_function_gives_a_data_set() -> None:
    dataset = load_dataset(f"{__name__}:mapping_for_test")
    assert isinstance(dataset, Dataset)
    assert describe_dataset(f"{__name__}:mapping_for_test") == ((3, 6, 5), 3)


def test_functions_that_fail() -> None:
    with pytest.raises(DatasetError, match="returned int: expected a Dataset or a mapping"):
        load_dataset(f"{__name__}:number_for_test")
    with pytest.raises(DatasetError, match=r"RuntimeError \(no disk\)"):
        load_dataset(f"{__name__}:failing_for_test")
    with pytest.raises(UnknownNameError, match="can't be imported"):
        load_dataset("no_such_module:function")


def test_a_module_that_raises_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unfinished_data.py").write_text("def images(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnknownNameError, match="'unfinished_data:images' can't be imported"):
        load_dataset("unfinished_data:images")


def test_unknown_name_is_corrected() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        load_dataset("digit")
    with pytest.raises(UnknownNameError, match="Did you mean 'cifar10'"):
        describe_dataset("cifar-10")


def test_every_registered_data_set_describes_itself() -> None:
    for name in DATASETS.names():
        shape, classes = describe_dataset(name)
        assert len(shape) == 3
        assert classes >= 10
