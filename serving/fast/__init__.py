"""Compiled ways to compute a scikit-learn model: the same answers as its own predict, sooner.

What is compiled: tree ensembles (`tables`, `walk`), linear models and multi-layer perceptrons (`layers`), each after
encoders, scalers and imputers that keep columns apart (`origins`, `probe`, `bisection`). No step's formula is written
down anew: preprocessing is learnt by running the model's own steps on each category and around each threshold, then is
part of the tables, so that a request goes from its values to the answer without a frame. Each engine is compared with
the model's own predict before it serves (`verify`); where there is none, or it differs, the model's own predict serves.

How the engine for trees was chosen. HistGradientBoosting, 100 trees of 31 leaves, 12 numbers, from a float64 matrix to
raw sums, other rows each time; one thread of a shared 2-core machine, November 2026:

| engine                                   | 1 row, µs | 20 rows | 64 rows | 1024 rows | load, ms | memory, MB |
|------------------------------------------|----------:|--------:|--------:|----------:|---------:|-----------:|
| its own predict, raw                     |       471 |     549 |     689 |     4,605 |        1 |          0 |
| treelite 4.8 (GTIL)                      |        36 |     258 |     611 |    11,569 |       46 |          3 |
| onnxruntime 1.31 (TreeEnsemble of ml 5)  |         5 |      78 |     220 |     3,191 |      230 |         66 |
| LightGBM 4.7 given these trees           |         7 |     101 |     319 |     5,051 |       19 |          3 |
| a numba kernel                           |         3 |      91 |     302 |     4,673 |    1,240 |        177 |
| tables of bits, numpy alone: chosen      |        14 |      33 |      70 |       967 |       15 |          1 |

The tables win from some rows on, since nothing in them waits for a branch, and cost no package and no memory; a single
row is 10 µs slower than the fastest, a fraction of what its HTTP request costs. Forests that are too large for tables
are walked through in numpy: a RandomForest of 700,000 nodes takes 119 µs for a row and 17 ms for 1024 (own predict: 2.6
and 26 ms; onnxruntime: 20 µs and 27 ms, but 2.3 s to load and 446 MB).

ONNX is not used for what is left either: skl2onnx and onnxruntime are 43 MB of memory and 1.8 s of import; KNN is
slower with them, a Gaussian process does not convert, and an SVC of 3,000 rows gains 76 µs a row.

`python -m benchmarks.fast` measures the engines as they are served. Threads: numpy holds the interpreter's lock for
small arrays, so two threads are slower than one up to about a hundred rows, and 1.4 to 1.6 times as fast from 1,000 on.
"""

from serving.fast.compiler import compile_fast

__all__ = ["compile_fast"]
