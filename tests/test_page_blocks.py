"""The blocks of the Collections page in the other languages: their text, line by line.

That they run, and do what they say, is found out by tests/clients/run.py.
"""

import hashlib
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples" / "collections"
ENDINGS = {"typescript": "ts", "go": "go", "rust": "rs"}
NAMES = {"typescript": "TypeScript", "go": "Go", "rust": "Rust"}

# Of the text as it stands on the page.
SHA256 = {
    "typescript": {
        "01_create": "90094bd87598439186a376a7bb301f182a75e10b98c351a461ce90ee8976a3fe",
        "02_get_or_create": "1df1d619fc56e60c2b8b37790c84ed6dded0957972e018d1b95f2b5549a9a9c0",
        "03_custom_hnsw": "14199c2771b6ce3f59b4b7d75c629673845fc1bd20cc328b5b4a3cdbfdd834f3",
        "04_openai_embedding_function": (
            "111c7cca782dee27d7de55115f0ea346aa10ef617b6163129aa39d5b33992d8a"
        ),
        "05_openai_api_key_variable": (
            "4fdbcd6ee8f74ce890adb179ab6bc95b67bd4569466c0f87e052836d15af1a81"
        ),
        "06_custom_embedding_function": (
            "b1884f6a6c47b0ad44254f3f4b245eaf2edbaa9f0500912212161d0f1f1f647b"
        ),
        "07_delete": "314e1e39e0043804b989f54fc252de5741fbfbc0128bbf1924ace6e8d9437db7",
        "08_list": "76578b42b1bc44358f4c0d4e4292ad63cd86320fd80b763999252ebc0415aeee",
        "09_get": "c2a126815b564d093f364b4d02f01beccf46e5e360ee9b2c9be6588c1f2116b4",
        "10_modify": "3e39a363d4fd1d4bb3bb894ea67f93d9728979f98c98bf0563f6110c2e33ad96",
        "11_count_collections": "2eb17f5269ebaf56b03fa96680909182156e139c77d41e7067100170ba091a67",
        "12_convenience": "4aae332da8876efa462ee49db467bc8b72b62ac455db8818a57807df6410b007",
        "13_query_by_ids": "b4c07e703cfcc5520fb24d0570b4ba14054251932c875e6d1ee1b73044e215ac",
        "14_result_types": "9e3319a5461339b576aa36a40e9c2d8792402fe68c7d8c0823485dedca33c208",
        "15_results": "67062008ca35d98d9ff3c8deed541a7b8c480e7ddf90f0ef4f030a6ca1036588",
    },
    "go": {
        "01_create": "8078a85c6343f74657397e693e75c0dd16a1e2ed03a85b0ffe2d4a20e42e96e1",
        "02_get_or_create": "3f51ae0214afb0a7ae83adc2a2be9802ec00227bc93abed4a32fc46f455b5134",
        "04_openai_embedding_function": (
            "9d36c091edf2fc4bf8e34240ac819c82951c64cd3360c905dfed04b1733a3757"
        ),
        "06_custom_embedding_function": (
            "90e2114a2ae330c2dce666b7bc1aa744514285f1fae25df88576afb43a10d481"
        ),
        "07_delete": "65ce35672d9b7e4f10bbb30c77269b5f7fb5a210f46c25c4f0882b62460abf91",
        "08_list": "04fea9814f30e3752bfeebb033e1430050d1dcfd5245288d3c0864efb688a421",
        "09_get": "257fd6e1b235f855d24f61d843eb275fb1cfb5efc04b2fb3fb6beccdcef188dc",
        "13_query_by_ids": "0533de3c5ae23682d83d4f5100cb8cdd0a50542f8a4c64d0ce2cd09e1bdaf490",
        "14_result_types": "c14ca9253af88237fc4ec1dd3fc9faaceda0fc1afb985215186476bcd7af1c5d",
        "15_results": "9f861f0284c15f8a57e1813a3c6f3fbe0236959f404717a380e8183fe8c2d832",
    },
    "rust": {
        "01_create": "026e1d3e290cfe6beefe065afe110ba5b0f2592b49315d5479dcf78d22ea8150",
        "02_get_or_create": "8287ef83942b3fbbfdf2bb6320b5753cc6384c1faa72376463f1a2f5052440e9",
        "07_delete": "8871f70bd460c80a235ea525c0bc353fdd242916bcd58852860533b3859a46c4",
        "08_list": "dd8c1756a01b57a24fe98339625167fbae12d8f751f43e49e19b698098c6e74c",
        "09_get": "14612d4515fed9edd65a8126ac8379da1b6b9366e6fb9ad6bf59cf1d08727a70",
        "13_query_by_ids": "500b1b082e35294ce23a49dae4378c10ad1088195d6e7b6b59cd4f75ec09204a",
        "14_result_types": "eefb616c14f0fd7ef23d4b711352f8b07085f34a908e4496e689a46b424e850c",
        "15_results": "b124698fbe5de18ab0a53ef144dc666678459bdb84dd3c7e0b6b2d62b83d4714",
    },
}
BLOCKS = [(language, name) for language, names in SHA256.items() for name in names]


def file_of(language: str, name: str) -> Path:
    (path,) = (FOLDER / language).rglob(f"{name}.{ENDINGS[language]}")
    return path


def on_the_page(text: str) -> str:
    """The page's block in a file of ours: without our lines, with the lines that they replace."""
    _, _, rest = text.partition("// From the page:\n")
    block, _, _ = rest.partition("// Until here.\n")
    kept = [line for line in block.splitlines() if not line.endswith("// ours")]
    return "".join(re.sub(r"^( *)// page: ", r"\1", line) + "\n" for line in kept)


@pytest.mark.parametrize("language", SHA256)
def test_every_block_of_the_page_is_here_once(language: str) -> None:
    files = [path.stem for path in (FOLDER / language).rglob(f"[0-9]*.{ENDINGS[language]}")]
    assert sorted(files) == sorted(SHA256[language])


@pytest.mark.parametrize(("language", "name"), BLOCKS)
def test_the_text_is_that_of_the_page(language: str, name: str) -> None:
    text = file_of(language, name).read_text(encoding="utf-8")
    assert hashlib.sha256(on_the_page(text).encode()).hexdigest() == SHA256[language][name]


@pytest.mark.parametrize(("language", "name"), BLOCKS)
def test_a_line_of_ours_replaces_one_and_is_explained(language: str, name: str) -> None:
    text = file_of(language, name).read_text(encoding="utf-8")
    replaces = "// ours\n" in text
    assert replaces == ("// page: " in text)
    before, _, _ = text.partition("// From the page:\n")
    assert not replaces or re.search(r"^// The ", before, re.MULTILINE)


@pytest.mark.parametrize(("language", "name"), BLOCKS)
def test_the_runner_runs_it_and_the_table_names_it(language: str, name: str) -> None:
    runner = (FOLDER / language / f"run.{ENDINGS[language]}").read_text(encoding="utf-8")
    assert f"{name}" in runner
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| {int(name[:2])} | ")]
    path = file_of(language, name).relative_to(FOLDER).as_posix()
    assert f"[{NAMES[language]}]({path})" in row


def test_ours_and_the_replaced_lines_are_told_apart() -> None:
    text = "x\n// From the page:\n    // page: old(1)\n    new() // ours\nkept\n// Until here.\ny\n"
    assert on_the_page(text) == "    old(1)\nkept\n"
