"""Windows and macOS as the installer meets them, played on whatever computer this is: paths, flags, builds."""

import ctypes
import json
import subprocess
import sys
import types
import urllib.parse
import urllib.request
from pathlib import Path, PureWindowsPath

import pytest
from wheel_shop import write_wheel

from blender_addon.client import download, environment, gpu, interpreters, plan, platforms, process, setup, sources
from blender_addon.client.problems import EnvironmentProblem, NotOffered, from_error

TEXT = environment.paths.REQUIREMENTS.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MOMUG_CACHE", str(tmp_path / "cache of a user"))
    monkeypatch.delenv("MOMUG_BASE_MODEL", raising=False)
    return tmp_path / "cache of a user"


def registry(monkeypatch, long_paths):
    """Stand in for winreg; None is a Windows without the setting."""

    class Key:
        def __enter__(self):
            return self

        def __exit__(self, *_error):
            return None

    def read(_key, name):
        assert name == "LongPathsEnabled"
        if long_paths is None:
            raise FileNotFoundError(name)
        return long_paths, 4

    fake = types.SimpleNamespace(HKEY_LOCAL_MACHINE="machine", OpenKey=lambda root, name: Key(), QueryValueEx=read)
    monkeypatch.setitem(sys.modules, "winreg", fake)
    monkeypatch.setattr(sys, "platform", "win32")


# --- where things lie


