"""``query`` can neither write, attach, read other files, nor reach a network."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import batch

from openrlb.errors import QueryRefused
from openrlb.store import Store
from openrlb.store.sandbox import DESCRIBING, TABLE_FUNCTIONS, check


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "it's a store")
    store.write([batch("a")])
    store.fold()
    return store


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


REFUSED = {
    "what is no statement": ["", "SELEC 1", "SELECT nothing FROM runs", "SELECT $1", ".import a b", ".shell ls"],
    "several statements": ["SELECT 1; SELECT 2", "PIVOT runs ON env", "FROM query('SELECT 1; SELECT 2')"],
    "writing": [
        "INSERT INTO catalog.runs (run) VALUES ('x')",
        "DELETE FROM catalog.runs",
        "UPDATE catalog.runs SET env = 'x'",
        "TRUNCATE runs",
        "MERGE INTO runs USING params ON true WHEN MATCHED THEN DELETE",
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMP TABLE t (a INTEGER)",
        "CREATE MACRO f() AS 1",
        "CREATE SECRET (TYPE s3)",
        "ALTER TABLE runs RENAME TO x",
        "COMMENT ON TABLE runs IS 'x'",
        "DROP VIEW runs",
        "SELECT 1 INTO t",
        "COPY (SELECT 1) TO '{data}/x.csv'",
        "COPY FROM DATABASE catalog TO memory",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.csv'",
        "EXPORT DATABASE '{data}'",
        "VACUUM",
        "CHECKPOINT",
    ],
    "writing inside a SELECT": [
        "WITH x AS (COPY (SELECT 1 AS a) TO '{data}/metrics.parquet') SELECT 1",
        "WITH x AS MATERIALIZED (INSERT INTO catalog.runs (run) VALUES ('x') RETURNING 1) SELECT * FROM x",
        "WITH x AS (DELETE FROM catalog.runs RETURNING 1) SELECT * FROM x",
        "SELECT (WITH x AS (COPY (SELECT 1) TO '{data}/x.csv') SELECT 1)",
        "SELECT * FROM (COPY (SELECT 1) TO '{data}/x.csv')",
    ],
    "texts that are run": [
        "FROM query('CREATE TABLE t (a INTEGER)')",
        "FROM query('WITH x AS (COPY (SELECT 1 AS a) TO ''{data}/x.csv'') SELECT 1')",
        "FROM main.query('SELECT 1')",
        "FROM json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY (SELECT 1 AS a) TO ''{data}/x.csv'') SELECT 1'))",
        "FROM \"JSON_Execute_Serialized_SQL\"(json_serialize_sql('SELECT 1'))",
        "SELECT (FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1')))",
        "PREPARE x AS SELECT 1",
        "EXECUTE x",
    ],
    "settings": [
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET VARIABLE x = 1",
        "PRAGMA database_list",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "USE memory",
        "BEGIN",
        "FROM enable_logging(storage_path := '{data}/log')",
        "FROM enable_profiling(save_location := '{data}/profile')",
        "FROM truncate_duckdb_logs()",
        "FROM force_checkpoint('catalog')",
        "FROM register_external_resource('a', 'b')",
    ],
    "other databases, extensions and networks": [
        "ATTACH 'other.duckdb'",
        "ATTACH 'https://127.0.0.1:1/x.duckdb'",
        "DETACH catalog",
        "INSTALL httpfs",
        "LOAD httpfs",
        "UPDATE EXTENSIONS",
        "CONNECT 'x'",
        "SELECT * FROM 'http://127.0.0.1:1/a.parquet'",
        "SELECT * FROM read_parquet('s3://bucket/a.parquet')",
        "SELECT current_setting('s3_secret_access_key')",
        "SELECT * FROM duckdb_secrets()",
        "FROM which_secret('s3://bucket', 's3')",
    ],
    "other files": [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_text('.tmp/secret.csv')",
        "SELECT * FROM read_blob('{data}/../store.lock')",
        "FROM read_duckdb('{data}/../catalog.duckdb')",
        "SELECT * FROM '/etc/passwd'",
        "FROM query_table('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "FROM parquet_metadata('/etc/passwd')",
        "IMPORT DATABASE '/etc'",
        "SELECT getenv('HOME')",
    ],
    "Python": ["SELECT * FROM secret", "SELECT * FROM frame", "FROM arrow_scan(1, 2, 3)", "FROM python_map_function(1)"],
    "what has no bound": [
        "SELECT " + "[" * 600 + "1" + "]" * 600,
        "SELECT " + "(" * 50_000,
        " UNION ALL ".join(["SELECT 1"] * 50_000),
        "SELECT repeat('x', 5000000000)",
        "SELECT len(list_resize([1], 100000000000))",
        "SELECT 1" + "/(1" * 2_000,
    ],
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_three_lines_and_nothing_changed(store: Store, kind: str) -> None:
    Path(".tmp").mkdir()
    Path(".tmp/secret.csv").write_text("a secret")
    before = snapshot(store.layout.root)
    secret = frame = pa.table({"x": ["CANARY"]})  # DuckDB would find what a name of Python's means
    for sql in REFUSED[kind]:
        with pytest.raises(QueryRefused) as caught:
            print(sql[:200], store.query(sql.replace("{data}", str(store.layout.data).replace("'", "''"))))
        assert caught.value.exit_code == 2
        assert "\n" not in f"{caught.value.what}{caught.value.why}{caught.value.fix}"
    assert snapshot(store.layout.root) == before and secret is frame


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM runs",
        "FROM runs SELECT run",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        "DESCRIBE points",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t",
        "SELECT run FROM runs UNION SELECT metric FROM points",
        "SUMMARIZE runs",
        "SELECT unnest(metrics) FROM runs UNION ALL SELECT json_each.key FROM json_each('{\"a\": 1}')",
        "FROM range(3) JOIN duckdb_functions() ON true LIMIT 1",
        "SELECT env, avg(value) FROM points WHERE metric = 'eval/mean_reward' GROUP BY env",
    ],
)
def test_selects_are_answered(store: Store, sql: str) -> None:
    assert store.query(sql).rows


def test_a_long_chain_of_operators_is_answered_or_refused(store: Store) -> None:
    """How deep a text of JSON may be is Python's own bound, and another one since 3.12."""
    try:
        assert store.query("SELECT " + "+".join(["1"] * 900)).rows == [(900,)]
    except QueryRefused as error:
        assert error.why == "it is nested too deeply"


