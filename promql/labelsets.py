"""Label sets of a result: dropping names, and rows that come to carry equal labels.

Two rows with equal labels are one series whose points came from different inputs at different
steps. Where both have a point at one step the answer is not a vector, and Prometheus refuses it.
"""

from promql.env import Env
from promql.groups import Groups
from promql.matrix import Matrix
from promql.notes import ExecutionError

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


def drop_names(matrix: Matrix, env: Env) -> Matrix:
    """*matrix* without the name labels: marked where names go away late, else at once.

    Raises ExecutionError where two series become the same at one step.
    """
    if env.options.delayed_name_removal:
        return matrix.without_names(delayed=True)
    return merge_equal_labels(matrix.without_names(delayed=False))


def merge_equal_labels(matrix: Matrix) -> Matrix:
    """Rows with equal labels as one row, where the first of them stands; sample times are lost.

    A merged row is marked for late name removal if one of its parts is. Raises ExecutionError
    where two of them have a point at the same step.
    """
    if matrix.series_count < 2:
        return matrix
    ids, first = matrix.frame.group_ids()
    if len(first) == matrix.series_count:
        return matrix
    groups = Groups(ids, len(first))
    if groups.repeated(matrix.present).any():
        raise ExecutionError(SAME_LABELSET)
    return groups.merged(matrix)
