"""Pages say what the results say."""

import fill_tables
import published_blocks
import pytest
from fill_tables import filled, main, pages


def test_every_page_says_what_the_results_say() -> None:
    main(["--check"])
    text = "".join(page.read_text() for page in pages())
    unused = [name for name in published_blocks.BLOCKS if f"<!-- figures: {name} -->" not in text]
    assert not unused


def test_a_typed_figure_is_found_and_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pages")
    block = "before\n<!-- figures: spice-speed -->\n{}<!-- end -->\nafter <!-- end -->\n"
    page = folder / "README.md"
    page.write_text(block.format("| 1000 times faster |\n"))
    monkeypatch.setattr(fill_tables, "pages", lambda: [page])
    monkeypatch.setattr(fill_tables, "ROOT", folder)
    with pytest.raises(SystemExit, match="results say: README"):
        main(["--check"])
    assert "1000" in page.read_text(), "a check writes nothing"
    main([])
    assert page.read_text() == block.format(published_blocks.BLOCKS["spice-speed"]() + "\n")
    main(["--check"])


def test_an_unknown_block_is_named() -> None:
    with pytest.raises(SystemExit, match="no figures 'spice-sped'"):
        filled("<!-- figures: spice-sped -->\n<!-- end -->\n")


def test_a_block_without_an_end_is_refused() -> None:
    with pytest.raises(SystemExit, match="has no '<!-- end -->'"):
        filled("<!-- figures: sizing -->\n| 1000 times |\n")
