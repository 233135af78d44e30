"""A server that is locked, full, slow or refuses costs no tile, and the run says what it misses."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import StateType

from flows.server import temporary_server
from somaflow.study import load_study
from tests.flows.conftest import Run
from tests.flows.full import small_server
from tests.flows.proxy import Proxy, Trouble, proxied
from tests.flows.served import connected
from tests.flows.troubled import N_SHARDS, begun, count_done, locked, tiles_done, use_stand_in

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.long]
PASSWORD = "somaflow:right"


@pytest.fixture(scope="module")
def prepared_study(
    synthetic_study: Path, tmp_path_factory: pytest.TempPathFactory, somaflow: Run
) -> Path:
    """A prepared study of small shards; not to be written to."""
    folder = tmp_path_factory.mktemp("prepared") / "study"
    shutil.copytree(synthetic_study, folder)
    use_stand_in(folder / "study.yaml")
    assert somaflow("run", "e0-prepare", folder / "study.yaml").returncode == 0
    return folder


@pytest.fixture
def study(prepared_study: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    shutil.copytree(prepared_study, tmp_path / "study")
    return tmp_path / "study" / "study.yaml"


@pytest.fixture
def proxy(api_url: str) -> Iterator[Proxy]:
    """In front of the session's server."""
    with proxied(api_url) as one:
        yield one


def assert_all_done_once(study: Path) -> None:
    """Every tile is in one shard."""
    tiles = tiles_done(study)
    assert N_SHARDS == len(tiles) == len(set(tiles))


def assert_rerun_has_nothing_to_do(study: Path, somaflow: Run) -> None:
    """With a server that is well, the next run ends well, and does no shard again."""
    again = somaflow("run", "e5-inference", study)
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"{N_SHARDS} of {N_SHARDS} shards done, 0 to do" in again.stderr


def test_locked_database_is_waited_for(
    study: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Another program holds the database for half a minute: the run ends well, and says so."""
    with temporary_server(tmp_path / "prefect") as settings:
        with begun("e5-inference", study, {**environment, **settings}) as run:
            run.await_shards(2)
            with locked(tmp_path / "prefect" / "prefect.db"):
                time.sleep(30)
            assert 0 == run.end(), run.printed[-3000:]
        with connected(settings["PREFECT_API_URL"]) as client:
            (seen,) = client.read_flow_runs()
    assert seen.state_type == StateType.COMPLETED
    assert_all_done_once(study)


def test_slow_server_that_also_hangs_is_waited_for(
    study: Path, environment: dict[str, str], proxy: Proxy
) -> None:
    """Each answer comes 2 seconds late, for 15 seconds none does: the run ends well."""
    proxy.trouble = Trouble(delay_s=2)
    with begun("e5-inference", study, {**environment, "PREFECT_API_URL": proxy.url}) as run:
        run.await_shards(2)
        proxy.trouble = Trouble(hangs=True)
        time.sleep(15)
        proxy.trouble = Trouble(delay_s=2)
        assert 0 == run.end(), run.printed[-3000:]
    assert_all_done_once(study)


def test_server_that_is_asked_too_much_is_waited_for(
    study: Path, environment: dict[str, str], proxy: Proxy
) -> None:
    """A limit of requests turns all away for 20 seconds: the run ends well."""
    with begun("e5-inference", study, {**environment, "PREFECT_API_URL": proxy.url}) as run:
        run.await_shards(2)
        proxy.trouble = Trouble(status=429)
        time.sleep(20)
        proxy.trouble = Trouble()
        assert 0 == run.end(), run.printed[-3000:]
    assert proxy.n_troubled > 0
    assert_all_done_once(study)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "it asks for another password (401); set PREFECT_API_AUTH_STRING"),
        (403, "it forbids that (403); ask who runs it"),
    ],
)
def test_server_that_begins_to_refuse_is_named(
    study: Path,
    environment: dict[str, str],
    proxy: Proxy,
    somaflow: Run,
    status: int,
    words: str,
) -> None:
    """Its password was changed, say: all shards are committed, and the cause is said last."""
    with begun("e5-inference", study, {**environment, "PREFECT_API_URL": proxy.url}) as run:
        run.await_shards(2)
        proxy.trouble = Trouble(status=status)
        assert 1 == run.end(), run.printed[-3000:]
    assert 1 == run.printed.count("does not hear of the progress")
    assert words in run.last_words
    assert_all_done_once(study)
    assert_rerun_has_nothing_to_do(study, somaflow)


def test_tasks_on_workers_outlive_a_server_that_is_away_for_a_while(
    study: Path, environment: dict[str, str], proxy: Proxy
) -> None:
    """A scoring that begins while a proxy says 503 goes on, and ends well when it is back."""
    with begun("e1-recipes", study, {**environment, "PREFECT_API_URL": proxy.url}) as run:
        run.await_(lambda: "The Dask dashboard" in run.printed)
        proxy.trouble = Trouble(status=503)
        run.await_(lambda: "Tiles scored: 100%" in run.printed)
        proxy.trouble = Trouble()
        assert 0 == run.end(), run.printed[-3000:]
    assert proxy.n_troubled > 0


def test_fine_tuning_goes_on_while_its_server_is_away(
    synthetic_study: Path,
    experiments: dict[str, dict[str, Any]],
    tmp_path: Path,
    environment: dict[str, str],
    proxy: Proxy,
    somaflow: Run,
) -> None:
    """It ends during the trouble, in one go; the run does once the server is back."""
    shutil.copytree(synthetic_study, tmp_path / "study")
    path = tmp_path / "study" / "study.yaml"
    settings = {**experiments["fine_tuning"]["settings"], "n_epochs": 20}
    tuning = {"recipes": ["generic"], "settings": settings, "checkpoint_minutes": 0.001}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"fine_tuning": tuning}))
    assert somaflow("run", "e0-prepare", path).returncode == 0
    checkpoints = load_study(path).output / "checkpoints"
    with begun("e1-recipes", path, {**environment, "PREFECT_API_URL": proxy.url}) as run:
        run.await_(lambda: any(checkpoints.glob("*/state.pt")))
        proxy.trouble = Trouble(hangs=True)
        run.await_(lambda: any(checkpoints.glob("*/training.json")))
        proxy.trouble = Trouble()
        assert 0 == run.end(), run.printed[-3000:]
    assert proxy.n_troubled > 0
    (record,) = checkpoints.glob("*/training.json")
    assert 0 == json.loads(record.read_text())["n_resumes"]


def test_disk_of_the_server_that_is_full_is_named(
    study: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """A wrong password begins nothing; a full disk stops no shard, and is named."""
    with small_server(tmp_path, PASSWORD) as server:
        api = {**environment, "PREFECT_API_URL": server.api_url}
        with begun("e5-inference", study, {**api, "PREFECT_API_AUTH_STRING": "a:b"}) as run:
            assert 1 == run.end()
        assert "it asks for another password (401)" in run.last_words
        assert "Traceback" not in run.printed
        assert 0 == count_done(study)
        api["PREFECT_API_AUTH_STRING"] = PASSWORD
        with begun("e5-inference", study, api) as run:
            run.await_shards(2)
            server.fill()
            assert 1 == run.end(), run.printed[-3000:]
        assert "it fails (500); look into its log" in run.last_words
        assert_all_done_once(study)
        server.free()
        with begun("e5-inference", study, api) as run:
            assert 0 == run.end(), run.printed[-3000:]
        assert f"{N_SHARDS} of {N_SHARDS} shards done, 0 to do" in run.printed