@pytest.mark.parametrize(
    ("system", "variables", "folder", "python"),
    [
        ("win32", {"LOCALAPPDATA": "/C/Users/Änne B/Local"}, "/C/Users/Änne B/Local/momug", "Scripts/python.exe"),
        ("darwin", {}, "HOME/Library/Caches/momug", "bin/python"),
        ("linux", {}, "HOME/.cache/momug", "bin/python"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/momug", "bin/python"),
    ],
)  # fmt: skip
def test_each_system_has_its_own_places(monkeypatch, tmp_path, system, variables, folder, python):
    for name in ("MOMUG_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", system)
    assert environment.paths.cache_folder() == Path(folder.replace("HOME", str(tmp_path)))
    assert environment.paths.environment_python(Path("env")) == Path("env", python)


@pytest.mark.parametrize("inside", ["Lib/site-packages", "lib/python3.11/site-packages"])
def test_packages_are_counted_in_the_layouts_of_both_systems(tmp_path, monkeypatch, inside):
    """pip gets file names with spaces and umlauts as addresses, and what it installed is seen."""
    packages = tmp_path / "env" / inside
    packages.mkdir(parents=True)
    wheel = write_wheel(tmp_path / "Ordner für Änne", "tinything")
    told, listed = [], []

    def run(command, log, tell, **variables):
        listed.extend(Path(command[-1]).read_text(encoding="utf-8").split())
        (packages / "tinything-1.0.dist-info").mkdir()
        tell()
        return 0, ""

    monkeypatch.setattr(setup, "run", run)
    environment.paths.cache_folder().mkdir(parents=True)
    own = tmp_path / "env" / ("Scripts/python.exe" if inside.startswith("Lib") else "bin/python")
    setup._pip_install("small", own, [wheel], lambda *given, **_more: told.append(given), tmp_path / "log", again=False)
    assert ("install", 1, 1) in told
    assert Path(urllib.request.url2pathname(urllib.parse.urlsplit(listed[0]).path)) == wheel


@pytest.mark.parametrize(
    ("user", "long_paths", "fits"),
    [("Anna", 0, True), ("Anna", None, True), ("anna.katharina.musterfrau", 0, False), ("x" * 200, 1, True)],
)
def test_windows_has_no_room_for_long_names_unless_it_is_told_to(monkeypatch, user, long_paths, fits):
    registry(monkeypatch, long_paths)
    folder = PureWindowsPath(rf"C:\Users\{user}\AppData\Local\momug\envs\backend-774bef96ed20")
    if fits:
        environment.check_path(folder)
        return
    with pytest.raises(EnvironmentProblem, match="too long") as caught:
        environment.check_path(folder)
    assert caught.value.code == "path_too_long" and r"C:\momug" in caught.value.hint


def test_the_longest_name_is_that_of_the_packages_themselves():
    torch = pytest.importorskip("torch")
    packages = Path(torch.__file__).parents[1]
    names = [file.relative_to(packages) for top in packages.glob("torch*") for file in top.rglob("*")]
    longest = max(len(str(name)) for name in names if "__pycache__" not in name.parts)
    assert longest <= environment.LONGEST_NAME


def test_other_systems_allow_long_names(monkeypatch):
    for system in ("darwin", "linux"):
        monkeypatch.setattr(sys, "platform", system)
        assert platforms.path_limit() is None
        environment.check_path(Path("/" + "x" * 200 + "/" + "x" * 200))


def test_what_pip_says_of_long_names_is_understood():
    said = OSError(
        "[Errno 2] No such file or directory: 'C:\\\\x' HINT: ... does not have Windows Long Path support enabled"
    )
    assert from_error(said, "x", "f", "l").code == "path_too_long"


# --- how children are started


def test_no_console_flashes_up_on_windows(monkeypatch):
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert environment.no_window() == {"creationflags": 0x08000000}
    monkeypatch.setattr(sys, "platform", "darwin")
    assert environment.no_window() == {}


def test_windows_ends_what_the_installer_started_by_a_job_object(monkeypatch, tmp_path):
    from blender_addon.client import windows_job

    asked = []

    class Kernel:
        """Stands in for kernel32: notes what is asked of it."""

        def __getattr__(self, name):
            def function(*given):
                asked.append((name, given))
                return 77

            setattr(self, name, function)
            return function

    class Popen:
        pid, _handle, stdin, stdout = 5, 123, None, None

        def __init__(self, command, **options):
            asked.append(("Popen", options))

        def poll(self):
            return 0

    kernel = Kernel()
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **options: kernel, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(sys, "platform", "win32")
    child = process.BackendProcess(["python.exe"], {}, tmp_path / "log", tmp_path)
    options = dict(asked)["Popen"]
    assert options["creationflags"] == 0x08000200 and "start_new_session" not in options
    assert ("AssignProcessToJobObject", (77, 123)) in asked
    child.kill()
    assert ("CloseHandle", (77,)) in asked, "the job outlives what it was made for"
    if sys.maxsize > 2**32:
        assert ctypes.sizeof(windows_job._ExtendedLimits) == 144, "not what Windows expects on 64 bits"


# --- which computer a Python is for


@pytest.mark.parametrize(
    ("system", "said", "machine"),
    [
        ("win32", [3, 11, "win-amd64", "AMD64"], "x86_64"),
        ("win32", [3, 11, "win-amd64", "ARM64"], "x86_64"),  # a Python for Intel on a processor of ARM
        ("win32", [3, 11, "win-arm64", "ARM64"], "arm64"),
        ("win32", [3, 11, "win32", "AMD64"], "x86"),
        ("darwin", [3, 11, "macosx-11.0-universal2", "arm64"], "arm64"),
        ("darwin", [3, 11, "macosx-11.0-universal2", "x86_64"], "x86_64"),  # under Rosetta
        ("linux", [3, 12, "linux-aarch64", "aarch64"], "arm64"),
    ],
)
def test_the_python_is_asked_what_it_is_made_for(monkeypatch, system, said, machine):
    answer = types.SimpleNamespace(returncode=0, stdout=json.dumps(said))
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0, raising=False)
    monkeypatch.setattr(setup.subprocess, "run", lambda *words, **options: answer)
    monkeypatch.setattr(sys, "platform", system)
    found = setup.target_of(Path("python"))
    assert (found.system, found.machine, found.python) == (platforms.SYSTEMS[system], machine, tuple(said[:2]))


def test_a_python_that_says_nothing_is_told(monkeypatch):
    monkeypatch.setattr(setup.subprocess, "run", lambda *w, **o: types.SimpleNamespace(returncode=1, stdout=""))
    with pytest.raises(EnvironmentProblem, match="does not run"):
        setup.target_of(Path("python"))


def test_a_python_for_32_bits_is_passed_over(monkeypatch, tmp_path):
    small = tmp_path / "python.exe"
    answer = types.SimpleNamespace(returncode=0, stdout=f"3.11\n{small}\nTrue\n")
    monkeypatch.setattr(interpreters.subprocess, "run", lambda *words, **options: answer)
    monkeypatch.setattr(interpreters, "candidates", lambda version: [[str(small)]])
    with pytest.raises(NotOffered) as caught:
        interpreters.find_python(((3, 11),))
    assert "is for 32 bits" in caught.value.hint


