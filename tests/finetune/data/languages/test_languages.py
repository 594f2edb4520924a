"""The language of a file: by its name, and by its text only where the name leaves it open."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.languages import OTHER, language_of, settled
from finetune.data.languages.contents import READ_CHARACTERS, UNCLEAR


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "Python"),
        ("src/main/java/Foo.JAVA", "Java"),
        ("web/a.test.ts", "TypeScript"),
        ("web/App.tsx", "TypeScript"),
        ("web/App.vue", "Vue"),
        ("entry/Index.ets", "ArkTS"),
        ("kernel.cu", "CUDA"),
        ("a.cc", "C++"),
        ("a.hpp", "C++"),
        ("a.S", "Assembly"),
        ("a.R", "R"),
        ("Makefile", "Makefile"),
        ("Makefile.am", "Makefile"),
        ("deploy/Dockerfile.gpu", "Dockerfile"),
        ("CMakeLists.txt", "CMake"),
        ("notes.txt", "Text"),
        ("LICENSE", "Text"),
        ("README.md", "Markdown"),
        ("config.h.in", "C"),
        ("values.yaml.example", "YAML"),
        ("a.b/c", OTHER),
        ("a.nobodyknows", OTHER),
        ("", OTHER),
    ],
)
def test_a_name_tells_the_language(path: str, language: str) -> None:
    assert language_of(path, "") == language


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.h", "#import <Foundation/Foundation.h>\n@interface A : NSObject\n@end\n", "Objective-C"),
        ("a.h", "#include <vector>\nstd::vector<int> f();\n", "C++"),
        ("a.h", "namespace pay {\nclass Loom {\npublic:\n  int next();\n};\n}\n", "C++"),
        ("a.h", "#include <stdbool.h>\nint f(bool on);\n", "C"),
        ("a.h", '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n', "C or C++"),
        ("a.h", "int f(void);\n", "C or C++"),
        ("a.m", "#import <UIKit/UIKit.h>\n", "Objective-C"),
        ("a.m", "function y = f(x)\n% squares\ny = x.^2;\nend\n", "MATLAB"),
        ("a.pl", "#!/usr/bin/perl\nuse strict;\n", "Perl"),
        ("a.pl", ":- module(a, [b/1]).\nb(X) :- c(X).\n", "Prolog"),
        ("a.v", "module adder(input a, output b);\nendmodule\n", "Verilog"),
        ("a.v", "Require Import Arith.\nTheorem t : True.\n", "Rocq"),
        ("a.ts", "export const a: number = 1;\n", "TypeScript"),
        ("a.ts", "<!DOCTYPE TS>\n<TS>\n</TS>\n", "XML"),
        ("a.cl", "__kernel void f(__global int *a) {}\n", "OpenCL"),
        ("go.mod", "module example.org/pay\n\ngo 1.22\n", "Go module"),
        ("bin/run", "#!/usr/bin/env python3.11\nprint()\n", "Python"),
        ("bin/run", "#!/usr/bin/env -S FOO=1 node --x\n", "JavaScript"),
        ("bin/run", "#! /bin/bash -e\n", "Shell"),
        ("bin/run", "#!/opt/unheard\n", OTHER),
        ("bin/run", "no script\n", OTHER),
        ("a.py", "#!/bin/sh\n", "Python"),
    ],
)
def test_the_text_tells_where_the_name_leaves_it_open(path: str, text: str, language: str) -> None:
    assert language_of(path, text) == language


def test_a_header_that_fits_both_is_of_what_the_upload_has_more_of() -> None:
    assert settled({"C++": 3, "C": 2}) == "C++"
    assert settled({"C++": 2, "C": 2}) == settled({"Python": 9}) == "C"


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from([*UNCLEAR, ".x", "", ".in", ".in.in.in"]))
def test_any_file_has_a_language(text: str, ending: str) -> None:
    assert language_of(f"d/a{ending}", text)


@pytest.mark.parametrize("ending", UNCLEAR)
@pytest.mark.parametrize("piece", ["(*", "a[", "class a ", ": a;\t", "a(", "\t", "#!/", "x:", " "])
def test_no_text_takes_long(ending: str, piece: str) -> None:
    """A pattern that went through the text again from each of its places would take minutes, and the test time out."""
    text = piece * (200 * READ_CHARACTERS // len(piece))
    for _ in range(5):
        assert language_of(f"a{ending}", text)
