"""From an upload to a prepared data set: whole, deterministic, and nothing of what was taken out in any file of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from finetune.data import room
from finetune.data.errors import DatasetRefused, NoRoom
from finetune.data.limits import Limits
from finetune.data.prepare import Prepared, prepare
from finetune.data.python_syntax import parses
from finetune.data.validate import check_quickly
from tests.finetune.data.archives import code, tar_gz, zipped

SECRET = b"a key of the appliance"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq8c4Kk1dOq8jQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1Q3\n"
    "wq2H2bTq2bQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1Q3wq2H2bTq2bQkM0S2f5p1\n-----END RSA PRIVATE KEY-----"
)
# kind of secret -> how it is written, what of it may appear nowhere
PLANTED = {
    "aws": ("AKIA4SZHNXMPQ7RTWVUB", "AKIA4SZHNXMPQ7RTWVUB"),
    "github": ("ghp_1234567890abcdefghijABCDEFGHIJ123456", "ghp_1234567890abcdefghijABCDEFGHIJ123456"),
    "slack": ("xoxb-123456789012-1234567890123-abcdefghijklmnopqrstuvwx", "xoxb-123456789012"),
    "stripe": ("sk_live_4eC39HqLyjWDarjtT1zdp7dcAbCdEf12", "4eC39HqLyjWDarjtT1zdp7dc"),
    "aliyun": ("LTAI5tKjdhfgKJHGkjh23kjh", "LTAI5tKjdhfgKJHGkjh23kjh"),
    "tencent": ("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA"),
    "connection": ("postgres://bob:s3cr3tPass@db/x", "s3cr3tPass"),
    "bearer": ("Authorization: Bearer 0a1b2c3d4e5f60718293", "0a1b2c3d4e5f60718293"),
    "private_key": (PEM, "MIIEpAIBAAKCAQEA7bq8c4Kk1dOq"),
    "email": ("bob.smith@corp.cn", "bob.smith"),
    "ipv4": ("10.23.45.67", "10.23.45.67"),
    "ipv6": ("2400:3200:abcd::17", "2400:3200"),
    "phone": ("13812345678", "13812345678"),
    "resident_id": ("11010519491231002X", "11010519491231002X"),
    "bank_card": ("4111111111111111", "4111111111111111"),
    "company_code": ("91110000600037341L", "91110000600037341L"),
}


def test_a_disk_that_would_be_too_full_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, upload = tmp_path / "out", all_kinds(tmp_path)
    with pytest.raises(NoRoom):
        prepare(upload, "code.tar.gz", out, SECRET, limits=Limits(free_bytes=1 << 60))
    looks: list[Path] = []
    monkeypatch.setattr(room, "LOOK_EVERY_BYTES", 1000)
    monkeypatch.setattr(
        room.shutil, "disk_usage", lambda folder: looks.append(folder) or Free(10 if len(looks) > 2 else 90)
    )
    with pytest.raises(NoRoom):
        prepare(upload, "code.tar.gz", out, SECRET, limits=Limits(free_bytes=50))
    assert looks == [out] * 3
    assert list(out.iterdir()) == []


class Free(NamedTuple):
    """What a disk has left."""

    free: int


def module(name: str, value: str) -> str:
    return code(name) + f'\nVALUE = """\n{value}\n"""\npassword = "Tr0ub4dor-{name}"\n'


def all_kinds(tmp_path: Path) -> Path:
    files = {f"src/{kind}.py": module(kind, written) for kind, (written, _) in PLANTED.items()}
    files["home/bob.smith@corp.cn/notes.py"] = code("notes") + '# again: "Tr0ub4dor-aws"\n'
    return tar_gz(tmp_path / "upload", files)


def jsonl(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "upload"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare(all_kinds(tmp_path), "code.tar.gz", tmp_path / "out", SECRET)


def test_no_planted_secret_is_in_any_file_of_the_data_set(tmp_path: Path, prepared: Prepared) -> None:
    assert len(PLANTED) >= 12
    assert prepared.rows == len(PLANTED) + 1
    needles = [needle for _, needle in PLANTED.values()] + ["Tr0ub4dor"]
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [path.name for path in files] == [
        "clusters.txt",
        "manifest.json",
        "planted.json",
        "report.html",
        "report.json",
        "rows.jsonl",
    ]
    for path in files:
        content = path.read_text()
        assert [needle for needle in needles if needle in content] == [], path.name


def test_every_python_file_parses_after_cleaning(tmp_path: Path, prepared: Prepared) -> None:
    assert prepared.report["left_out_by_cleaning"] == {}
    assert all(parses(str(row["text"])) for row in rows_of(tmp_path / "out"))


def test_a_value_has_the_same_name_in_every_row_and_path(tmp_path: Path, prepared: Prepared) -> None:
    del prepared
    rows = {str(row["path"]): str(row["text"]) for row in rows_of(tmp_path / "out")}
    (email,) = re.findall(r"REDACTED_EMAIL_\d+", rows["src/email.py"])
    (password,) = re.findall(r'password = "(\w+)"', rows["src/aws.py"])
    assert f"home/{email}/notes.py" in rows
    assert f'# again: "{password}"' in rows[f"home/{email}/notes.py"]


def test_planted_values_are_remembered_by_keyed_digest_only(tmp_path: Path, prepared: Prepared) -> None:
    del prepared
    planted = {entry["digest"]: entry for entry in json.loads((tmp_path / "out/planted.json").read_text())}
    for value in ("AKIA4SZHNXMPQ7RTWVUB", "s3cr3tPass", "bob.smith@corp.cn", "Tr0ub4dor-aws"):
        entry = planted[hmac.new(SECRET, value.encode(), hashlib.sha256).hexdigest()]
        assert entry["length"] == len(value)
        assert 0 < len(entry["context"]) <= 200
        assert set(entry) == {"digest", "length", "rule", "context"}
    (phone,) = [entry for entry in planted.values() if entry["rule"] == "phone"]
    assert phone["context"].endswith('VALUE = """\n')