@pytest.mark.parametrize(
    ("system", "machine", "package"),
    [("mac", "x86_64", "torch"), ("win", "x86", "numpy"), ("linux", "riscv64", "numpy")],
)
def test_a_computer_without_pytorch_is_told_before_anything_is_downloaded(monkeypatch, system, machine, package):
    target = platforms.Target(system, machine, (3, 11))
    monkeypatch.setattr(setup, "find_python", lambda versions: Path(sys.executable))
    monkeypatch.setattr(setup, "target_of", lambda python: target)
    monkeypatch.setattr(setup.gpu, "cards", list)
    with pytest.raises(NotOffered, match=f"is not offered for {target.label}") as caught:
        setup.describe()
    assert caught.value.code == "not_offered" and "Apple silicon" in caught.value.hint
    lacking = plan.make(TEXT, target, gpu.builds(target, [])[0][0]).items
    assert any(item.name == package and not item.filename for item in lacking)


# --- folders of wheels for another computer


@pytest.mark.parametrize(
    ("filename", "label"),
    [
        ("torch-2.13.0-cp312-cp312-win_amd64.whl", "Windows x86_64, Python 3.12"),
        ("numpy-2.4.6-cp311-cp311-macosx_14_0_arm64.whl", "macOS arm64, Python 3.11"),
        ("n-1-cp313-cp313-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl", "Linux arm64, Python 3.13"),
        ("numpy-2.4.6-cp311-cp311-manylinux2014_x86_64.whl", "Linux x86_64, Python 3.11"),
        ("safetensors-0.8.0-cp38-abi3-win_amd64.whl", None),
        ("peft-0.21.2-py3-none-any.whl", None),
    ],
)
def test_a_wheel_says_what_it_is_made_for(filename, label):
    found = platforms.made_for(filename)
    assert (found.label if found else None) == label


def test_a_folder_for_another_computer_is_told_in_one_sentence(tmp_path):
    (tmp_path / "numpy-2.4.6-cp312-cp312-win_amd64.whl").write_bytes(b"")
    target = platforms.Target("linux", "x86_64", (3, 11), (2, 36))
    problem = setup.missing_wheels(tmp_path, ["numpy"], target)
    assert "are for Windows x86_64, Python 3.12; this is Linux x86_64, Python 3.11." in problem.message
    assert "--platform linux --machine x86_64 --python 3.11" in problem.hint


def test_the_python_that_a_folder_is_for_is_looked_for_first(tmp_path):
    assert setup.pythons(None) == setup.pythons(tmp_path) == interpreters.BACKEND_PYTHONS
    (tmp_path / "numpy-2.4.6-cp313-cp313-win_amd64.whl").write_bytes(b"")
    assert setup.pythons(tmp_path) == ((3, 13), (3, 11), (3, 12))
    assert [target.python for target in sources.made_for(tmp_path)] == [(3, 13)]


# --- a virus scanner


class Held(PermissionError):
    winerror = 32


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_a_virus_scanner_holds_for_a_moment_is_waited_for(monkeypatch, tmp_path, times):
    real, tries = download.os.replace, []

    def replace(source, target):
        tries.append(source)
        if len(tries) <= times:
            raise Held(13, "The process cannot access the file because it is being used by another process")
        real(source, target)

    monkeypatch.setattr(download.os, "replace", replace)
    part = tmp_path / "torch.whl.part"
    part.write_bytes(b"whole")
    download._put(part, tmp_path / "torch.whl", pause=0.001)
    assert (tmp_path / "torch.whl").read_bytes() == b"whole" and len(tries) == times + 1


def test_a_file_that_stays_held_is_told_with_the_way_out(monkeypatch, tmp_path):
    def held(source, target):
        raise Held(13, "used by another process")

    monkeypatch.setattr(download.os, "replace", held)
    part = tmp_path / "torch.whl.part"
    part.write_bytes(b"whole")
    with pytest.raises(EnvironmentProblem, match="often a virus scanner") as caught:
        download._put(part, tmp_path / "torch.whl", pause=0.001)
    assert caught.value.code == "locked" and str(tmp_path) in caught.value.hint
    assert part.read_bytes() == b"whole", "what was downloaded is gone"


