"""Made-up source files of a dozen kinds: what stands around a value, and ordinary code between values.

In a template `<V>` is the value, `<K>` the name it goes by, `<N>`, `<W>`, `<H>` and `<D>` a made-up name, word, host and number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from finetune.data.measure.draw import Draw

SLOT = re.compile(r"<([NWHD])>")


@dataclass(frozen=True)
class Language:
    """How one kind of file is written: an assignment, other places for a value, remarks, code, and which names it likes."""

    ending: str
    named: tuple[str, ...]
    free: tuple[str, ...]
    comment: tuple[str, ...]
    filler: tuple[str, ...]
    naming: str
    opening: str = ""
    closing: str = ""
    plain: bool = False  # values stand without quotes, so only signs without a meaning are used


LANGUAGES: Mapping[str, Language] = {
    "python": Language(
        ".py",
        ('<K> = "<V>"\n', "<K> = '<V>'\n", 'settings["<K>"] = "<V>"\n', 'config = {"<K>": "<V>", "timeout": <D>}\n',
         'client = Client("<N>", <K>="<V>", retries=3)\n', 'def connect(<K>: str = "<V>") -> None:\n    <N>(<K>)\n\n\n',
         'os.environ["<K>"] = "<V>"\n', '<K> = os.getenv("<K>", "<V>")\n',
         'class <W>Settings:\n    <K>: str = "<V>"\n    <N>: int = <D>\n\n\n',
         'def test_<N>():\n    assert login("<N>", <K>="<V>").ok\n\n\n'),
        ('<N>("<V>")\n', '<N> = "<V>"\n', 'rows = [("<W>", "<V>"), ("<W>", None)]\n', 'assert parse("<V>") is not None\n',
         '<N> = """\n<W>: <V>\n"""\n', 'logger.info("<N> for <V> done")\n', 'assert <N>(f"<W> {<N>}", \'<V>\') == <D>\n'),
        ("# <W>: <V>\n", "# <N> <V> used by <N>\n", '"""Made for <V>."""\n', "#   :<W> <V>, see <N>\n"),
        ('def <N>(value: int) -> int:\n    """Return the <W> of the <W>."""\n    return value * <D>\n\n\n',
         "import <W>\nfrom <W>.<W> import <N>\n\n", "for <W> in range(<D>):\n    print(<W>, <N>[<W>])\n",
         "if <N> is None:\n    raise ValueError('no <W>')\n", "class <N>:\n    <W>: int = <D>\n\n\n"),
        "snake",
    ),
    "java": Language(
        ".java",
        ('    private static final String <K> = "<V>";\n', '    String <K> = "<V>";\n',
         '    @Value("${<W>.<K>:<V>}")\n    private String <N>;\n', '        props.setProperty("<K>", "<V>");\n',
         '        config.put("<K>", "<V>");\n', '        options.<K>("<V>").build();\n'),
        ('        <N>("<V>");\n', '    String <N> = "<V>";\n', '        assertEquals("<V>", <N>.get(<D>));\n',
         '        List<String> <N> = List.of("<W>", "<V>");\n'),
        ("    // <W>: <V>\n", "    /** Made by <V>. */\n", "     * @author <W> <V>\n"),
        ("    public int <N>(int value) {\n        return value * <D>;\n    }\n\n",
         "        for (int i = 0; i < <D>; i++) {\n            <N>(i);\n        }\n"),
        "camel", "package com.<W>.<W>;\n\npublic class <W> {\n", "}\n",
    ),
    "go": Language(
        ".go",
        ('\t<K> := "<V>"\n', 'const <K> = "<V>"\n', 'var <K> string = "<V>"\n', '\tcfg := &Config{Host: "<H>", <K>: "<V>"}\n',
         '\t\t<K>: "<V>",\n', '\tos.Setenv("<K>", "<V>")\n', "\t<K> := `<V>`\n"),
        ('\t<N>("<V>")\n', '\tname := "<V>"\n', '\t\t{"<W>", "<V>", nil},\n'),
        ("// <W>: <V>\n", "\t// <N> wants <V>\n"),
        ("func <N>(value int) int {\n\treturn value * <D>\n}\n\n", "\tif err != nil {\n\t\treturn nil, err\n\t}\n"),
        "camel", "package <W>\n\n",
    ),
    "javascript": Language(
        ".js",
        ("const <K> = '<V>';\n", '  <K>: "<V>",\n', "process.env.<K> = '<V>';\n", "  <K>: process.env.<N> || '<V>',\n",
         "const options = { host: '<H>', <K>: '<V>' };\n", "let <K> = `<V>`;\n"),
        ("<N>('<V>');\n", 'const <N> = "<V>";\n', "  it('<W>', () => expect(<N>('<V>')).toBe(true));\n", "  ['<W>', '<V>'],\n"),
        ("// <W>: <V>\n", "/* <N> <V> */\n", " * @author <W> <V>\n"),
        ("function <N>(value) {\n  return value * <D>;\n}\n\n", "import { <N> } from './<W>';\n", "export default <N>;\n"),
        "camel",
    ),
    "yaml": Language(
        ".yaml",
        ("  <K>: <V>\n", '  <K>: "<V>"\n', "  <K>: '<V>'\n", "    - name: <K>\n      value: <V>\n", "<K>: <V>  # <W>\n"),
        ("  - <V>\n", '  <N>: "<V>"\n', "  <W>: <V>\n"),
        ("# <W>: <V>\n",),
        ("<W>:\n  replicas: <D>\n  image: <W>/<W>:1.<D>\n", "  <N>: true\n", "    - <W>\n"),
        "snake", plain=True,
    ),
    "env": Language(
        ".env",
        ("<K>=<V>\n", '<K>="<V>"\n', "export <K>=<V>\n", "<K>='<V>'\n"), ("<N>=<V>\n", '<N>="<V>"\n'), ("# <W> <V>\n",),
        ("<N>=<D>\n", "# <N>\n", "<N>=true\n"), "upper", plain=True,
    ),
    "properties": Language(
        ".properties",
        ("spring.<W>.<K>=<V>\n", "<K>=<V>\n", "<W>.<K> = <V>\n", "<W>.<K>: <V>\n"), ("<W>.<W>=<V>\n",), ("# <W> <V>\n",),
        ("<W>.<W>.size=<D>\n", "<W>.enabled=true\n"), "camel", plain=True,
    ),
    "xml": Language(
        ".xml",
        ("  <<K>><V></<K>>\n", '  <property name="<K>" value="<V>"/>\n', '  <entry key="<K>"><V></entry>\n', '  <bean id="<N>" <K>="<V>"/>\n'),
        ("  <<W>><V></<W>>\n", '  <item value="<V>"/>\n'), ("  <!-- <W> <V> -->\n",),
        ("  <<W>><D></<W>>\n", '  <option name="<N>" enabled="true"/>\n'), "camel", "<configuration>\n", "</configuration>\n", True,
    ),
    "json": Language(
        ".json",
        ('  "<K>": "<V>",\n', '  "<W>": {"<K>": "<V>", "port": <D>},\n', '  "<K>":"<V>",\n'),
        ('  "<N>": "<V>",\n', '  "<W>": ["<V>", "<W>"],\n'), ('  "description": "<W> <V>",\n',),
        ('  "<N>": <D>,\n', '  "<W>": {"<W>": true},\n'), "camel", "{\n", '  "last": true\n}\n',
    ),
    "shell": Language(
        ".sh",
        ("export <K>=<V>\n", "<K>='<V>'\n", '<K>="<V>"\n', "cat > app.env <<EOF\n<K>=<V>\nEOF\n", "docker run -e <K>=<V> <W>/<W>\n"),
        ('<N> "<V>"\n', "curl -s 'https://<H>/<W>?q=<D>' -d '<V>'\n", "echo <V> >> <W>.txt\n"), ("# <W> <V>\n",),
        ("set -e\n", "for i in $(seq <D>); do\n  <N> $i\ndone\n"), "upper", plain=True,
    ),
    "toml": Language(
        ".toml",
        ('<K> = "<V>"\n', "<K> = '<V>'\n", '<W> = { <K> = "<V>", port = <D> }\n'), ('<N> = "<V>"\n', '<N> = ["<W>", "<V>"]\n'),
        ("# <W> <V>\n",), ("[<W>.<W>]\n", "<N> = <D>\n"), "snake",
    ),
    "markdown": Language(
        ".md",
        ("Set `<K>=<V>` first.\n", "```yaml\n<K>: <V>\n```\n", "| <K> | `<V>` |\n", "    <K>=<V>\n"),
        ("Ask <V> for the <W>.\n", "- <W>: <V>\n", "`<N> <V>`\n"), ("<!-- <W> <V> -->\n",),
        ("## <W>\n\nThe <W> of the <W> needs <D> steps.\n\n", "- <N>\n"), "snake", plain=True,
    ),
}  # fmt: skip

# Places that only some kinds of value have; the language says whether its files hold such a line.
EMAIL_LINES = {
    "python": ('__author__ = "<W> <V>"\n', "# Copyright 2021 <W> <<V>>\n"),
    "java": (" * @author <W> <<V>>\n",),
    "javascript": ('  "author": "<W> <W> <<V>>",\n',),
    "markdown": ("Write to [us](mailto:<V>).\n", "Signed-off-by: <W> <W> <<V>>\n"),
    "shell": ('git config user.email "<V>"\n',),
}
PASSWORD_LINES = {
    "python": ('    if user == "<N>" and password == "<V>":\n        pass\n', 'requests.get("https://<H>", auth=("<N>", "<V>"))\n'),
    "shell": (
        "mysql -u root -p<V> <W>\n", "sshpass -p '<V>' ssh <W>@<H>\n", "curl -u <W>:<V> https://<H>/<W>\n",
        "redis-cli -h <H> -a <V> ping\n", "docker login -u <W> -p <V> <H>\n", "PGPASSWORD=<V> psql -h <H>\n",
    ),
    "java": ('        dataSource.setPassword("<V>");\n', '        DriverManager.getConnection(url, "<N>", "<V>");\n'),
    "go": ('\treq.SetBasicAuth("<N>", "<V>")\n',),
}  # fmt: skip


def fill(template: str, draw: Draw) -> str:
    """The template with made-up names; `<V>` and `<K>` stay."""

    def made(match: re.Match[str]) -> str:
        kinds: Mapping[str, Callable[[], str]] = {
            "N": draw.name, "W": draw.word, "H": draw.host, "D": lambda: str(draw.number(1, 900)),
        }  # fmt: skip
        return kinds[match[1]]()

    return SLOT.sub(made, template)


def named(words: str, naming: str) -> str:
    """`client_secret` as the language writes names; what is not in small letters already is left as it is."""
    if words != words.lower() or naming == "snake":
        return words
    if naming == "upper":
        return words.upper()
    first, *rest = words.split("_")
    return first + "".join(word.title() for word in rest)
