"""Groups of processes: what is added, sent and gathered, and where workers run."""

import math
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import d2l_ext
from d2l_ext.parallel import hosts, launch
from d2l_ext.parallel.group import GroupError

FLOATS = st.floats(-1e12, 1e12, allow_subnormal=False)


def in_threads(size, work, timeout=20.0):
    """Let members of a group of the reference work; return their results by rank."""
    addresses = [f"127.0.0.1:{port}" for port in hosts.free_ports("127.0.0.1", size)]
    found = {}

    def member(rank):
        with d2l_ext.backend("reference").join(rank, addresses, timeout=timeout) as group:
            found[rank] = work(group)

    threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    return [found[rank] for rank in range(size)]


def test_sums_are_in_the_order_of_the_ranks():
    parts = [np.array([1e16, 1.0]), np.array([1.0, 1e16]), np.array([-1e16, -1e16])]
    found = in_threads(3, lambda group: group.sum([parts[group.rank]]))
    for total in found:
        np.testing.assert_array_equal(total, (parts[0] + parts[1]) + parts[2])


def test_what_the_leader_sends_arrives_as_it_was():
    sent = {"a": np.array([0.1, -0.0, np.nan]), "b": [None, "é", -math.inf], "c": {"d": 3}}
    for found in in_threads(3, lambda group: group.send(sent if group.leads else None)):
        np.testing.assert_array_equal(found["a"], sent["a"])
        assert np.signbit(found["a"][1])
        assert (found["b"], found["c"]) == (sent["b"], sent["c"])


def test_everyone_gets_the_numbers_of_all():
    for found in in_threads(3, lambda group: group.gather(np.array([group.rank, 7.0]))):
        np.testing.assert_array_equal(found, [[0, 7], [1, 7], [2, 7]])


def test_a_group_of_one_is_alone():
    assert in_threads(1, lambda group: group.send([1]))[0] == [1]


def test_a_leader_that_is_not_there_is_an_error():
    (port,) = hosts.free_ports("127.0.0.1", 1)
    with pytest.raises(GroupError, match=f"process 1 of 2 cannot join: nobody .*:{port}"):
        d2l_ext.backend("reference").join(1, [f"127.0.0.1:{port}"] * 2, timeout=0.1)


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_is_one_of_the_addresses(rank):
    with pytest.raises(ValueError, match=f"rank: got {rank}, must be from 0 to 1"):
        d2l_ext.backend("reference").join(rank, ["127.0.0.1:1"] * 2)


@given(st.integers(1, 9), st.data())
def test_mxnet_adds_whole_numbers_that_float32_has(size, data):
    """The server is played by NumPy, in float32; the sum is as exact as float64 can say it."""
    parallel = pytest.importorskip("d2l_ext.mxnet.parallel")
    be = d2l_ext.backend("mxnet")
    vectors = [data.draw(hnp.arrays(np.float64, 3, elements=FLOATS)) for _ in range(size)]
    exponent = max(math.frexp(np.abs(vector).max())[1] for vector in vectors)
    bits = parallel.num_bits(size)
    sent = [be.numpy(parallel.pieces(be.array(vector), exponent, bits)) for vector in vectors]
    assert {x.dtype for x in sent} == {np.dtype("float32")}
    total = np.sum(sent, axis=0, dtype=np.float32)
    np.testing.assert_array_equal(total, np.sum(sent, axis=0, dtype=np.float64))
    found = be.numpy(parallel.joined(be.array(total), exponent, bits))
    exact = np.array([math.fsum(entries) for entries in zip(*vectors, strict=True)])
    lost = size * 2.0 ** (exponent - parallel.BITS)
    np.testing.assert_allclose(found, exact, rtol=2.0**-51, atol=lost)


def test_this_machine_is_told_from_others():
    assert hosts.is_here("127.0.0.1")
    assert not hosts.is_here("192.0.2.1")  # for documentation: nobody has it
    assert hosts.interface_of("127.0.0.1:80") == "lo"
    with pytest.raises(ValueError, match=r"address: got 192\.0\.2\.1:80, must be of"):
        hosts.interface_of("192.0.2.1:80")


def test_a_name_without_an_address_is_an_error(monkeypatch):
    def nowhere(name):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.gethostbyname", nowhere)
    with pytest.raises(ValueError, match="hosts: got 'nowhere', which has no address"):
        launch.plan(None, ["nowhere"], None)


def test_workers_are_where_their_hosts_are():
    found = launch.plan(None, ["192.0.2.1", "127.0.0.1", "127.0.0.1"], 300)
    assert found.here == [1, 2]
    assert found.addresses == ["192.0.2.1:301", "127.0.0.1:302", "127.0.0.1:303"]
    assert launch.plan(3, [], None).here == [0, 1, 2]


@pytest.mark.parametrize(
    ("workers", "given_hosts", "message"),
    [
        (3, ["127.0.0.1"] * 2, "workers: got 3, must be one for each of the 2 hosts"),
        (None, ["192.0.2.1"], r"hosts: got 192\.0\.2\.1, must have an address of this machine"),
    ],
)
def test_plans_that_cannot_be(workers, given_hosts, message):
    with pytest.raises(ValueError, match=message):
        launch.plan(workers, given_hosts, None)