def test_a_folder_that_may_not_be_written_is_no_virus_scanner(monkeypatch, tmp_path):
    def refused(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(download.os, "replace", refused)
    (tmp_path / "a.part").write_bytes(b"")
    with pytest.raises(PermissionError):
        download._put(tmp_path / "a.part", tmp_path / "a", pause=0.001)


# --- the build of PyTorch, by driver and card

WINDOWS = platforms.Target("win", "x86_64", (3, 11))
LINUX = platforms.Target("linux", "x86_64", (3, 11), (2, 36))
GENERATIONS = [  # what nvidia-smi prints; whether CUDA is taken; what the panel says of it
    ("NVIDIA GeForce RTX 5090, 581.57, 12.0, 32607", True, "RTX 5090 with driver 581.57"),
    ("NVIDIA GB10, 580.95.05, 12.1, [N/A]", True, "GB10"),
    ("NVIDIA H200, 580.105.08, 9.0, 143771", True, "H200"),
    ("NVIDIA GeForce RTX 4070 Laptop GPU, 591.44, 8.9, 8188", True, "RTX 4070 Laptop"),
    ("NVIDIA RTX A2000, 580.65.06, 8.6, 6138", True, "RTX A2000"),
    ("NVIDIA A100-SXM4-40GB, 580.82.07, 8.0, 40960", True, "A100"),
    ("NVIDIA GeForce GTX 1650, 580.88, 7.5, 4096", True, "GTX 1650"),
    ("Tesla V100-SXM2-16GB, 580.65.06, 7.0, 16384", False, "V100-SXM2-16GB is too old for CUDA 13"),
    ("NVIDIA GeForce GTX 1080 Ti, 581.29, 6.1, 11264", False, "GTX 1080 Ti is too old for CUDA 13"),
    ("NVIDIA GeForce RTX 3060, 579.99, 8.6, 12288", False, "CUDA 13 needs 580 or newer"),
    ("NVIDIA GeForce RTX 3090, 535.183.01, 8.6, 24576", False, "Update the driver and press Repair"),
    ("NVIDIA GeForce GTX 1080, 581.29, 6.1, 8192\nNVIDIA GeForce RTX 4090, 581.29, 8.9, 24564", True, "RTX 4090"),
]


@pytest.mark.parametrize(("smi", "cuda", "told"), GENERATIONS, ids=lambda value: str(value)[:32])
@pytest.mark.parametrize("target", [WINDOWS, LINUX], ids=["Windows", "Linux"])
def test_every_generation_of_cards_gets_its_build(target, smi, cuda, told):
    builds, why = gpu.builds(target, gpu.parse(smi + "\n"))
    assert ("CUDA" in builds[0].label) is cuda and told in why
    assert builds[-1].kind in (gpu.CPU, gpu.DEFAULT) and len(builds) == (2 if cuda or target is LINUX else 1)
    made = plan.make(TEXT, target, builds[0])
    torch = next(item for item in made.items if item.name == "torch")
    assert torch.version == {("win", True): "2.13.0+cu130", ("linux", False): "2.13.0+cpu"}.get(
        (target.system, cuda), "2.13.0"
    )
    assert any(item.name.startswith("nvidia-") for item in made.items) is (cuda and target is LINUX)


def test_a_driver_that_does_not_know_the_question_is_too_old_and_not_absent(monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command[1])
        if "compute_cap" in command[1]:
            said = 'Field "compute_cap" is not a valid field to query.'
            return types.SimpleNamespace(returncode=2, stdout=said)
        return types.SimpleNamespace(returncode=0, stdout="GeForce GTX 1060, 470.256.02, 0, 6078\n")

    monkeypatch.setattr(gpu.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    found = gpu.cards(run)
    assert found == [gpu.Card("GeForce GTX 1060", "470.256.02", 0.0, 6078 << 20)] and len(asked) == 2
    _, why = gpu.builds(LINUX, found)
    assert "The driver of GeForce GTX 1060 is 470.256.02" in why


def test_windows_finds_the_drivers_tool_beside_path(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    monkeypatch.setenv("SystemRoot", str(tmp_path / "Windows"))
    monkeypatch.setenv("ProgramFiles", str(tmp_path / "Program Files"))
    assert gpu._tool() is None
    old = tmp_path / "Program Files" / "NVIDIA Corporation" / "NVSMI" / "nvidia-smi.exe"
    new = tmp_path / "Windows" / "System32" / "nvidia-smi.exe"
    for tool in (old, new):
        tool.parent.mkdir(parents=True)
        tool.write_bytes(b"")
        assert gpu._tool() == str(tool)


def test_a_mac_asks_for_no_driver_and_takes_the_general_build():
    target = platforms.Target("mac", "arm64", (3, 13), (15, 2))
    builds, why = gpu.builds(target, [])
    assert [build.kind for build in builds] == [gpu.DEFAULT] and "Mac" in why
    made = plan.make(TEXT, target, builds[0])
    assert all(item.filename and "x86_64" not in item.filename for item in made.items)
