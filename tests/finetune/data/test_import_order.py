"""The order of a repository's files: after what they import, whatever order they came in, and whatever they are called."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.import_order import MOST_LEVELS
from finetune.data.imports import LANGUAGES, MOST_NAMES, names_in
from finetune.data.limits import DEFAULT, Limits
from finetune.data.prepare import prepare
from finetune.data.repository import Repository
from finetune.data.rows import TextRow
from tests.finetune.data.archives import code, tar_gz, zipped


def ordered(files: dict[str, str], most_bytes: int = DEFAULT.order_bytes) -> list[str]:
    """The paths in the order of the imports."""
    repository = Repository(most_bytes)
    for path, text in files.items():
        repository.see(TextRow(path, text), stays=True)
    order = repository.order()
    assert order is not None
    assert sorted(order) == list(range(len(files)))
    paths = list(files)
    return [paths[number] for number in order]


def shuffled(files: dict[str, str], seed: int) -> dict[str, str]:
    paths = list(files)
    random.Random(seed).shuffle(paths)
    return {path: files[path] for path in paths}


PYTHON = {
    "README.md": "how it is used",
    "app/main.py": "import os\nfrom shop import cart, pay as money\nimport shop.stock as stock\n",
    "src/shop/__init__.py": "",
    "src/shop/cart.py": "from .stock import (  # where things are\n    Stock,\n    left,\n)\nfrom . import pay\n",
    "src/shop/pay.py": "from ..missing import nothing\nfrom shop.tax.rates import RATE\n",
    "src/shop/stock.py": "import json, numpy\n",
    "src/shop/tax/rates.py": "RATE = 0.19\n",
}
JAVASCRIPT = {
    "web/App.tsx": "import { api } from './lib/api'\nexport * from \"./Button.js\"\nimport React from 'react'\n",
    "web/Button.tsx": "const shades = require('./theme')\nconst late = () => import('@/lib/late')\n",
    "web/lib/api.ts": "import type { Shape } from '../types.ts'\nimport '../../../../etc/passwd'\n",
    "web/lib/late.js": "export default 1\n",
    "web/theme/index.js": "export const dark = 1\n",
    "web/types.ts": "export type Shape = {}\n",
}
JAVA = {
    "src/main/java/a/App.java": "package a;\nimport a.core.Engine;\nimport static a.text.Words.join;\nimport java.util.*;\n",
    "src/main/java/a/core/Engine.java": "import a.parts.*;\nimport a.text.Words.Inner;\n",
    "src/main/java/a/parts/Wheel.java": "class Wheel {}\n",
    "src/main/java/a/parts/Bolt.java": "class Bolt {}\n",
    "src/main/java/a/text/Words.java": "class Words {}\n",
    "src/test/java/a/AnyTest.java": "import a.App;\n",
}
GO = {
    "cmd/main.go": 'package main\nimport (\n\t"fmt"\n\tstore "example.com/shop/internal/store"\n)\n',
    "go.mod": "module example.com/shop\n\ngo 1.22\n",
    "internal/store/a.go": 'package store\nimport "example.com/shop/internal/zip"\n',
    "internal/store/a_test.go": 'package store_test\nimport "example.com/shop/cmd"\n',
    "internal/store/b.go": "package store\n",
    "internal/zip/zip.go": "package zip\n",
}
C = {
    "app/main.c": '#include <stdio.h>\n#include "shape.h"\n#  include <shop/pay.h>\n#include "../app/local.h"\n',
    "app/local.h": "int local;\n",
    "lib/include/shape.h": '#include "zone.h"\n',
    "lib/include/zone.h": "int zone;\n",
    "lib/include/shop/pay.h": "int pay;\n",
    "lib/stdio.h": '#include "main.c"\n',
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (PYTHON, "README.md rates.py pay.py stock.py cart.py main.py __init__.py"),
        (JAVASCRIPT, "late.js index.js Button.tsx types.ts api.ts App.tsx"),
        (JAVA, "Words.java Bolt.java Wheel.java Engine.java App.java AnyTest.java"),
        (GO, "zip.go a.go b.go main.go go.mod a_test.go"),
        (C, "local.h zone.h shape.h pay.h main.c stdio.h"),
    ],
    ids=["python", "javascript", "java", "go", "c"],
)
def test_a_file_comes_after_those_it_imports(files: dict[str, str], expected: str) -> None:
    for seed in range(4):
        assert [path.rpartition("/")[2] for path in ordered(shuffled(files, seed))] == expected.split()


def test_files_without_imports_stand_by_path() -> None:
    files = dict.fromkeys(["z.txt", "b/a.py", "a.sql", "b.rs", "B.rb"], "words")
    assert ordered(files) == sorted(files)


def test_a_cycle_ends_at_the_file_that_is_first_by_path() -> None:
    files = {
        "a.py": "import b\n",
        "b.py": "import c\nimport free\n",
        "c.py": "import a\n",
        "free.py": "",
        "d.py": "import d\n",
    }
    for seed in range(6):
        assert ordered(shuffled(files, seed)) == ["c.py", "free.py", "b.py", "a.py", "d.py"]


def test_of_files_of_one_name_the_nearest_counts_and_of_far_ones_none() -> None:
    files = {
        "one/run.py": "import util\nfrom kit import tool\n",
        "one/zutil/util.py": "",
        "one/util.py": "",
        "util.py": "",
        "x/kit/tool.py": "",
        "y/kit/tool.py": "",
        "z/only/kind.py": "",
        "a.py": "import only.kind\nimport several.deep\n",
    }
    found = ordered(files)
    assert found == ["z/only/kind.py", "a.py", "one/util.py", "one/run.py", "one/zutil/util.py", "util.py", *found[-2:]]
    assert found[-2:] == ["x/kit/tool.py", "y/kit/tool.py"]


def test_a_go_mod_counts_even_where_it_does_not_stay() -> None:
    repository = Repository(DEFAULT.order_bytes)
    rows = [TextRow("svc/a/a.go", 'import "corp/x/z"\n'), TextRow("svc/z/z.go", ""), TextRow("svc/b/b.go", "")]
    repository.see(TextRow("svc/go.mod", "module corp/x\n"), stays=False)
    for row in rows:
        repository.see(row, stays=True)
    assert list(repository.order() or ()) == [1, 0, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 11), max_size=4), min_size=12, max_size=12), st.integers(0, 99))
def test_only_in_a_cycle_does_a_file_stand_before_one_it_imports(imports: list[set[int]], seed: int) -> None:
    names = [f"m{number:02d}" for number in range(12)]
    files = {f"p/{names[n]}.py": "".join(f"import {names[other]}\n" for other in imports[n]) for n in range(12)}
    found = ordered(shuffled(files, seed))
    assert found == ordered(files)
    place = {int(path[3:5]): at for at, path in enumerate(found)}
    reach = [set(direct) for direct in imports]
    for _ in range(12):
        reach = [direct.union(*(reach[other] for other in direct)) for direct in reach]
    for number, direct in enumerate(imports):
        for other in direct - {number}:
            assert place[other] < place[number] or number in reach[other]


def test_a_long_chain_and_a_wide_fan_take_neither_recursion_nor_long() -> None:
    count = 20_000
    files = {f"c/m{number:05d}.py": f"import m{number + 1:05d}\n" for number in range(count)}
    files |= {f"d/p{number:05d}.java": "import w.*;\n" for number in range(2000)}
    files |= {f"d/w/q{number:05d}.java": "" for number in range(2000)}
    began = time.process_time()
    found = ordered(files)
    assert time.process_time() - began < 20
    assert found[:count] == sorted(files)[:count][::-1]
    assert all(path.startswith("d/w/") for path in found[count : count + 2000])


HOSTILE = [
    ("python", "from a import (" * 60_000),
    ("python", "from . import (\n" * 60_000),
    ("python", "import " + "." * 200_000),
    ("python", ("from " + "." * 90 + " import x\n") * 9000),
    ("python", "import " + "a," * 300_000),
    ("javascript", "from '" * 150_000),
    ("javascript", "import   (" * 90_000),
    ("javascript", "import './" + "../" * 200_000 + "x'"),
    ("java", "import " + "a." * 300_000),
    ("java", "import static a.\n" * 50_000),
    ("go", "import (\n" * 90_000),
    ("go", 'import (\n"' * 90_000),
    ("c", "#include <" * 90_000),
    ("c", "# " * 400_000),
    ("c", '#include "' + "../" * 100_000 + '"\n'),
]


@pytest.mark.parametrize(("language", "text"), HOSTILE)
def test_a_hostile_file_is_read_quickly_and_names_little(language: str, text: str) -> None:
    began = time.process_time()
    names = names_in(language, "d/e/f" + LANGUAGES[language].endings[0], text)
    assert time.process_time() - began < 5
    assert len(names) <= MOST_NAMES


@given(st.sampled_from(sorted(LANGUAGES)), st.text(alphabet="import from'\"./@~(){}<>#*;:a\n ,\\é", max_size=300))
@settings(deadline=None)
def test_no_text_names_anything_outside_or_breaks_the_order(language: str, text: str) -> None:
    path = "d/e/f" + LANGUAGES[language].endings[0]
    for name in names_in(language, path, text):
        if name.startswith("/"):
            assert ".." not in name.split("/")
        LANGUAGES[language].candidates(name)
    assert sorted(ordered({path: text, "d/a.py": "", "d/a.h": text})) == sorted([path, "d/a.py", "d/a.h"])


def test_odd_names_of_files_are_names_like_others() -> None:
    deep = "/".join("d" * (MOST_LEVELS + 20))
    files = {
        "..py": "import os\n", ".py": "", "a b/c d.py": "import ..\n", "é/中.py": "from . import 文\n", "é/文.py": "",
        "index.js": "import '.'\nimport './'\nimport '..'\n", "-.c": '#include ""\n#include "-.c"\n', "x.go/": "",
        f"{deep}/a.py": "import b\n", f"{deep}/b.py": "", "d/b.py": "",
    }  # fmt: skip
    found = ordered(files)
    assert found.index("é/文.py") < found.index("é/中.py")
    assert found.index(f"{deep}/b.py") < found.index(f"{deep}/a.py")


def test_what_needs_more_memory_than_allowed_stays_as_it_came() -> None:
    repository = Repository(most_bytes=20_000)
    for number in range(200):
        repository.see(TextRow(f"m{number}.py", f"import m{number + 1}\n"), stays=True)
    assert repository.order() is None
    assert repository.num_files == 0


def modules() -> dict[str, str | bytes]:
    """A chain against the order of the paths, with values to take out, and one that cleaning leaves out."""
    files: dict[str, str | bytes] = {
        f"m{n}.py": f"import m{n + 1}\n\n{code(f'm{n}', n)}\n# ask user{n}@corp.cn\n" for n in range(6)
    }
    files["m3.py"] = "import m4\n" + code("odd") + "\nx = 1 if bob@corp.cn.real else print(x@y.com.z, a @ b.com)\n"
    return files


def test_rows_stand_in_the_order_of_imports_and_marks_and_samples_with_them(tmp_path: Path) -> None:
    found = prepare(zipped(tmp_path / "upload", modules()), "a.zip", tmp_path / "out", b"key")
    rows = [json.loads(line) for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    paths = [row["path"] for row in rows]
    assert paths == sorted(paths, reverse=True)
    assert {f"m{n}.py" for n in (0, 1, 2, 4, 5)} <= set(paths)
    assert found.report["order"] == "imports"
    for sample in found.report["samples"]:
        assert sample["text"] in rows[sample["row"] - 1]["text"]
    for sample in found.report["residual"]:
        assert sample["text"] in rows[sample["row"] - 1]["text"]
    assert len((tmp_path / "out/clusters.txt").read_text().splitlines()) == len(rows) == found.rows
    assert not (tmp_path / "out/.scratch").exists()


def test_the_order_of_the_upload_decides_neither_rows_nor_digest(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"p/m{n}.py": f"import m{(n * 7 + 3) % 20}\n" + code(f"m{n}", n) for n in range(20)
    }
    digests = set()
    for seed in range(3):
        paths = random.Random(seed).sample(sorted(files), len(files))
        archive = tar_gz(tmp_path / "upload", {path: files[path] for path in paths})
        digests.add(prepare(archive, "a.tgz", tmp_path / f"out{seed}", b"key").digest)
    assert len(digests) == 1


def test_an_upload_of_too_many_names_is_prepared_in_its_own_order(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "upload", modules())
    found = prepare(archive, "a.zip", tmp_path / "out", b"key", limits=Limits(order_bytes=100))
    paths = [json.loads(line)["path"] for line in (tmp_path / "out/rows.jsonl").read_text().splitlines()]
    assert found.report["order"] == "upload"
    assert all(one < two for one, two in pairwise(paths))
