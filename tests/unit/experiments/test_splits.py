"""Splits: every sample in exactly one, the same for a seed, with the shares asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from headrace.datasets.base import DataInfo
from headrace.experiments.config import Split
from headrace.experiments.splits import SPLITS, divide, planned_sizes, resolve_split, split_sizes
from headrace.registry import load_kind


@st.composite
def splits(draw, by="random"):
    train = draw(st.integers(1, 98))
    validation = draw(st.integers(1, 99 - train))
    rest = 100 - train - validation
    return Split(
        by=by, train=train / 100, validation=validation / 100, test=rest / 100, seed=draw(st.integers(0, 2**63 - 1))
    )


counts_of_classes = st.lists(st.integers(1, 300), min_size=1, max_size=6)


def shuffled_labels(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def info_of(counts, **changes):
    names = tuple(f"class {i}" for i in range(len(counts)))
    info = {"tasks": ("classification",), "num_samples": sum(counts), "shape": (2,), "dims": ("feature",)}
    return DataInfo(**{**info, "class_names": names, "class_counts": tuple(counts), **changes})


def parts_of(division):
    borders = np.cumsum([division.sizes[name] for name in SPLITS])[:-1]
    return dict(zip(SPLITS, np.split(division.order, borders), strict=True))


@given(st.integers(0, 2000), splits())
def test_every_sample_is_in_exactly_one_split(num_samples, split):
    division = divide(num_samples, None, split)
    assert sorted(division.order) == list(range(num_samples))
    assert sum(division.sizes.values()) == num_samples
    assert tuple(division.sizes) == SPLITS
    for part in parts_of(division).values():
        assert (np.diff(part) > 0).all()


@given(counts_of_classes, splits(by="stratified"))
def test_every_class_has_its_share_of_every_split(counts, split):
    labels = shuffled_labels(counts)
    division = divide(len(labels), labels, split)
    assert sorted(division.order) == list(range(len(labels)))
    for name, part in parts_of(division).items():
        found = np.bincount(labels[part], minlength=len(counts))
        for count, have in zip(counts, found, strict=True):
            assert abs(have - count * getattr(split, name)) <= 1 + 1e-9
        assert abs(len(part) - len(labels) * getattr(split, name)) <= len(counts)


@given(st.integers(0, 10**9), splits())
def test_sizes_are_within_one_sample_of_the_share(num_samples, split):
    sizes = split_sizes(num_samples, split)
    assert sum(sizes.values()) == num_samples
    for name, size in sizes.items():
        assert size >= 0
        assert abs(size - num_samples * getattr(split, name)) <= 1 + 1e-6


@given(counts_of_classes, st.sampled_from(["stratified", "random"]), st.data())
def test_the_plan_knows_the_sizes_before_the_data(counts, by, data):
    split = data.draw(splits(by=by))
    labels = shuffled_labels(counts)
    try:
        planned = planned_sizes(info_of(counts), split)
    except ValueError as error:
        assert str(error).startswith("split.")  # noqa: PT017
        return
    division = divide(len(labels), labels if by == "stratified" else None, split)
    assert planned == division.sizes
    if by == "stratified":
        for part in parts_of(division).values():
            assert set(labels[part]) == set(range(len(counts)))


@pytest.mark.parametrize("kind", ["breast_cancer", "diabetes", "mnist5k"])
def test_the_plan_knows_the_sizes_of_every_dataset(kind):
    info = load_kind("datasets", kind).model_validate({"kind": kind}).describe()
    for by in ("auto", "random", *(["stratified"] if info.class_names else [])):
        split = resolve_split(Split(by=by), info)
        labels = np.repeat(np.arange(len(info.class_counts)), info.class_counts) if info.class_names else None
        assert planned_sizes(info, split) == divide(info.num_samples, labels, split).sizes


def test_auto_stratifies_where_there_are_classes():
    assert resolve_split(Split(), info_of([5, 5])).by == "stratified"
    assert resolve_split(Split(), info_of([5], class_names=(), class_counts=())).by == "random"
    assert resolve_split(Split(by="random"), info_of([5, 5])).by == "random"


def test_a_class_must_be_in_every_split():
    with pytest.raises(ValueError, match=r"split\.test: 0\.15 leaves class 'class 1' out \(3 samples in all\)"):
        planned_sizes(info_of([100, 3]), Split(by="stratified"))


def test_an_empty_split_is_refused():
    info = info_of([2], class_names=(), class_counts=())
    with pytest.raises(ValueError, match=r"split\.test: .* no sample at all"):
        planned_sizes(info, Split(by="random"))


def test_stratifying_needs_classes():
    with pytest.raises(ValueError, match=r"split\.by: stratified needs classes"):
        resolve_split(Split(by="stratified"), info_of([5], class_names=(), class_counts=()))
    with pytest.raises(ValueError, match="needs labels"):
        divide(5, None, Split(by="stratified"))


@given(counts_of_classes, splits(by="stratified"))
def test_the_same_seed_divides_the_same_way(counts, split):
    labels = shuffled_labels(counts)
    one, two = divide(len(labels), labels, split), divide(len(labels), labels.copy(), split)
    assert (one.order == two.order).all()


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_another_seed_divides_another_way(by):
    labels = shuffled_labels([60, 40])
    train = [
        set(parts_of(divide(100, labels, Split(by=by, seed=seed)))["train"].tolist()) for seed in (0, 1, 2**63 - 1)
    ]
    assert train[0] != train[1] != train[2] != train[0]


def test_a_class_stays_where_it_was_when_another_grows():
    small, large = np.repeat([0, 1], [50, 30]), np.repeat([0, 1], [50, 90])
    split = Split(by="stratified", seed=3)
    before, after = parts_of(divide(80, small, split)), parts_of(divide(140, large, split))
    for name in SPLITS:
        assert [row for row in before[name] if row < 50] == [row for row in after[name] if row < 50]


def test_every_sample_is_as_likely_to_be_tested():
    hits = np.zeros(40)
    for seed in range(600):
        hits[parts_of(divide(40, None, Split(by="random", seed=seed)))["test"]] += 1
    assert hits.sum() == 600 * 6
    assert np.abs(hits / 600 - 0.15).max() < 0.07


@given(st.lists(st.integers(10, 300), min_size=2, max_size=6), splits(by="stratified"))
@settings(max_examples=60)
def test_shares_of_classes_agree_with_scikit_learn(counts, split):
    labels = shuffled_labels(counts)
    parts = parts_of(divide(len(labels), labels, split))
    num_train = len(parts["train"])
    num_rest = len(labels) - num_train
    if min(num_train, num_rest) < len(counts):
        return  # scikit-learn refuses these
    reference = StratifiedShuffleSplit(1, train_size=num_train, test_size=num_rest, random_state=0)
    train, _ = next(reference.split(labels, labels))
    ours, theirs = (np.bincount(labels[rows], minlength=len(counts)) for rows in (parts["train"], train))
    assert np.abs(ours - theirs).max() <= 1


# By what a column says

groups = st.lists(st.integers(0, 12), min_size=3, max_size=200).filter(lambda keys: len(set(keys)) >= 3)


@given(keys=groups, seed=st.integers(0, 1000))
def test_no_group_is_in_two_splits(keys, seed):
    split = Split(by="grouped", column="patient", seed=seed)
    parts = parts_of(divide(len(keys), None, split, np.array(keys)))
    found = [set(np.array(keys)[part].tolist()) for part in parts.values()]
    assert all(found)
    assert sum(len(part) for part in found) == len(set(keys))
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(keys)))


def test_many_groups_come_close_to_the_shares():
    keys = np.random.default_rng(0).integers(0, 500, 20_000)
    sizes = divide(len(keys), None, Split(by="grouped", column="x"), keys).sizes
    assert [size / 20_000 for size in sizes.values()] == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_two_groups_are_too_few():
    with pytest.raises(ValueError, match="x has 2 groups; three splits need at least 3"):
        divide(4, None, Split(by="grouped", column="x"), np.array([0, 0, 1, 1]))


@given(times=st.lists(st.integers(-50, 50), min_size=20, max_size=100))
def test_nothing_in_training_is_later_than_anything_in_test(times):
    keys = np.array(times)
    division = divide(len(keys), None, Split(by="time", column="date"), keys)
    ordered = keys[division.order]
    assert (np.diff(ordered) >= 0).all()
    assert division.sizes == split_sizes(len(keys), Split())


def test_time_without_a_column_is_the_order_of_the_rows():
    division = divide(10, None, Split(by="time", borders=(5, 8)))
    assert division.order.tolist() == list(range(10))
    assert list(division.sizes.values()) == [5, 3, 2]


def test_the_source_says_what_is_what():
    parts = parts_of(divide(6, None, Split(by="source", column="fold"), np.array([2, 0, 0, 1, 0, 2])))
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [1, 2, 4],
        "validation": [3],
        "test": [0, 5],
    }


def test_a_source_that_leaves_a_split_out_is_refused():
    with pytest.raises(ValueError, match="leaves test without any sample"):
        divide(3, None, Split(by="source", column="fold"), np.array([0, 1, 0]))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"by": "grouped"}, "column: is needed with by: grouped"),
        ({"by": "random", "column": "x"}, "column: means nothing with by: random"),
        ({"by": "random", "borders": (1, 2)}, "borders: means nothing with by: random"),
        ({"by": "time", "borders": (5, 5)}, "the first must lie below the second"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        Split(**keys)
