import numpy as np
import pytest

from research.relations.relevance import highest_relevance_that_keeps


@pytest.mark.parametrize(("share", "cut"), [(1.0, 0.1), (0.9, 0.2), (0.55, 0.5), (0.5, 0.6)])
def test_the_cut_keeps_at_least_that_share(share: float, cut: float) -> None:
    related = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    found = highest_relevance_that_keeps(related, share)
    assert found == cut
    assert np.mean(related >= found) >= share
    assert np.mean(related >= np.nextafter(found, 2)) < share