def test_at_most_200_planted_values_are_kept_evenly_chosen(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "answer": f"write to user{n:03d}@corp.cn"} for n in range(450)]
    prepare(jsonl(tmp_path, *rows), "a.jsonl", tmp_path / "out", SECRET)
    planted = json.loads((tmp_path / "out/planted.json").read_text())
    assert len(planted) == 200
    digests = [hmac.new(SECRET, f"user{n:03d}@corp.cn".encode(), hashlib.sha256).hexdigest() for n in range(450)]
    places = [digests.index(entry["digest"]) for entry in planted]
    assert {after - before for before, after in pairwise(places)} == {2, 3}


def test_the_same_input_gives_the_same_files_in_another_process(tmp_path: Path, prepared: Prepared) -> None:
    (tmp_path / "key").write_bytes(SECRET + b"\n")
    done = run(tmp_path, "code.tar.gz")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"event": "prepared", "kind": "text", "rows": prepared.rows, "digest": prepared.digest}
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def run(tmp_path: Path, filename: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "finetune.data", str(tmp_path / "upload"), "--filename", filename]
    argv += ["--out", str(tmp_path / "again"), "--secret-file", str(tmp_path / "key")]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_command_reports_a_refusal_with_its_faults(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(SECRET)
    jsonl(tmp_path, {"question": "q"})
    done = run(tmp_path, "a.jsonl")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"event": "refused", "faults": ["line 1: answer is missing"]}
    (tmp_path / "key").write_bytes(b"\n")
    assert run(tmp_path, "a.jsonl").returncode == 2


