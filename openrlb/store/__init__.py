"""The run store: the only code that imports duckdb.

Writers leave segments in a spool folder and never open the catalog; ``fold`` moves them into Parquet partitions and puts
a changed copy of the catalog in place; readers see the state of before or after. DESIGN.md section 3 has the reasons.
"""

from openrlb.store.fold import FoldReport
from openrlb.store.segment import content_digest, read_segment, write_segment
from openrlb.store.store import MetricSummary, QueryResult, RunRow, Store

__all__ = [
    "FoldReport",
    "MetricSummary",
    "QueryResult",
    "RunRow",
    "Store",
    "content_digest",
    "read_segment",
    "write_segment",
]
