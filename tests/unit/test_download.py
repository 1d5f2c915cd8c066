"""Downloads from a server on this computer: resumed, checked, refused in a sentence."""

import urllib.error

import pytest
from wheel_shop import sha256, write_wheel

from blender_addon.client import download, sources
from blender_addon.client.problems import EnvironmentProblem


@pytest.fixture
def wheel(shop):
    return write_wheel(shop.folder, "large", ballast=1_000_000)


@pytest.fixture
def fetch(shop, wheel, tmp_path):
    """``fetch(sha256)``: the wheel to ``tmp_path / name``; returns that path and the byte counts that were told."""
    opener = sources.opener(sources.Settings())

    def run(digest=None):
        told: list[int] = []
        target = tmp_path / wheel.name
        download.fetch(shop.link(wheel), target, digest or sha256(wheel), told.append, opener, pause=0.01)
        return target, told

    return run


def test_a_file_comes_whole_and_is_told_byte_by_byte(fetch, wheel, shop):
    target, told = fetch()
    assert target.read_bytes() == wheel.read_bytes()
    assert told[0] == 0 and told[-1] == wheel.stat().st_size and told == sorted(told)
    assert not target.with_name(target.name + ".part").exists()
    assert shop.asked == [(wheel.name, "")]


def test_a_partial_file_is_continued_and_not_fetched_again(fetch, wheel, shop, tmp_path):
    half = wheel.read_bytes()[:400_000]
    (tmp_path / f"{wheel.name}.part").write_bytes(half)
    target, told = fetch()
    assert shop.asked == [(wheel.name, "bytes=400000-")]
    assert told[0] == 400_000
    assert target.read_bytes() == wheel.read_bytes()


def test_a_line_that_breaks_is_taken_up_where_it_broke(fetch, wheel, shop):
    shop.cut[wheel.name] = 300_000
    target, _ = fetch()
    assert target.read_bytes() == wheel.read_bytes()
    assert len(shop.asked) == 2
    assert shop.asked[1][1].startswith("bytes=") and int(shop.asked[1][1][6:-1]) > 0


def test_a_server_without_ranges_sends_everything_again(fetch, wheel, shop, tmp_path):
    shop.ranges = False
    (tmp_path / f"{wheel.name}.part").write_bytes(b"x" * 400_000)
    target, told = fetch()
    assert told[0] == 0
    assert target.read_bytes() == wheel.read_bytes()


def test_a_part_that_is_whole_already_is_only_checked(fetch, wheel, shop, tmp_path):
    (tmp_path / f"{wheel.name}.part").write_bytes(wheel.read_bytes())
    target, _ = fetch()
    assert target.read_bytes() == wheel.read_bytes()
    assert len(shop.asked) == 1


def test_a_part_longer_than_the_file_is_thrown_away(fetch, wheel, shop, tmp_path):
    (tmp_path / f"{wheel.name}.part").write_bytes(wheel.read_bytes() + b"more")
    target, _ = fetch()
    assert target.read_bytes() == wheel.read_bytes()


def test_a_damaged_file_is_fetched_again(fetch, wheel, shop):
    shop.damaged[wheel.name] = 1
    target, _ = fetch()
    assert target.read_bytes() == wheel.read_bytes()
    assert shop.asked == [(wheel.name, ""), (wheel.name, "")]


def test_a_damaged_part_from_before_is_found_by_its_hash(fetch, wheel, shop, tmp_path):
    (tmp_path / f"{wheel.name}.part").write_bytes(b"x" * 400_000)
    target, _ = fetch()
    assert target.read_bytes() == wheel.read_bytes()
    assert [asked for _, asked in shop.asked] == ["bytes=400000-", ""]


def test_a_file_that_stays_wrong_is_refused_and_not_kept(fetch, wheel, tmp_path):
    with pytest.raises(EnvironmentProblem, match="not the expected one") as caught:
        fetch("0" * 64)
    assert caught.value.code == "wrong_hash" and "wheels" in caught.value.hint
    assert not list(tmp_path.glob("*.whl*"))


def test_a_refusal_is_not_tried_again(fetch, wheel, shop):
    shop.status[wheel.name] = 403
    with pytest.raises(urllib.error.HTTPError):
        fetch()
    assert len(shop.asked) == 1


def test_a_busy_server_is_tried_a_few_times(fetch, wheel, shop):
    shop.status[wheel.name] = 503
    with pytest.raises(urllib.error.HTTPError):
        fetch()
    assert len(shop.asked) == download.TRIES


# --- where wheels come from


@pytest.mark.parametrize("as_json", [True, False])
def test_an_index_is_read_in_both_of_its_forms(shop, wheel, as_json):
    from blender_addon.client.platforms import this_computer

    shop.as_json = as_json
    write_wheel(shop.folder, "large", "2.0")
    found = sources.Sources(sources.Settings(indexes=[shop.url])).find("Large", "1.0", this_computer())
    assert found.filename == wheel.name and found.sha256 == sha256(wheel) and found.url == shop.link(wheel)
    assert sources.Sources(sources.Settings(indexes=[shop.url])).find("large", "3.0", this_computer()) is None
    assert sources.Sources(sources.Settings(indexes=[shop.url])).find("absent", "1.0", this_computer()) is None


def test_the_size_of_a_wheel_is_asked_where_its_page_does_not_tell(shop, wheel):
    from blender_addon.client.platforms import this_computer

    shop.as_json = False
    places = sources.Sources(sources.Settings(indexes=[shop.url]))
    found = places.find("large", "1.0", this_computer())
    assert found.size == 0 and places.size(found) == wheel.stat().st_size
    assert shop.asked == [], "a HEAD request is enough"


def test_a_folder_comes_before_any_index(shop, wheel, tmp_path):
    from blender_addon.client.platforms import this_computer

    own = write_wheel(tmp_path / "own", "large", "1.0+cpu")
    settings = sources.Settings(indexes=["http://127.0.0.1:9/never-asked"], folders=[own.parent])
    assert sources.Sources(settings).find("large", "1.0", this_computer()).path == own


def test_name_and_password_of_a_private_index_become_a_header():
    asked = sources.request("https://me:p%40ss@index.example/simple/x/")
    assert asked.full_url == "https://index.example/simple/x/"
    assert asked.get_header("Authorization") == "Basic bWU6cEBzcw=="


def test_pip_is_asked_for_its_settings(tmp_path, monkeypatch):
    import sys

    from blender_addon.client.environment import child_environment

    config = tmp_path / "pip.conf"
    own = tmp_path / "wheels"
    own.mkdir()
    config.write_text(
        "[global]\nindex-url = https://mirror.example/simple\nproxy = http://proxy.example:8080\n"
        f"find-links = {own}\n[install]\nextra-index-url = {tmp_path.as_uri()}/simple\n"
    )
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    env = child_environment()
    found = sources.pip_settings(sys.executable, env)
    if "https://mirror.example/simple" not in found.indexes:
        pytest.skip("a pip.conf of this computer stands above ours")
    assert found.indexes[-1] == "https://mirror.example/simple" and found.folders == [own]
    assert found.proxy == "http://proxy.example:8080"
    env["PIP_NO_INDEX"] = "1"
    assert sources.pip_settings(sys.executable, env).indexes == []