def test_columns_of_the_views_are_contract(store: Store) -> None:
    columns = {view: store.query(f"SELECT * FROM {view} LIMIT 0").columns for view in ("points", "params", "scores", "trials")}
    assert columns["points"] == (*("run", "project", "algo", "impl", "env", "seed", "metric", "kind", "step", "time_s", "value"),)
    assert columns["params"] == ("run", "key", "value", "number")
    assert columns["scores"] == ("run", "metric", "rule", "step", "value")
    assert columns["trials"] == ("study", "number", "state", "value", "params")


def test_scores_follow_the_points(store: Store) -> None:
    rows = dict(store.query("SELECT rule, value FROM scores").rows)
    assert rows == {"last": 49.0, "mean": 24.5, "final:10%": 47.0}  # steps 46,000 to 50,000 are the last tenth


def test_no_table_function_of_duckdb_reads_another_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,b\nCANARY,2\n")
    pq.write_table(pa.table({"x": ["CANARY"]}), tmp_path / "secret.parquet")
    with closing(duckdb.connect()) as con:
        found = con.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type LIKE 'table%' ORDER BY 1")
        names = [name for (name,) in found.fetchall()]
    assert len(names) > 50
    for name in names:
        if name not in TABLE_FUNCTIONS and not name.startswith(DESCRIBING):
            with pytest.raises(QueryRefused):
                check(f"SELECT * FROM {name}('x')")
    with store.reading(True) as con:  # the sandbox alone, without the check of what a statement is
        for name in names:
            for word in ("secret.csv", "secret.parquet", "*"):
                try:
                    answer = con.execute(f"SELECT * FROM {name}('{tmp_path}/{word}') LIMIT 3").fetchall()
                except duckdb.Error:
                    continue
                assert "CANARY" not in str(answer) and "secret" not in str(answer), name


def test_an_answer_that_would_not_fit_in_memory_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openrlb.store.sandbox.MAX_ANSWER_BYTES", 2**20)
    assert len(store.query("SELECT range FROM range(10000)").rows) == 10_000
    for sql in ("SELECT range FROM range(100000)", "SELECT repeat('x', 2000000)", "SELECT range(2000000)"):
        with pytest.raises(QueryRefused, match="the answer is too large"):
            store.query(sql)
