"""Images to classify: where they come from, their three parts, and the share that is right."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.data import ImageData, load_images
from d2l_ext.training.settings import read_settings
from d2l_ext.training.tasks import task
from d2l_ext.training.tasks.images import accuracy

RNG = np.random.default_rng(0)


def numbered(num, batch_size=64, **fractions):
    """Images whose pixels and labels are their number."""
    numbers = np.arange(num)
    images = np.broadcast_to(numbers[:, None, None, None], (num, 1, 2, 2)).astype(np.float32)
    return ImageData(images, numbers, batch_size, **fractions)


def seen(batches):
    """Return the numbers of images in batches, each of which must be with its label."""
    images, labels = (np.concatenate(x) for x in zip(*batches, strict=True))
    assert (images == labels[:, None, None, None]).all()
    return list(labels)


# Parts and batches


@given(st.integers(2, 300), st.floats(0.01, 0.6), st.floats(0, 0.6))
def test_every_image_is_in_one_part(num, val, test):
    num_val, num_test = round(val * num), round(test * num)
    if num_val < 1 or num_val + num_test >= num:
        with pytest.raises(ValueError, match=f"images: got {num}, must be more for three parts"):
            numbered(num, val_fraction=val, test_fraction=test)
        return
    data = numbered(num, val_fraction=val, test_fraction=test)
    parts = [seen([part]) for part in (data.train, data.val, data.test)]
    assert sorted(n for part in parts for n in part) == list(range(num))
    assert [len(part) for part in parts[1:]] == [num_val, num_test]
    again = numbered(num, 7, val_fraction=val, test_fraction=test)  # whatever the batches
    assert parts == [seen([part]) for part in (again.train, again.val, again.test)]
    assert data.num_classes == num


@given(st.integers(20, 80), st.integers(1, 30), st.integers(0, 9), st.integers(0, 9))
def test_an_epoch_has_each_training_image_once(num, batch_size, seed, epoch):
    data = numbered(num, batch_size)
    batches = list(data.batches(seed, epoch))
    sizes = [len(labels) for _, labels in batches]
    assert len(sizes) == data.num_batches
    assert all(size == batch_size for size in sizes[:-1]) and 1 <= sizes[-1] <= batch_size
    assert sorted(seen(batches)) == sorted(data.train[1])
    assert seen(batches) == seen(data.batches(seed, epoch))
    assert seen(data.batches(seed, epoch, train=False)) == list(data.val[1])  # in their order


def test_parts_and_epochs_are_mixed():
    """So that a file in the order of its labels does no harm."""
    data = numbered(500, val_fraction=0.2, test_fraction=0.2)
    orders = [data.train[1], data.val[1], data.test[1]]
    orders += [seen(data.batches(seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(abs(np.mean(order) - 249.5) < 50 for order in orders)
    # In one that is mixed, every second step is upwards.
    assert all(abs(np.mean(np.diff(order) > 0) - 0.5) < 0.2 for order in orders)
    assert len(set(map(tuple, orders))) == len(orders)


def test_classes_are_counted_from_zero():
    """Also those of which there is no image."""
    labels = np.array([1, 5] * 20)
    assert ImageData(np.zeros((40, 1, 2, 2)), labels).num_classes == 6


def test_batches_must_have_images():
    with pytest.raises(ValueError, match="batch_size: got 0, must be positive"):
        numbered(100, 0)


# Sources


def test_the_digits_are_scikit_learns():
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = load_images()
    assert (images.shape, images.dtype) == ((1797, 1, 8, 8), np.float32)
    assert (images.min(), images.max()) == (0, 1)
    theirs = datasets.load_digits()
    np.testing.assert_array_equal(images[:, 0] * 16, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)
    assert labels.dtype == np.int64
    assert ImageData(images, labels).num_classes == 10


def test_without_scikit_learn_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"scikit-learn: pip install 'd2l-ext\[images\]'"):
        load_images()


@pytest.mark.parametrize("axes", [(3, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_of_the_users(tmp_path, axes, dtype, save):
    images, labels = RNG.integers(0, 256, (5, *axes)).astype(dtype), np.arange(5, dtype=np.uint8)
    save(tmp_path / "images.npz", images=images, labels=labels, others=np.zeros(3))
    for path in (tmp_path / "images.npz", str(tmp_path / "images.npz")):
        found, found_labels = load_images(path)
        assert (found.dtype, found_labels.dtype) == (np.float32, np.int64)
        np.testing.assert_array_equal(found, images.reshape(5, -1, 3, 4))  # their numbers stay
        np.testing.assert_array_equal(found_labels, labels)


GOOD = {"images": np.ones((4, 2, 2)), "labels": np.arange(4)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": None}, "must be an .npz file with images and labels .*images"),
        ({"labels": None}, "must be an .npz file with images and labels .*labels"),
        ({"images": np.ones((4, 2))}, r"got images \(4, 2\) and labels \(4,\), must be"),
        ({"images": np.ones((1, 4, 1, 2, 2))}, r"got images \(1, 4, 1, 2, 2\)"),
        ({"images": np.ones((3, 2, 2))}, r"got images \(3, 2, 2\) and labels \(4,\)"),
        ({"labels": np.ones((4, 1), int)}, r"labels \(4, 1\)"),
        ({"images": np.ones((4, 0, 2))}, r"got images \(4, 0, 2\)"),
        ({"images": np.ones((0, 2, 2)), "labels": np.arange(0)}, r"got images \(0, 2, 2\)"),
        ({"labels": np.arange(4.0)}, "got labels of dtype float64, must be whole, from 0"),
        ({"labels": np.arange(4) - 1}, "must be whole, from 0"),
        ({"labels": np.array(list("abcd"))}, "must be whole, from 0"),
        ({"images": np.full((4, 2, 2), "a")}, "images"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, arrays, message):
    path = tmp_path / "wrong.npz"
    np.savez(path, **{name: x for name, x in (GOOD | arrays).items() if x is not None})
    with pytest.raises(ValueError, match=rf"wrong\.npz: .*{message}"):
        load_images(path)


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["images", "labels"])
def test_nothing_is_unpickled(tmp_path, name):
    trace, path = tmp_path / "trace", tmp_path / "pickled.npz"
    payload = np.full(4, Payload(trace), object)
    np.savez(path, allow_pickle=True, **(GOOD | {name: payload}))
    with pytest.raises(ValueError, match=r"pickled\.npz: must be an .npz file .*allow_pickle"):
        load_images(path)
    path.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(ValueError, match=r"pickled\.npz: must be an .npz file"):
        load_images(path)
    assert not trace.exists()


@pytest.fixture(scope="module")
def compressed(tmp_path_factory):
    """A compressed file."""
    path = tmp_path_factory.mktemp("compressed") / "images.npz"
    np.savez_compressed(path, images=RNG.random((6, 3, 3)), labels=np.arange(6))
    return path


@given(st.data())
def test_a_damaged_file_is_read_as_it_was_or_not_at_all(compressed, data):
    """One bit is another, as it is where a disk or a download failed."""
    content, path = bytearray(compressed.read_bytes()), compressed.with_name("damaged.npz")
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        found = load_images(path)
    except ValueError as error:
        assert f"{path}: " in str(error)
    else:  # a date, say
        np.testing.assert_equal(found, load_images(compressed))


@given(st.data())
def test_a_file_that_has_no_end_says_so(compressed, data):
    content, path = compressed.read_bytes(), compressed.with_name("short.npz")
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ValueError, match=r"short\.npz: must be an .npz file"):
        load_images(path)


@pytest.mark.parametrize("content", [b"", b"images, labels\n1, 2\n"])
def test_a_file_that_is_something_else_says_so(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.npz: must be an .npz file"):
        load_images(path)


def test_a_single_array_is_no_such_file(tmp_path):
    np.save(tmp_path / "one.npy", GOOD["images"])
    with pytest.raises(ValueError, match=r"one\.npy: must be an .npz file"):
        load_images(tmp_path / "one.npy")


def test_an_unknown_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        load_images(tmp_path / "none.npz")


# The task


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_accuracy_is_the_share_of_right_answers(pairs):
    answers, labels = np.array(pairs).T

    def model(images):
        assert 1 <= len(images) <= 8
        return np.eye(4)[images[:, 0].astype(int)] - 0.5

    found = accuracy(model, answers[:, None].astype(np.float32), labels, batch_size=8)
    assert found == np.mean(answers == labels)


@pytest.fixture
def image_task(tmp_path):
    """A task on images of two channels."""
    path = tmp_path / "images.npz"
    np.savez(path, images=RNG.random((60, 2, 4, 6)), labels=np.arange(60) % 3)
    shares = {"val_fraction": 0.2, "test_fraction": 0.3}
    return task(read_settings(model="vit", data=str(path), batch_size=5, **shares))


def test_loss_and_accuracy_are_of_the_validation_part(image_task):
    data = image_task.train

    class Trainer:
        def loss(self, batch):
            return float(batch[-1].mean())

    def model(images):
        return np.broadcast_to([0.0, 1.0, 0.0], (len(images), 3))

    found = image_task.evaluate(model, Trainer())
    assert found["val_loss"] == pytest.approx(data.val[1].mean(), rel=1e-12)
    assert found["accuracy"] == np.mean(data.val[1] == 1) > 0
    assert image_task.score(found) == found["accuracy"]
    tested = image_task.test(model, Trainer())
    assert tested == {"accuracy": np.mean(data.test[1] == 1)} != {"accuracy": found["accuracy"]}
    assert image_task.show(0.25) == "25.0% right"


def test_the_task_says_what_it_has(image_task):
    lines = image_task.summary()
    assert lines[0].endswith("30 images of 2x4x6 for training, 12 for validation, 18 for the test")
    assert lines[1] == "3 classes"
    assert image_task.src_vocab is image_task.tgt_vocab is None


def test_the_digest_is_of_images_and_labels(tmp_path):
    def digest(name, **changes):
        np.savez(tmp_path / name, **(GOOD | changes))
        shares = {"val_fraction": 0.3, "test_fraction": 0.3}
        return task(read_settings(model="vit", data=str(tmp_path / name), **shares)).digest

    first = digest("a.npz")
    assert digest("b.npz") == first
    assert digest("c.npz", labels=np.arange(4)[::-1]) != first
    assert digest("d.npz", images=np.ones((4, 2, 2)) + 1e-3) != first
