"""Two balancers get and renew their certificates beside each other, by one name and one address, and visitors
come meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import certificates
import galera
import pytest
from certificates import SITE, Authority, Certbot, ended
from checker import judge
from fleets import Fleet
from people import Mix, Visitor, arrivals
from test_fleet import CALM, SESSIONS, everywhere, settle

from builder.fleet import status

NEEDS = certificates.NEEDS
Visited = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def authority(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    """Whom the fleet's visitors trust, too, until the end."""
    if not fleet.ground.net:
        pytest.skip("of processes none has an address that moves")
    folder = tmp_path_factory.mktemp("authority")
    made, before = Authority(folder / "pebble", fleet.ground.join()), fleet.authority
    served = {
        one.told.folder / "site.pem": (one.told.folder / "site.pem").read_bytes() for one in fleet.balancers
    }
    try:
        made.start(fleet.site)
        fleet.authority = folder / "trust.pem"
        fleet.authority.write_text(before.read_text() + made.root())
        yield made
    finally:
        made.kill()
        fleet.authority = before
        for path, content in served.items():
            path.write_bytes(content)
        for one in fleet.balancers:
            one.reload()
        galera.wait_until("the site answers", fleet.answers)


@pytest.fixture(scope="module")
def certbots(
    fleet: Fleet, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> "dict[str, Certbot]":
    """Of each balancer, by its name."""
    return {
        one.told.machine.name: Certbot(one, tmp_path_factory.mktemp("certbot"), authority)
        for one in fleet.balancers
    }


@pytest.fixture
def pair(fleet: Fleet, certbots: "dict[str, Certbot]") -> list[Certbot]:
    """Of the balancer that has the address, and of the one that stands by."""
    settle(fleet)
    leads = certbots[fleet.leading().told.machine.name]
    return [leads, *(one for one in certbots.values() if one is not leads)]


@pytest.fixture
def certified(pair: list[Certbot]) -> list[Certbot]:
    """As ``pair``: each has its certificate."""
    for one in pair:
        if not one.has_one:
            assert ended(one.asks()) == [(0, "")]
    return pair


@pytest.fixture
def visited(fleet: Fleet, record_property: Callable[[str, object], None]) -> Visited:
    @contextmanager
    def visited(what: str) -> Iterator[None]:
        """Visitors come all the time, and none of them in vain. :param what: is done meanwhile."""
        before = {*everywhere(fleet)}
        mix = Mix([fleet.site], fleet.people(SESSIONS), fleet.authority)
        visitor = Visitor([fleet.site], fleet.authority)
        visitor.log_in(*fleet.people(1))
        with arrivals(visitor) as visits, mix.beside():
            time.sleep(CALM)
            began = time.monotonic()
            yield
            took = time.monotonic() - began
            time.sleep(CALM)
        verdict = judge(mix.writes, [body for body in everywhere(fleet) if body not in before])
        failed = [[one for one in asked if one.failed] for asked in (mix.requests, visits)]
        row = {"meanwhile": what, "seconds": round(took)}
        for who, asked, vain in zip(
            ("eight people", "arrivals"), (mix.requests, visits), failed, strict=True
        ):
            row |= {f"{who}: failed": f"{len(vain)} of {len(asked):,}"}
        record_property("table: certificates", row)
        assert failed == [[], []]
        assert verdict.good, verdict

    return visited


def is_shown(fleet: Fleet, one: Certbot, before: str) -> None:
    """Wait until visitors are shown another one: HAProxy's worker from before answers for a moment yet."""
    galera.wait_until("another one is shown", lambda: one.shows(fleet.authority) != before)
    # Who knows the authority, and asks by the name, is content.
    one.shows(fleet.authority, SITE)


def all_renew(fleet: Fleet, *some: Certbot) -> None:
    """At once."""
    before = [one.shows(fleet.authority) for one in some]
    assert ended(*[one.renews() for one in some]) == [(0, "")] * len(some)
    for one, shown in zip(some, before, strict=True):
        is_shown(fleet, one, shown)


@pytest.mark.thorough
def test_where_none_can_be_had_all_goes_on_and_the_log_says_what_to_do(
    fleet: Fleet, authority: Authority, pair: list[Certbot], visited: Visited
) -> None:
    before = [(one.shows(fleet.authority), one.served.read_bytes()) for one in pair]
    with visited("both ask, and the authority is away"), authority.away():
        found = ended(*[one.asks() for one in pair])
    for code, said in found:
        assert code == 1
        assert f"fleet-certificate: no certificate for {SITE}: " in said
        assert said.splitlines()[-1].startswith("Have its name lead to the balancers, and port 80 ")
    assert [(one.shows(fleet.authority), one.served.read_bytes()) for one in pair] == before


def test_both_ask_at_once_and_each_gets_one_of_its_own(
    fleet: Fleet, pair: list[Certbot], visited: Visited
) -> None:
    before = [one.shows(fleet.authority) for one in pair]
    with visited("both ask for their first one"):
        assert ended(*[one.asks() for one in pair]) == [(0, "")] * 2
        for one, shown in zip(pair, before, strict=True):
            is_shown(fleet, one, shown)
    # No key leaves its machine.
    assert len({one.served.read_text().partition("PRIVATE KEY")[2] for one in pair}) == 2
    assert [status._certificate("", one.one.told.machine, SITE) for one in pair] == ["", ""]
    # Asked again, as every half an hour: there it is.
    shown = [one.shows(fleet.authority) for one in pair]
    assert ended(*[one.asks() for one in pair]) == [(0, "")] * 2
    assert [one.shows(fleet.authority) for one in pair] == shown


@pytest.mark.parametrize(
    "who", ["both", *(pytest.param(who, marks=pytest.mark.thorough) for who in ("leads", "stands by"))]
)
def test_they_are_renewed(fleet: Fleet, certified: list[Certbot], visited: Visited, who: str) -> None:
    some = {"leads": certified[:1], "stands by": certified[1:], "both": certified}[who]
    with visited({"both": "both renew at once"}.get(who, f"the one that {who} renews")):
        all_renew(fleet, *some)


@pytest.mark.thorough
def test_an_authority_that_is_away_leaves_what_was_there(
    fleet: Fleet, authority: Authority, certified: list[Certbot], visited: Visited
) -> None:
    before = [(one.shows(fleet.authority), one.served.read_bytes()) for one in certified]
    with visited("both renew, and the authority is away"), authority.away():
        found = ended(*[one.renews() for one in certified])
    for code, said in found:
        assert code == 1
        assert f"Failed to renew certificate {SITE}" in said
    assert [(one.shows(fleet.authority), one.served.read_bytes()) for one in certified] == before
    all_renew(fleet, *certified)


@pytest.mark.thorough
def test_an_application_is_away(fleet: Fleet, certified: list[Certbot], visited: Visited) -> None:
    fleet.apps[1].kill()
    try:
        with visited("both renew, and one of two applications is away"):
            all_renew(fleet, *certified)
    finally:
        fleet.apps[1].start()


@pytest.mark.thorough
@pytest.mark.parametrize("silent", [False, True], ids=["its programs", "its machine"])
def test_the_balancer_that_stands_by_is_dead(
    fleet: Fleet, certified: list[Certbot], visited: Visited, silent: bool
) -> None:
    """Whose programs have ended refuses connections; whose machine is gone says nothing."""
    leads, other = certified
    other.one.kill()
    if silent:
        other.one.place.cut()
    try:
        with visited(
            f"the one that leads renews, and the other one {'says nothing' if silent else 'is dead'}"
        ):
            all_renew(fleet, leads)
    finally:
        if silent:
            other.one.place.mend()
        other.one.start()


@pytest.mark.thorough
def test_the_balancer_that_asks_is_cut_off(fleet: Fleet, certified: list[Certbot], visited: Visited) -> None:
    cut, other = certified
    before = [(one.shows(fleet.authority), one.served.read_bytes()) for one in certified]
    cut.one.place.cut()
    try:
        galera.wait_until(
            "the other one leads", lambda: other.one.has_address() and not cut.one.has_address()
        )
        with visited("the one that renews is cut off"):
            ((code, said),) = ended(cut.renews())
    finally:
        cut.one.place.mend()
    assert code == 1
    assert f"Failed to renew certificate {SITE}" in said
    settle(fleet)
    assert [(one.shows(fleet.authority), one.served.read_bytes()) for one in certified] == before
    with visited("it is back, and renews"):
        all_renew(fleet, cut)