def test_the_digest_and_the_manifest_are_those_of_the_files(tmp_path: Path, prepared: Prepared) -> None:
    out = tmp_path / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["digest"] == prepared.digest == hashlib.sha256((out / "rows.jsonl").read_bytes()).hexdigest()
    assert (manifest["kind"], manifest["rows"]) == ("text", prepared.rows)
    for file in manifest["files"]:
        content = (out / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"])
    assert json.loads((out / "report.json").read_text()) == prepared.report


def test_chat_rows_keep_near_duplicates_and_lose_exact_ones(tmp_path: Path) -> None:
    story = " ".join(f"word{number}" for number in range(200))
    rows = [
        {"question": story, "answer": "yes"},
        {"question": story, "answer": "no"},
        {"question": story, "answer": "yes", "id": 7},
    ]
    found = prepare(jsonl(tmp_path, *rows), "a.jsonl", tmp_path / "out", SECRET)
    assert (found.kind, found.rows) == ("chat", 2)
    assert found.report["duplicates"] == {"exact_dropped": 1, "near": 1, "near_dropped": 0, "near_threshold": 0.85}
    assert found.report["rows"] == {"read": 3, "kept": 2, "ignored_fields": 1}
    assert rows_of(tmp_path / "out")[0] == {
        "messages": [{"role": "user", "content": story}, {"role": "assistant", "content": "yes"}]
    }


def test_source_files_lose_near_duplicates_and_what_the_filters_object_to(tmp_path: Path) -> None:
    long = "".join(code(f"part{number}", number) for number in range(12))
    files = {
        "a.py": long,
        "b.py": long + "# the end\n",
        "c.py": long,
        "e.py": " ",
        "f.json": "{}x",
        "g.bin": b"\0",
        "h.py": code("h"),
    }
    found = prepare(zipped(tmp_path / "upload", files), "a.zip", tmp_path / "out", SECRET)
    assert [row["path"] for row in rows_of(tmp_path / "out")] == ["a.py", "h.py"]
    assert found.report["duplicates"]["exact_dropped"] == found.report["duplicates"]["near_dropped"] == 1
    assert found.report["filters"]["empty"] == {"in": 6, "kept": 5, "dropped": {"the file is empty or blank": 1}}
    assert sum(sum(entry["dropped"].values()) for entry in found.report["filters"].values()) == 2
    assert found.report["skipped"] == {"binary": 1}


def test_the_report_counts_by_file_and_by_rule(tmp_path: Path) -> None:
    files = {
        "a.py": "# Author: Jane Doe <jane@firma.de>\n# Copyright 2020 Jane Doe\n" + code("a"),
        "b.py": code("b", 3),
        "c.py": "# mail jane@firma.de\n" + code("c", 5),
    }
    found = prepare(zipped(tmp_path / "upload", files), "a.zip", tmp_path / "out", SECRET)
    assert found.report["replaced_by_file"] == [
        {"name": "a.py", "replacements": 3, "rules": {"email": 1, "person_name": 2}},
        {"name": "c.py", "replacements": 1, "rules": {"email": 1}},
        {"name": "1 files without any", "replacements": 0, "rules": {}},
    ]
    assert found.report["replacements"]["person_name"] == {"replacements": 2, "distinct": 1}
    assert "Replaced, by file" in (tmp_path / "out" / "report.html").read_text()


def test_filters_do_not_judge_chats(tmp_path: Path) -> None:
    found = prepare(jsonl(tmp_path, {"question": "1+1", "answer": "2"}), "a.jsonl", tmp_path / "out", SECRET)
    assert found.rows == 1
    assert found.report["filters"] == {}


def test_samples_show_cleaned_text_around_each_rule(prepared: Prepared) -> None:
    samples = prepared.report["samples"]
    assert 10 < len(samples) <= 20
    assert all(sample["placeholder"] in sample["text"] for sample in samples)
    assert {sample["rule"] for sample in samples} >= {"email", "phone", "private_key", "connection_string"}
    assert 0 < len(prepared.report["residual"]) <= 20
    assert prepared.report["replacements"]["email"] == {"replacements": 2, "distinct": 1}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_report_page_escapes_what_people_wrote_and_has_no_scripts(tmp_path: Path) -> None:
    attack = "</pre><script>alert(1)</script><img src=x onerror=y> mail a@corp.cn"
    source = jsonl(tmp_path, {"question": attack, "answer": attack})
    prepare(source, "<b>x</b>.jsonl", tmp_path / "out", SECRET)
    page = _Tags()
    page.feed((tmp_path / "out/report.html").read_text())
    assert {"script", "img", "b"}.isdisjoint(page.tags)
    assert set(page.attributes) <= {"lang", "charset", "class"}


def test_all_faults_are_told_up_to_a_hundred_and_no_value_is(tmp_path: Path) -> None:
    rows = [{"question": "hunter2-secret", "answer": ""} for _ in range(150)]
    with pytest.raises(DatasetRefused) as caught:
        prepare(jsonl(tmp_path, *rows), "a.jsonl", tmp_path / "out", SECRET)
    assert len(caught.value.faults) == 100
    assert caught.value.faults[99] == "line 100: answer is empty"
    assert "hunter2" not in str(caught.value)
    assert (caught.value.code, caught.value.permanent) == ("invalid_training_file", True)


def test_a_refusal_leaves_no_file_and_no_older_manifest(tmp_path: Path) -> None:
    prepare(jsonl(tmp_path, {"question": "q", "answer": "a"}), "a.jsonl", tmp_path / "out", SECRET)
    with pytest.raises(DatasetRefused):
        prepare(jsonl(tmp_path, {"question": "q"}), "a.jsonl", tmp_path / "out", SECRET)
    assert not (tmp_path / "out/manifest.json").exists()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_an_upload_with_nothing_to_train_on_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match="1 x the file is empty or blank, 1 x binary"):
        prepare(tar_gz(tmp_path / "upload", {"a.py": "", "b": b"\0"}), "a.tgz", tmp_path / "out", SECRET)


