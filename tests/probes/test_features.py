import numpy as np
import pytest

from longreach.probes.features import features


def test_a_marker_and_a_value_give_their_product_but_not_the_markers_square():
    rng = np.random.default_rng(0)
    value, marker = rng.uniform(size=(300, 40)), rng.uniform(size=(300, 40)) < 0.1
    phi, linear = features(np.stack([value, marker], axis=2), np.full(300, 40), tokens=False)
    assert linear == 2
    assert phi.shape[2] == 4  # value, marker, value², value x marker
    expected = (value - value.mean()) * (marker - marker.mean())
    assert np.corrcoef(phi[:, :, 3].ravel(), expected.ravel())[0, 1] > 0.99


def test_a_one_hot_code_loses_its_last_column_and_gets_no_products():
    x = np.eye(5)[np.random.default_rng(0).integers(5, size=(100, 30))]
    phi, linear = features(x, np.full(100, 30), tokens=False)
    assert (phi.shape[2], linear) == (4, 4)


def test_tokens_are_one_hot_with_the_rarest_as_the_class_without_a_column():
    ids = np.random.default_rng(0).choice([7, 3, 900], p=[0.6, 0.3, 0.1], size=(200, 20, 1))
    phi, _ = features(ids, np.full(200, 20), tokens=True)
    assert phi.shape[2] == 2
    for column, token in enumerate([7, 3]):
        hit = (ids[:, :, 0] == token).astype(float)
        assert np.corrcoef(phi[:, 4, column], hit[:, 4])[0, 1] == pytest.approx(1, abs=1e-5)


def test_many_tokens_and_many_inputs_give_at_most_32_features():
    rng = np.random.default_rng(0)
    lengths = np.full(50, 20)
    assert features(rng.integers(500, size=(50, 20, 1)), lengths, tokens=True)[0].shape[2] == 32
    assert features(rng.standard_normal((50, 20, 90)), lengths, tokens=False)[0].shape[2] == 32
    assert features(rng.standard_normal((50, 20, 8)), lengths, tokens=False)[0].shape[2] == 32  # 44 with products


def test_what_is_constant_or_double_gives_no_feature():
    x = np.random.default_rng(0).standard_normal((60, 10, 1))
    lengths = np.full(60, 10)
    assert features(np.full((60, 10, 2), 3.0), lengths, tokens=False)[0].shape[2] == 0
    assert features(np.zeros((60, 10, 1), int), lengths, tokens=True)[0].shape[2] == 0
    padded = np.concatenate([x, np.ones_like(x), -2 * x + 5], axis=2)
    np.testing.assert_allclose(features(padded, lengths, tokens=False)[0], features(x, lengths, tokens=False)[0])


def test_each_step_has_mean_zero_over_the_sequences_that_have_it():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 13, size=80)
    x = rng.standard_normal((80, 12, 2)) + np.arange(12)[:, None]  # a trend that all sequences share is no information
    valid = np.arange(12) >= 12 - lengths[:, None]
    phi, _ = features(x, lengths, tokens=False)
    np.testing.assert_allclose(phi.sum(axis=0), 0, atol=1e-4)
    assert not phi[~valid].any()


def test_a_step_at_which_all_sequences_agree_is_exactly_zero():
    x = np.random.default_rng(0).standard_normal((80, 12, 1)).astype(np.float32)
    x[:, 5] = 0.1
    phi, _ = features(x, np.full(80, 12), tokens=False)
    assert not phi[:, 5].any()
    assert phi[:, 4].all()


def test_an_input_that_comes_at_one_step_only_is_seen_however_many_sequences_there_are():
    # 24,000 steps are more than are looked at, and every second of them would miss step 9 altogether
    rng = np.random.default_rng(0)
    x = np.zeros((400, 60, 2), np.float32)
    x[:, :, 0] = rng.standard_normal((400, 60))
    x[:, 9, 1] = rng.integers(2, size=400)
    phi, linear = features(x, np.full(400, 60), tokens=False)
    assert linear == 2
    assert phi[:, 9, 1].any()
