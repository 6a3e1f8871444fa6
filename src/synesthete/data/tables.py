"""Read a Parquet table that a stranger may have written: the columns asked for, of some size."""

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MOST_ROWS = 2_000_000
"""Each row becomes a few hundred bytes of Python objects."""
LONGEST_TEXT = 1_000
"""Bytes; an id has 16. A table that says a long one a million times is small on disk."""
CODECS = ("SNAPPY", "UNCOMPRESSED")
"""Ours, which unpack to some twenty times their size at most; others know no such bound."""


def read_table(data: bytes, schema: pa.Schema) -> pa.Table:
    """The table of a Parquet file's bytes; ValueError or ArrowException where it is another."""
    file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    if not file.schema_arrow.equals(schema):
        raise ValueError(f"a table of {file.schema_arrow.names}, wanted {schema.names}")
    told = file.metadata
    if told.num_rows > MOST_ROWS:
        raise ValueError(f"a table of {told.num_rows:,} rows, wanted at most {MOST_ROWS:,}")
    groups = (told.row_group(number) for number in range(told.num_row_groups))
    codecs = {g.column(number).compression for g in groups for number in range(g.num_columns)}
    if not codecs <= {*CODECS}:
        raise ValueError(f"a table packed by {codecs}, wanted {CODECS}")
    texts = [field.name for field in schema if field.type == pa.string()]
    file = pq.ParquetFile(io.BytesIO(data), read_dictionary=texts, page_checksum_verification=True)
    table = file.read()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count:
            raise ValueError(f"a table with gaps in '{name}'")
        for chunk in column.chunks if name in texts else ():
            if (pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0) > LONGEST_TEXT:
                raise ValueError(f"a table with more than {LONGEST_TEXT} bytes of '{name}'")
    return table.cast(schema)
