"""What the pool says of adapters is over there before the request that needs it."""

import asyncio

import msgspec
import pytest

from inference.pool.ray import wish


class Far:
    """The other side: answers, or with `silent` does not."""

    def __init__(self, place):
        self.heard, self.silent = [], False
        self.courier = wish.Courier(place, self.hear)

    def hear(self, what):
        self.heard.append(what["adapters"])
        if not self.silent:
            asyncio.get_running_loop().call_soon(self.courier.arrived, what["number"])


def write(place, *names):
    place.with_suffix(".new").write_bytes(msgspec.json.encode({"adapters": names}))
    place.with_suffix(".new").replace(place)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "adapters.json"


def test_it_is_brought_once_and_again_when_it_is_another(place):
    async def talk():
        far = Far(place)
        await far.courier.bring()
        assert far.heard == []
        write(place, "a")
        await asyncio.gather(*(far.courier.bring() for _ in range(9)))
        write(place, "a", "b")
        await far.courier.bring()
        await far.courier.bring()
        assert far.heard == [{"adapters": ["a"]}, {"adapters": ["a", "b"]}]

    asyncio.run(talk())


def test_one_that_does_not_answer_holds_up_nobody_for_long_and_is_told_again(place, monkeypatch):
    monkeypatch.setattr(wish, "ARRIVE_S", 0.05)

    async def talk():
        far = Far(place)
        far.silent = True
        write(place, "a")
        await far.courier.bring()
        assert len(far.heard) == 1
        far.courier.arrived(99)  # of nothing that was asked
        far.silent = False
        async with asyncio.timeout(20):
            while len(far.heard) == 1:
                await far.courier.bring()
                await asyncio.sleep(0.01)
        await far.courier.bring()
        assert len(far.heard) == 2

    asyncio.run(talk())


def test_a_file_that_is_no_json_is_not_brought(place):
    place.write_text("{")
    far = Far(place)
    asyncio.run(far.courier.bring())
    assert far.heard == []
