"""What an installation needs is known before anything is downloaded: from a table that belongs to the requirements."""

import json
import subprocess
import types

import pytest
from wheel_shop import write_wheel

from blender_addon.client import environment, gpu, plan, platforms, setup
from blender_addon.client.platforms import Target

LINUX = Target("linux", "x86_64", (3, 11), (2, 36))
WINDOWS = Target("win", "x86_64", (3, 12))
MAC = Target("mac", "arm64", (3, 11), (14, 5))
TEXT = environment.paths.REQUIREMENTS.read_text(encoding="utf-8")
EVERY = [
    Target(system, machine, python)
    for system, machine in (("win", "x86_64"), ("mac", "arm64"), ("linux", "x86_64"), ("linux", "arm64"))
    for python in ((3, 11), (3, 12), (3, 13))
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MOMUG_BASE_MODEL", raising=False)
    return tmp_path / "cache"


# --- the table


def test_the_table_belongs_to_the_requirements():
    known = plan.table()
    pinned = set(plan.pins(TEXT, ""))
    listed = {(entry["name"], entry["version"]) for entry in known["packages"] if not entry.get("cuda")}
    assert listed == pinned, "run: python3 build.py lock"
    assert known["requirements"] == environment.paths.key(TEXT), "run: python3 build.py lock"


def test_the_table_is_complete_and_names_no_server():
    text = environment.paths.WHEELS.read_text(encoding="utf-8")
    assert "://" not in text
    for entry in [*plan.table()["packages"], *plan.table()["base"], *plan.table()["tools"]]:
        assert entry["wheels"] and 1.0 <= entry["grows"] < 20
        for filename, size, sha256, *_ in entry["wheels"]:
            assert platforms.split(filename)[1].partition("+")[0] == entry["version"]
            assert size > 0 and len(bytes.fromhex(sha256)) == 32


@pytest.mark.parametrize("target", EVERY, ids=lambda target: target.label)
def test_every_computer_that_is_promised_has_every_wheel(target):
    for device in ("auto", "cpu"):
        builds, why = gpu.builds(target, [], device)
        assert why
        made = plan.make(TEXT, target, builds[0])
        unknown = [item.name for item in made.items if not item.sha256]
        assert unknown in ([], ["torch"]), "only PyTorch's own index may know more than the table"
        assert made.disk > made.kept > 0
        assert len(made.items) == len(plan.pins(TEXT, target.system)) + 1


def test_licences_are_known():
    found = plan.licences(plan.make(TEXT, LINUX, gpu.builds(LINUX, [])[0][0]))
    assert sum(map(len, found.values())) == len(plan.pins(TEXT, "linux")) + 1
    assert "torch" in [name for licence, names in found.items() if "BSD" in licence for name in names]
    assert "see the package" not in found or len(found["see the package"]) <= 2


# --- tags


@pytest.mark.parametrize(
    ("filename", "target", "suits"),
    [
        ("a-1-py3-none-any.whl", LINUX, True),
        ("a-1-py2.py3-none-any.whl", WINDOWS, True),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", LINUX, True),
        ("a-1-cp312-cp312-manylinux_2_28_x86_64.whl", LINUX, False),
        ("a-1-cp38-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", LINUX, True),
        ("a-1-cp313-abi3-manylinux2014_x86_64.whl", LINUX, False),
        ("a-1-cp311-cp311-manylinux_2_38_x86_64.whl", LINUX, False),  # a newer glibc than there is
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", LINUX, False),
        ("a-1-cp311-cp311-manylinux_2_28_aarch64.whl", LINUX, False),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", Target("linux", "x86_64", (3, 11), (0, 0)), False),  # musl
        ("a-1-cp312-cp312-win_amd64.whl", WINDOWS, True),
        ("a-1-cp312-cp312-win_arm64.whl", WINDOWS, False),
        ("a-1-cp312-cp312-win32.whl", WINDOWS, False),
        ("a-1-cp311-cp311-macosx_14_0_arm64.whl", MAC, True),
        ("a-1-cp311-cp311-macosx_15_0_arm64.whl", MAC, False),
        ("a-1-cp311-cp311-macosx_10_9_universal2.whl", MAC, True),
        ("a-1-cp311-cp311-macosx_10_9_x86_64.whl", MAC, False),
        ("a-1-cp313-cp313t-win_amd64.whl", Target("win", "x86_64", (3, 13)), False),  # free-threaded
        ("a-1.tar.gz", LINUX, False),
        ("README.whl", LINUX, False),
    ],
)
def test_wheels_suit_or_not(filename, target, suits):
    assert (platforms.rank(filename, target) is not None) is suits


def test_the_closest_wheel_wins():
    names = [
        "a-1-py3-none-any.whl",
        "a-1-cp38-abi3-manylinux2014_x86_64.whl",
        "a-1-cp311-cp311-manylinux2014_x86_64.whl",
    ]
    assert sorted(names, key=lambda name: platforms.rank(name, LINUX)) == names[::-1]


def test_pip_agrees_about_this_computer():
    tags = pytest.importorskip("pip._vendor.packaging.tags")
    supported = {str(tag) for tag in tags.sys_tags()}
    here = platforms.this_computer()
    for entry in plan.table()["packages"]:
        for filename, *_ in entry["wheels"]:
            pythons, abis, systems = filename[:-4].split("-")[-3:]
            ours = platforms.rank(filename, here) is not None
            theirs = any(
                f"{python}-{abi}-{system}" in supported
                for python in pythons.split(".")
                for abi in abis.split(".")
                for system in systems.split(".")
            )
            assert ours == theirs, filename


# --- the build of PyTorch


SMI = "NVIDIA GeForce RTX 4090, 581.29, 8.9, 24564\n"


@pytest.mark.parametrize(
    ("target", "smi", "device", "kinds", "told"),
    [
        (LINUX, "", "auto", ["cpu", "default"], "no NVIDIA card"),
        (LINUX, SMI, "auto", ["default", "cpu"], "RTX 4090"),
        (LINUX, SMI, "cpu", ["cpu", "default"], "chosen in the preferences"),
        (LINUX, "Tesla T4, 535.104.05, 7.5, 15360\n", "auto", ["cpu", "default"], "needs 580 or newer"),
        (LINUX, "GeForce GTX 1080, 580.65.06, 6.1, 8192\n", "auto", ["cpu", "default"], "too old for CUDA 13"),
        (WINDOWS, "", "auto", ["default"], "no NVIDIA card"),
        (WINDOWS, SMI, "auto", ["cuda", "default"], "RTX 4090"),
        (WINDOWS, "Quadro, 552.22, 8.6, 8192\n", "auto", ["default"], "Update the driver"),
        (MAC, SMI, "auto", ["default"], "Mac"),
    ],
)
def test_the_driver_decides_and_the_cpu_is_always_among_the_builds(target, smi, device, kinds, told):
    found, why = gpu.builds(target, gpu.parse(smi), device)
    assert [build.kind for build in found] == kinds
    assert told in why
    last = found[-1]
    assert not last.index or last.kind == "cpu", "the last build comes from the usual index or needs no card"


def test_cuda_brings_its_packages_and_the_cpu_does_not():
    cuda, cpu = (plan.make(TEXT, LINUX, build) for build in gpu.builds(LINUX, gpu.parse(SMI))[0])
    assert any(item.name.startswith("nvidia-") for item in cuda.items)
    assert not any(item.name.startswith("nvidia-") for item in cpu.items)
    assert cuda.download > 4 * cpu.download


def test_the_driver_is_asked_by_its_own_tool(monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command)
        return types.SimpleNamespace(returncode=0, stdout=SMI)

    monkeypatch.setattr(gpu.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    card = gpu.cards(run)[0]
    assert card == gpu.Card("NVIDIA GeForce RTX 4090", "581.29", 8.9, 24564 << 20)
    assert "--query-gpu=name,driver_version,compute_cap,memory.total" in asked[0]

    def hangs(command, **_options):
        raise subprocess.TimeoutExpired(command, 20)

    assert gpu.cards(hangs) == []
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    monkeypatch.delenv("SystemRoot", raising=False)
    assert gpu.cards(run) == []


def test_words_of_a_broken_driver_are_no_card():
    text = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nN/A, [N/A], [N/A], [N/A]\n"
    assert gpu.parse(text) == []


# --- the plan


def test_a_download_that_began_is_counted(cache):
    build = gpu.builds(LINUX, [])[0][0]
    before = plan.make(TEXT, LINUX, build)
    torch = next(item for item in before.items if item.name == "torch")
    downloads = environment.downloads_folder()
    downloads.mkdir(parents=True)
    (downloads / f"{torch.filename}.part").write_bytes(bytes(1_000_000))
    after = plan.make(TEXT, LINUX, build)
    assert before.download - after.download == after.here == 1_000_000


def test_missing_wheels_are_named(tmp_path):
    folder = tmp_path / "wheels"
    write_wheel(folder, "accelerate", "1.15.0")
    made = plan.make("accelerate==1.15.0\nabsent==2.0\n", LINUX, gpu.builds(LINUX, [])[0][0], folder=folder, base=False)
    assert made.missing == ["absent-2.0"] and made.download == 0
    problem = setup.missing_wheels(folder, made.missing, LINUX)
    assert "absent-2.0" in problem.message and str(folder) in problem.message and "build.py wheels" in problem.hint


def test_a_marker_leaves_other_systems_alone():
    text = '# note\na==1.0\nb==2.0; sys_platform == "win32"  # only there\n\n'
    assert plan.pins(text, "linux") == [("a", "1.0")]
    assert plan.pins(text, "win") == [("a", "1.0"), ("b", "2.0")]
    with pytest.raises(ValueError, match="cannot be read"):
        plan.pins("a==1.0; python_version < '3.12'", "linux")


def test_a_table_of_other_requirements_is_no_lie(monkeypatch, tmp_path):
    other = tmp_path / "wheels.json"
    other.write_text(json.dumps({"packages": [{"name": "a", "version": "0.9", "licence": "", "wheels": []}]}))
    monkeypatch.setattr(environment.paths, "WHEELS", other)
    made = plan.make("a==1.0\n", LINUX, gpu.builds(LINUX, [])[0][0], base=False)
    assert made.unknown == ["a"]


@pytest.mark.parametrize(
    ("count", "words"), [(1_234_567, "1.2 MB"), (234_567_890, "235 MB"), (2_345_678_901, "2.3 GB")]
)
def test_sizes_are_readable(count, words):
    assert plan.in_words(count) == words
