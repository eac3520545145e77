"""What a model answered when it was logged, as the model server answers."""

import json

from contract import example_output


def read(text: str | None) -> dict[str, list[object] | None]:
    assert text is not None
    return dict(json.loads(text))


def test_two_classes_give_the_probability_of_the_second() -> None:
    found = read(example_output([False, True], [[0.9, 0.1], [0.25, 0.75]]))
    assert found == {"predictions": [False, True], "probabilities": [0.1, 0.75]}


def test_more_classes_give_the_probability_of_the_likeliest() -> None:
    found = read(example_output(["a", "c"], [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]))
    assert found == {"predictions": ["a", "c"], "probabilities": [0.5, 0.7]}


def test_a_regressor_has_none() -> None:
    assert read(example_output([0.1 + 0.2], None)) == {"predictions": [0.1 + 0.2], "probabilities": None}


def test_nothing_is_cut_to_fit_a_tag() -> None:
    assert example_output(["x" * 4000], None) is not None
    assert example_output(["x" * 5000], None) is None
