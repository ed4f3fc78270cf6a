"""What a page tells between its lines: starts of series, and histograms made of several series.

Which rows belong together is worked out once and kept for pages with the same series.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scrape.created import created_rows, starts_ms
from scrape.histogram_config import HistogramOptions
from scrape.nhcb import Layout, convert, layout_of
from scrape.rows import same_keys
from series.batch import SeriesBatch
from wire.exposition_page import Scraped


class Derived:
    """What is known of the pages of one target."""

    def __init__(self) -> None:
        self._batch: SeriesBatch | None = None
        self._options = HistogramOptions()
        self._created: NDArray[np.int64] | None = None
        self._layout: Layout | None = None

    def apply(self, page: Scraped, options: HistogramOptions, *, openmetrics: bool) -> None:
        """Adds to the *page* what it tells so; ``_created`` series do in *openmetrics* only."""
        batch = page.batch
        if self._batch is None or options != self._options or not same_keys(self._batch, batch):
            self._created = created_rows(batch, page.metadata) if openmetrics else None
            self._layout = layout_of(batch, page.metadata) if options.convert else None
            self._batch, self._options = batch, options
        if self._created is not None:
            page.batch = replace(batch, starts_ms=starts_ms(batch.values, self._created))
        if self._layout is not None:
            convert(page, self._layout, keep_classic=options.always_classic)
