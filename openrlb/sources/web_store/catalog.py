"""A catalog that came from elsewhere: openrlb's tables to the letter, nothing else, and paths that stay in the store."""

from __future__ import annotations

from pathlib import Path

from openrlb.errors import StoreDamaged
from openrlb.store.catalog import connection, create_tables, schema_version
from openrlb.store.layout import is_data_file
from openrlb.store.schema import SCHEMA_VERSION, literal

_TABLES = "SELECT table_name, sql FROM duckdb_tables() WHERE database_name = 'catalog' ORDER BY ALL"
_OTHERS = """SELECT 'the view ' || view_name FROM duckdb_views() WHERE database_name = 'catalog' AND NOT internal
    UNION ALL SELECT 'the function ' || function_name FROM duckdb_functions() WHERE database_name = 'catalog' AND NOT internal
    UNION ALL SELECT 'the schema ' || schema_name FROM duckdb_schemas() WHERE database_name = 'catalog' AND NOT internal
        AND schema_name <> 'main'
    UNION ALL SELECT 'the sequence ' || sequence_name FROM duckdb_sequences() WHERE database_name = 'catalog'
    UNION ALL SELECT 'the index ' || index_name FROM duckdb_indexes() WHERE database_name = 'catalog'
    UNION ALL SELECT 'the type ' || type_name FROM duckdb_types() WHERE database_name = 'catalog' AND NOT internal"""


def check_catalog(path: Path) -> None:
    """Makes sure that a file is a catalog and nothing more, before any of it is read as one.

    It is opened with external access off. Of another version of openrlb only the tables' names are known; such a catalog is
    refused where it is read.

    Args:
        path: The file.

    Raises:
        StoreDamaged: It is not.
    """
    import duckdb

    what, fix = "the store's catalog is refused", "check the address, and tell the store's owner"
    with connection() as con:
        con.execute("ATTACH ':memory:' AS catalog")
        create_tables(con)
        tables = con.execute(_TABLES).fetchall()
        con.execute("DETACH catalog")
        con.execute(f"SET allowed_paths = [{literal(str(path))}, {literal(f'{path}.wal')}]")
        con.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            con.execute(f"ATTACH {literal(str(path))} AS catalog (READ_ONLY)")
            if others := con.execute(_OTHERS).fetchall():
                raise StoreDamaged(what, f"it holds {others[0][0]}", fix)
            found = con.execute(_TABLES).fetchall()
            if ("meta", dict(tables)["meta"]) not in found:
                raise StoreDamaged(what, "it has no table meta", fix)
            if schema_version(con) != SCHEMA_VERSION:
                return
            if found != tables:
                raise StoreDamaged(what, "its tables are not those of a store", fix)
            for (one,) in con.execute("SELECT DISTINCT path FROM catalog.files").fetchall():
                if not is_data_file(one):
                    raise StoreDamaged(what, f"the path {one!r} is not one of a store", fix)
        except (duckdb.Error, ValueError) as error:
            raise StoreDamaged(what, str(error).splitlines()[0], fix) from error
