"""The model: gradient-boosted trees over raw records, categories included."""

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(parameters: dict[str, Any], features: dict[str, str], seed: int) -> Pipeline:
    """Return the unfitted pipeline: it takes a frame of the declared features and has `predict`.

    `parameters` are `training.parameters` of the declaration, `features` maps each column to its declared type, in
    order. Strings and missing values arrive as they are; a category that the model has never seen counts as missing.
    """
    categories = [name for name, kind in features.items() if kind == "category"]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=-1,
        encoded_missing_value=-1,
        max_categories=200,  # the trees take at most 255
    )
    columns = ColumnTransformer([("categories", encoder, categories)], remainder="passthrough")
    trees = HistGradientBoostingRegressor(
        categorical_features=list(range(len(categories))),
        early_stopping=False,  # it would hold out rows at random; the split is by time
        random_state=seed,
        **parameters,
    )
    return Pipeline([("columns", columns), ("trees", trees)])
