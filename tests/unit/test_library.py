"""Words in plain form, what fits a search, and the index of other files."""

import json

import pytest

from blender_addon.library import Entry, index, lemma, lemmas, rank, tags


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        ("walking", "walk"), ("walks", "walk"), ("walked", "walk"), ("ran", "run"), ("running", "run"),
        ("sits", "sit"), ("sitting", "sit"), ("sat", "sit"), ("dancing", "dance"), ("hopping", "hop"),
        ("waves", "wave"), ("carries", "carry"), ("stopped", "stop"), ("falls", "fall"), ("pushes", "push"),
        ("rolling", "roll"), ("balancing", "balance"), ("hiking", "hike"), ("juggling", "juggle"),
        ("swinging", "swing"),
        ("sing", "sing"), ("bed", "bed"), ("passes", "pass"), ("jogged", "jog"), ("Jumps", "jump"), ("跳舞", "跳舞"),
    ],
)  # fmt: skip
def test_plain_forms(form, plain):
    assert lemma(form) == plain


def test_tags_are_the_words_that_say_something():
    caption = "A person walks forward slowly, then turns left and waves; the person walks on."
    assert tags(caption) == ["walk", "forward", "slowly", "turn", "left", "wave"]
    assert len(tags(" ".join(f"word{chr(97 + n)}x" for n in range(20)))) == 12
    assert lemmas("") == () and tags("the a and") == []


ENTRIES = [
    Entry("Action.001", "a person walks forward"),
    Entry("fast_run", "a person jogs in a circle"),
    Entry("x", "someone strolls and waves", ("greeting",)),
    Entry("Jump", ""),
]


def names(query):
    return [ENTRIES[i].name for i, _ in rank(query, ENTRIES)]


def test_what_fits_and_in_which_order():
    assert names("walking") == ["Action.001", "x"]  # the word itself before its synonym
    assert names("stroll wave") == ["x", "Action.001"]  # both words before one
    assert names("sprint") == ["fast_run"]
    assert names("jum") == ["Jump"]  # still being typed
    assert names("greeting") == ["x"]
    assert names("zebra") == []
    assert names("") == [entry.name for entry in ENTRIES] == names("  ")


def test_scores_are_shares_of_the_best_possible():
    scores = dict(rank("run", ENTRIES))
    assert scores == {1: pytest.approx(1.0)}
    assert 0 < dict(rank("walk", ENTRIES))[2] < dict(rank("walk", ENTRIES))[0] < 1


def test_words_that_are_rare_count_more():
    many = [Entry(f"a{n}", "a person walks forward") for n in range(9)] + [Entry("b", "a person juggles")]
    assert rank("walk juggle", many)[0][0] == 9


@pytest.fixture
def blend(tmp_path):
    path = tmp_path / "a.blend"
    path.write_bytes(b"1234")
    return path


def test_an_index_is_kept_and_knows_what_changed(blend, tmp_path):
    known = index.Index()
    assert not known.current(blend)
    known.put(blend, [index.Asset(str(blend), "Wälk", "a person walks", ("walk",))])
    index.save(tmp_path / "deep" / "index.json", known)
    again = index.load(tmp_path / "deep" / "index.json")
    assert again.current(blend) and again.assets() == [index.Asset(str(blend), "Wälk", "a person walks", ("walk",))]
    blend.write_bytes(b"12345")
    assert not again.current(blend)
    again.keep_only(set())
    assert not again.assets()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 0, "files": {}}', '{"version": 1, "files": 3}',
     json.dumps({"version": 1, "files": {"a": [1, 2, [["name", 3, []]]]}}),
     json.dumps({"version": 1, "files": {"a": [1, 2]}})],
)  # fmt: skip
def test_a_damaged_index_is_an_empty_one(tmp_path, text):
    (tmp_path / "index.json").write_text(text, encoding="utf-8")
    assert index.load(tmp_path / "index.json").files == {}


def test_blend_files_are_found_in_folders_below_but_not_in_hidden_ones(tmp_path):
    for name in ("b.blend", "a.BLEND", "deep/c.blend", ".hidden/d.blend", "e.txt", "f.blend1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [path for path in index.blend_files([tmp_path, tmp_path / "gone"]) if path is not None]
    assert [path.name for path in found] == ["a.BLEND", "b.blend", "c.blend"]
