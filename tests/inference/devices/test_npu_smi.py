"""npu-smi's pages, as several releases print them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.devices.errors import ToolFailed
from inference.devices.groups import named_groups
from inference.devices.info import DeviceProcess
from inference.devices.npu_smi import (
    MIB,
    parse_health,
    parse_links,
    parse_mapping,
    parse_processes,
    parse_table,
    parse_usages,
)
from tests.fakes.npu_smi import RECORDED, recorded


def test_every_recorded_output_names_where_it_is_from():
    for path in RECORDED.iterdir():
        assert path.read_text().startswith(("# Source: ", "# Made by hand")), path.name


@pytest.mark.parametrize(
    ("name", "chips", "first"),
    [
        ("info-24.1.rc1-8x910b3.txt", 8, (0, 0, None, "910B3", "OK", 101.8, 43, 0.0, 3318, 65536)),
        ("info-25.5.1-910b3-with-process.txt", 2, (0, 0, None, "910B3", "OK", 102.8, 45, 0.0, 3445, 65536)),
        ("info-24.1.1-910b4.txt", 2, (0, 0, None, "910B4", "OK", 88.2, 30, 0.0, 26838, 32768)),
        ("info-26.0.rc2-two-chips.txt", 3, (0, 0, 0, "Ascend910", "OK", 162.6, 34, 0.0, 3419, 65536)),
        ("info-25.2.0-310p3-two-chips.txt", 2, (2, 0, 0, "310P3", "OK", None, 45, 0.0, 1529, 44280)),
        ("info-22.0.0-310p3.txt", 1, (0, 0, 0, "310P3", "OK", 16.2, 42, 0.0, 994, 21534)),
        ("info-24.1.0-910prob.txt", 2, (0, 0, None, "910ProB", "OK", 78.0, 38, 0.0, 18, 32768)),
        ("info-in-chinese.txt", 1, (0, 0, None, "910B3", "正常", 102.8, 45, 0.03, 3445, 65536)),
    ],
)
def test_it_reads_the_table_of_each_release(name, chips, first):
    rows = parse_table(recorded(name)).chips
    assert len(rows) == chips
    row = rows[0]
    used, total = row.memory_used_bytes // MIB, row.memory_bytes // MIB
    told = (row.card, row.chip, row.number, row.name, row.health, row.power_w, row.temperature_c, row.utilisation)
    assert (*told, used, total) == first


def test_it_reads_the_second_chip_of_a_card():
    second, last = parse_table(recorded("info-26.0.rc2-two-chips.txt")).chips[1:]
    assert (second.card, second.chip, second.number, second.power_w) == (0, 1, 1, None)
    assert (last.card, last.chip, last.number, last.memory_used_bytes) == (7, 1, 15, 31877 * MIB)


def test_it_reads_processes_out_of_the_table():
    table = parse_table(recorded("info-25.5.1-910b3-with-process.txt"))
    assert table.processes == {(5, 0): [DeviceProcess(2290156, "VLLMEngineCore", 56630 * MIB)]}
    table = parse_table(recorded("info-26.0.rc2-two-chips.txt"))
    assert table.processes == {(0, 0): [DeviceProcess(632268, "python3.1", 197 * MIB)]}
    assert parse_table(recorded("info-24.1.rc1-8x910b3.txt")).processes is None, "there is no such table"
    assert parse_table(recorded("info-in-chinese.txt")).processes == {
        (0, 0): [DeviceProcess(4711, "python3", 100 * MIB)]
    }


def test_it_keeps_what_an_ill_card_does_not_tell_apart():
    alarm, warning, silent, mute = parse_table(recorded("info-ill.txt")).chips
    assert alarm.health == "Alarm"
    assert (warning.power_w, warning.temperature_c, warning.utilisation) == (None, None, None)
    assert (silent.card, silent.health, silent.memory_bytes) == (2, "UNKNOWN, without readings", None)
    assert (mute.health, mute.memory_bytes, mute.memory_used_bytes) == ("OK", None, None)


@pytest.mark.parametrize(
    "text", ["", "dcmi model initialized failed. ret is -8005", "| 0  910B3 | OK | 1 2 |", "+--+\n+--+"]
)
def test_it_refuses_what_is_no_table(text):
    with pytest.raises(ToolFailed):
        parse_table(text)


@given(st.integers(0, 4000))
def test_a_table_that_is_cut_off_is_refused_or_ends_with_a_whole_row(length):
    whole = parse_table(recorded("info-24.1.rc1-8x910b3.txt")).chips
    cut = recorded("info-24.1.rc1-8x910b3.txt")[:length]
    try:
        rows = parse_table(cut).chips
    except ToolFailed:
        return
    assert rows == whole[: len(rows)]


@given(st.text(alphabet=st.sampled_from("|+-= 0123456789:.AN/Kx\n"), max_size=300))
def test_it_reads_or_refuses_any_text(text):
    with contextlib.suppress(ToolFailed):
        assert parse_table(text).chips
    for parse in (parse_links, parse_mapping, parse_usages, parse_processes, parse_health):
        parse(text)


def test_it_reads_which_chip_has_which_number():
    assert parse_mapping(recorded("mapping-910b3.txt")) == {(0, 0): 0, (1, 0): 1}
    assert parse_mapping(recorded("mapping-two-chips.txt")) == {(0, 0): 0, (0, 1): 1, (7, 1): 15}


def test_it_finds_groups_of_linked_cards():
    links = parse_links(recorded("topo-8x910b3.txt"))
    assert named_groups(range(8), links) == dict.fromkeys(range(8), "hccs-0")
    links = parse_links(recorded("topo-two-groups.txt"))
    assert named_groups(range(7), links) == {
        **{0: "hccs-0", 1: "hccs-0", 2: "hccs-1", 3: "hccs-1"},
        **{4: "pcie-0", 5: "pcie-0", 6: ""},
    }


def test_it_reads_the_pages_of_single_chips():
    assert parse_health(recorded("health-ok.txt")) == ""
    assert parse_health(recorded("health-warning.txt")) == "80E01801 node type=SOC, sensor type=Temperature"
    assert parse_processes(recorded("proc-mem-910b.txt")) == [DeviceProcess(1654497, "python", 177 * MIB)]
    assert parse_processes("        No process in device.\n        Chip ID : 0\n") == []
    usage = parse_usages(recorded("usages-910b.txt"))
    assert (usage.memory_bytes, usage.memory_share, usage.utilisation) == (65536 * MIB, 0.05, 0.0)