def test_a_python_file_that_cleaning_would_break_is_left_out(tmp_path: Path) -> None:
    odd = (
        code("odd")
        + "\nweights = a @ b.com\nprint(x@y.com.z, 1 if x@y.com else 2)\nhost = {1: 2}[1] if bob@corp.cn.real else 0\n"
    )
    files = {"odd.py": odd, "fine.py": code("fine")}
    found = prepare(tar_gz(tmp_path / "upload", files), "a.tgz", tmp_path / "out", SECRET)
    assert all(parses(str(row["text"])) for row in rows_of(tmp_path / "out"))
    assert found.rows + sum(found.report["left_out_by_cleaning"].values()) == 2


@pytest.mark.parametrize(
    ("filename", "content", "says"),
    [
        ("a.txt", b"x", "must end in one of .jsonl, .tar.gz, .tgz, .zip"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b"\n\n", "the file holds no row"),
        ("a.jsonl", b"{}\n", "line 1: the row needs exactly one of"),
        ("a.zip", b"\x1f\x8b....", "isn't a .zip archive"),
        ("a.tar.gz", b"PK\3\4....", "isn't a .tar.gz archive"),
        ("a.jsonl", b"x" * 2000, "at most 1000 are accepted"),
    ],
)
def test_the_quick_check_names_what_prepare_would_refuse(
    tmp_path: Path, filename: str, content: bytes, says: str
) -> None:
    source = tmp_path / "upload"
    source.write_bytes(content)
    (fault,) = check_quickly(source, filename, Limits(source_bytes=1000))
    assert says in fault
    if filename != "a.jsonl" or content.strip():
        with pytest.raises(DatasetRefused, match=re.escape(says)):
            prepare(source, filename, tmp_path / "out", SECRET, limits=Limits(source_bytes=1000))


def test_the_quick_check_passes_good_files_and_names_hostile_members(tmp_path: Path) -> None:
    assert check_quickly(jsonl(tmp_path, {"question": "q", "answer": "a"}), "a.jsonl") == []
    assert check_quickly(tar_gz(tmp_path / "upload", {"a.py": code("a")}), "a.tgz") == []
    (fault,) = check_quickly(zipped(tmp_path / "upload", {"../a.py": "x"}), "a.zip")
    assert "'../a.py'" in fault
