"""Unit vectors as the metrics read them: a tensor, or a SciPy sparse matrix where columns are many and mostly zero."""

from typing import Any, TypeAlias

import torch
from torch import Tensor

SparseMatrix: TypeAlias = Any  # scipy.sparse.csr_matrix, which has no types
Vectors: TypeAlias = "Tensor | SparseMatrix"


def similarities(first: Vectors, second: Vectors) -> Tensor:
    """Return the fp32 dot products [n, m] of vectors [n, D] and [m, D] of the same kind."""
    if isinstance(first, Tensor):
        return first.float() @ second.float().T
    return torch.from_numpy((first @ second.T).toarray()).float()


def rows_of(vectors: Vectors, rows: Tensor) -> Vectors:
    """Return the vectors at `rows`, of the same kind."""
    return vectors[rows] if isinstance(vectors, Tensor) else vectors[rows.numpy()]


def squared_distances(first: Vectors, second: Vectors) -> Tensor:
    """Return the squared distance [n] of each pair of vectors [n, D]."""
    if isinstance(first, Tensor):
        return (first.float() - second.float()).square().sum(1)
    return torch.from_numpy((first - second).power(2).sum(1)).flatten().float()


def single_precision(vectors: Vectors) -> Vectors:
    """Return a tensor as fp32, so that it is converted once; a sparse matrix as it is."""
    return vectors.float() if isinstance(vectors, Tensor) else vectors
