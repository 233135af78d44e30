"""Where the time went, and what would help, as a reader sees it."""

import re

import pytest

from somaflow import timing
from somaflow.engine import Profile
from somaflow.engine.profile import COMMIT, DEVICE_NET, DEVICE_OBJECTS, LOAD, Stopwatch
from somaflow.timing import CHECK, NET, READ, collect, stage


def make_profile(net_s: float, waits_s: float) -> Profile:
    """A shard of 100 tiles in 10 s by 4 workers around one net."""
    return Profile(
        n_tiles=100,
        wall_s=10.0,
        worker_s=40.0,
        stages={READ: 2.0, NET: waits_s, CHECK: 5.0, COMMIT: 0.5},
        device={DEVICE_NET: net_s, DEVICE_OBJECTS: 1.0},
    )


def test_table_accounts_for_all_of_the_workers_time() -> None:
    """What no stage took is idle; shares are of the time of all workers."""
    table = make_profile(9.0, 20.0).table().set_index("stage")

    assert 12.5 == table.seconds["idle"]
    workers = table.drop([DEVICE_NET, DEVICE_OBJECTS])
    assert 40.0 == workers.seconds.sum()
    assert 100.0 == pytest.approx(workers.share_percent.sum(), abs=0.3)  # each is rounded
    assert (20.0, 5.0) == (table.ms_a_tile[READ], table.share_percent[READ])
    assert "waiting for the shared net" == table.what[NET]
    assert 90.0 == table.share_percent[DEVICE_NET]


@pytest.mark.parametrize(
    ("net_s", "waits_s", "expected"),
    [
        (9.3, 30.0, "The net bounds it: its device is busy 93% of the time."),
        (
            4.0,
            2.0,
            "The workers bound it: .* busy 40% .* wait for it 5% .* give the job more cores",
        ),
        (4.0, 20.0, "shards may be too small to fill the device; raise shard_tiles"),
    ],
)
def test_sentence_says_what_bounds_it(net_s: float, waits_s: float, expected: str) -> None:
    """The device if it is busy, the workers if they never wait, else too little at once."""
    assert re.search(expected, make_profile(net_s, waits_s).bound())


def test_on_a_cpu_the_longest_stage_bounds_it() -> None:
    """Loading the model counts too, where little else was done."""
    profile = Profile(2, 4.0, 4.0, {LOAD: 0.5, NET: 2.0, CHECK: 1.0})

    expected = "Most goes to net, crops cut, seen and averaged: 50% of the workers' time."
    assert expected == profile.bound()


def test_profiles_of_shards_add_up() -> None:
    """The profile of a run is the sum of those of its shards, notes named once."""
    total, shard = Profile(), make_profile(9.0, 20.0)
    shard.notes.add("the net is not compiled")
    total.add(shard)
    total.add(shard)

    assert (200, 20.0, 18.0) == (total.n_tiles, total.wall_s, total.device[DEVICE_NET])
    assert ["the net is not compiled"] == sorted(total.notes)
    assert 1 == total.describe().count("the net is not compiled")


def test_nothing_done_is_said() -> None:
    """A run with nothing to do has no table of zeros divided by zero."""
    assert "Nothing was segmented." in Profile().describe()


def test_stage_within_a_stage_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer one is given what the inner ones leave."""
    now = 0.0
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    with collect() as seconds, stage("outer"):
        now += 1
        for spent in (10, 20):
            with stage("inner"):
                now += spent
        now += 2
    assert {"outer": 3, "inner": 30} == seconds


def test_nothing_is_counted_where_nobody_asks() -> None:
    """A library's user pays nothing for it."""
    with stage("alone"):
        pass
    with collect() as seconds:
        pass
    assert {} == seconds


def test_time_of_overlapping_shards_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second shard begins before the first one ends: together they take what passed."""
    clock = iter([10.0, 16.0, 30.0])
    monkeypatch.setattr("somaflow.engine.profile.time.perf_counter", lambda: next(clock))
    watch, net = Stopwatch(), DEVICE_NET

    assert (10.0, {net: 7.0}) == watch.lap(0.0, {net: 1.0}, {net: 8.0})
    assert (6.0, {net: 5.0}) == watch.lap(8.0, {net: 6.0}, {net: 13.0})
    # The next one begins later, and what the net did in between was for no shard.
    assert (10.0, {net: 4.0}) == watch.lap(20.0, {net: 15.0}, {net: 19.0})
