"""Broken, cut, absurd and hostile motion files: one sentence with the file's name and line, never anything else."""

import io
import random
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

pytest.importorskip("scipy")

import bvh_files  # noqa: E402
from motions import walk  # noqa: E402

from backend.errors import BackendError  # noqa: E402
from backend.motion import formats  # noqa: E402
from backend.motion.formats import smplx_npz  # noqa: E402

HEAD = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
LEAF = "JOINT b\n{\nOFFSET 0 1 0\nCHANNELS 3 Zrotation Xrotation Yrotation\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n}\n"
ASF = """:root
order TX TY TZ RX RY RZ
axis XYZ
:bonedata
begin
name upper
direction 0 -1 0
length 2
axis 0 0 0 XYZ
dof rx ry rz
end
:hierarchy
begin
root upper
end
"""
AMC = "1\nroot 0 0 0 0 0 0\nupper 1 2 3\n2\nroot 0 0 0 0 0 0\nupper 1 2 3\n"


def refused(path, match: str = "") -> str:
    with pytest.raises(BackendError, match=match) as caught:
        formats.read(path)
    assert caught.value.code == "bad_file"
    assert path.name in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (HEAD + LEAF + "MOTION\nFrames: 1000000000\nFrame Time: 0.03\n", "line 17: 1000000000 frames"),
        (HEAD + LEAF + "MOTION\nFrames: 5\nFrame Time: 0\n", "line 18"),
        (HEAD + LEAF + "MOTION\nFrames: many\nFrame Time: 0.1\n", "line 17: 'many'"),
        (HEAD + LEAF + "MOTION\nFrames: 3\nFrame Time: 0.1\n1 2 3 4 5 6\n1 2 3 4 5 6\n", "after 2 of the 3"),
        (HEAD + LEAF + "MOTION\nFrames: 2\nFrame Time: 0.1\n1 2 3 4 5 6\n1 2 3 4 5\n", "line 20: 5 numbers where 6"),
        (HEAD + LEAF + "MOTION\nFrames: 2\nFrame Time: 0.1\n1 2 3 4 5 6\n1 2 nan 4 5 6\n", "line 20: 'nan'"),
        (HEAD + LEAF + "MOTION\nFrames: 1\nFrame Time: 0.1\n1 2 1e999 4 5 6\n", "line 19: '1e999'"),
        (HEAD + LEAF, "no MOTION"),
        (HEAD + "MOTION\n", "line 6: the hierarchy is not complete"),
        ("ROOT a\n{\nOFFSET 0 0 0\n" + "JOINT x\n{\nOFFSET 0 1 0\n" * 100_000, "more than 1000 joints"),
        ("HIERARCHY\nROOT a\n}\n", "line 3: a closing bracket"),
        ("HIERARCHY\nJOINT a\n{\n", "line 2: a JOINT outside"),
        ("HIERARCHY\nROOT a\nJOINT b\n", "line 3"),
        ("ROOT a\n{\nOFFSET 0 0 1e300\n", "line 3: an OFFSET"),
        ("ROOT a\n{\nCHANNELS 2 Xrotation Xrotation\n", "line 3: channels"),
        ("ROOT a\n{\nOFFSET 0 0 0\n}\nMOTION\nFrames: 1\nFrame Time: 1\n\n", "no joint has CHANNELS"),
    ],
)
def test_bvh(tmp_path, text, match):
    path = tmp_path / "x.bvh"
    path.write_text(text)
    refused(path, match)


@pytest.mark.parametrize(
    ("asf", "amc", "match"),
    [
        (ASF, AMC.replace("upper 1 2 3", "upper 1 2", 1), r"9_1.amc, line 3: 2 numbers where 3"),
        (ASF, AMC.replace("upper 1 2 3", "upper 1 inf 3", 1), "line 3: 'inf'"),
        (ASF, AMC.replace("upper", "lower", 1), "line 3: the skeleton has no moving bone 'lower'"),
        (ASF, AMC + "3\nroot 0 0 0 0 0 0\n", "line 8: frame 3 has 0 entries for upper"),
        (ASF, "root 0 0 0 0 0 0\n", "line 1: values before the first frame"),
        (ASF, "", "no frames"),
        (ASF.replace("XYZ\ndof", "XXZ\ndof"), AMC, "9.asf, line 9: 'XXZ' is no order"),
        (ASF.replace("dof rx ry rz", "dof rx rx"), AMC, "9.asf, line 10: channels"),
        (ASF.replace("length 2", ""), AMC, "9.asf, line 11: a bone needs"),
        (ASF.replace("root upper", "upper upper"), AMC, "9.asf: bones without a way to the root: upper"),
        (ASF.replace("length 2", "length 1e999"), AMC, "9.asf, line 8"),
        ("", AMC, "9.asf: no skeleton"),
    ],
)
def test_asf_and_amc(tmp_path, asf, amc, match):
    (tmp_path / "9.asf").write_text(asf)
    (tmp_path / "9_1.amc").write_text(amc)
    with pytest.raises(BackendError, match=match) as caught:
        formats.read(tmp_path / "9_1.amc")
    assert caught.value.code == "bad_file"


@pytest.mark.parametrize(
    "table",
    [
        "", "[]", "[" * 100_000, '{"joints": 3}', '{"joints": [{"name": "a", "parent": 5, "offset": [0, 0, 0]}]}',
        '{"joints": [{"name": "a", "parent": -1, "offset": [0, NaN, 0]}]}',
        '{"joints": [{"name": "a", "parent": -1, "offset": [0, 0]}]}',
    ],
)  # fmt: skip
def test_skeleton_tables(tmp_path, table):
    (tmp_path / "skeleton.json").write_text(table)
    (tmp_path / "a.txt").write_text("1 2 3 4 5 6\n")
    with pytest.raises(BackendError, match=r"skeleton\.json: this is not a skeleton table"):
        formats.read(tmp_path / "a.txt")


def npy_header(shape: tuple, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def test_huge_arrays_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(smplx_npz, "MAX_BYTES", 64 * 2**20)
    (tmp_path / "a.npy").write_bytes(npy_header((10**9, 22, 3)) + b"\0" * 1000)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("poses.npy", npy_header((10**9, 165)) + b"\0" * 1000)
        archive.writestr("trans.npy", npy_header((10**9, 3)) + b"\0" * 1000)
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("poses.npy", "w", force_zip64=True) as file:
            file.write(npy_header((20 * 2**20,)))
            for _ in range(80):
                file.write(b"\0" * 2**20)
    tracemalloc.start()
    refused(tmp_path / "a.npy", "cut off")
    refused(tmp_path / "b.npz", "cut off")
    refused(tmp_path / "c.npz", "80 MB, which is too much")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.array([{"a": 1}], dtype=object), "Python objects"),
        (np.zeros((4, 21, 3)), "shape"),
        (np.zeros((4, 251)), "shape"),
        (np.zeros((0, 22, 3)), "0 frames"),
        (np.zeros((4, 22, 3)), "no length"),
        (np.full((4, 22, 3), np.nan), "frame 1"),
        (np.full((4, 263), 1e30), "frame 1"),
        (np.array(3.0), "shape"),
        (np.array(["text"]), "numbers"),
        (np.zeros((4, 22, 3), dtype=complex), "numbers"),
    ],
)
def test_arrays_that_are_no_motion(tmp_path, array, match):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    refused(tmp_path / "a.npy", match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"poses": np.zeros((10, 40))}, "do not fit a body"),
        ({"trans": np.zeros((9, 3))}, "do not fit a body"),
        ({"poses": np.zeros(10)}, "do not fit a body"),
        ({"trans": np.full((10, 3), np.inf)}, "frame 1"),
        ({"mocap_framerate": -5.0}, "frames a second"),
        ({"mocap_framerate": np.zeros(0)}, "frames a second"),
        ({"poses": np.array([None] * 10)}, "Python objects"),
        ({"trans": np.array(["a"] * 10)}, "no plain numbers"),
        ({"rest_offsets": np.zeros((3, 3))}, "rest_offsets"),
        ({"up_axis": "sideways"}, "points up"),
        ({"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3))}, "do not fit a body"),
    ],
)
def test_npz(tmp_path, change, match):
    good = {"poses": np.zeros((10, 156)), "trans": np.zeros((10, 3)), "mocap_framerate": 60.0}
    np.savez(tmp_path / "good.npz", **good)
    assert formats.read(tmp_path / "good.npz").frames == 5
    np.savez(tmp_path / "a.npz", **(good | change), allow_pickle=True)
    refused(tmp_path / "a.npz", match)


WORDS = [b"nan", b"-1", b"0", b"1e308", b"1e400", b"99999999999", b"", b"{", b"}", b"JOINT x", b"End Site", b"\x00",
         b"\xff\xfe", b"ROOT r", b"OFFSET 0 0 0", b"begin", b"end", b":bonedata", b"null", b"-99", b'"']  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind, lines = rng.randrange(5), data.split(b"\n")
        if kind == 0:
            data = data[: rng.randrange(len(data) + 1)]
        elif kind == 1 and data:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            words = data.split(b" ")
            words[rng.randrange(len(words))] = rng.choice(WORDS)
            data = b" ".join(words)
        elif kind == 3:
            del lines[rng.randrange(len(lines))]
            data = b"\n".join(lines)
        else:
            lines.insert(rng.randrange(len(lines)), rng.choice([*WORDS, rng.choice(lines)]))
            data = b"\n".join(lines)
    return data


@pytest.mark.parametrize(
    "kind", ["own.bvh", "other.bvh", "own.npz", "amass.npz", "joints.npy", "features.npy", "9_1.amc"]
)
def test_random_damage_is_never_more_than_a_refusal(tmp_path, kind):
    path, motion = tmp_path / kind, walk(0.4, yaw_rate=30)
    if kind == "other.bvh":
        bvh_files.write(path, motion, bvh_files.names_of(bvh_files.MIXAMO), place=True)
    elif kind == "amass.npz":
        np.savez(path, poses=np.zeros((10, 156)), trans=np.zeros((10, 3)), mocap_framerate=60.0)
    elif kind == "9_1.amc":
        path.write_text(AMC)
    else:
        formats.write(path, motion, **({"features": True} if kind == "features.npy" else {}))
    good, asf = path.read_bytes(), ASF.encode()
    rng = random.Random(kind)
    refusals = 0
    for _ in range(80):
        if kind == "9_1.amc":
            (tmp_path / "9.asf").write_bytes(mutated(asf, rng) if rng.random() < 0.5 else asf)
        path.write_bytes(mutated(good, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = formats.read(path)
            except BackendError as error:
                assert error.code == "bad_file"
                refusals += 1
            else:
                assert np.isfinite(found.rotations).all() and np.isfinite(found.translation).all()
    assert refusals > 25


def test_folders_and_odd_files_are_refused(tmp_path):
    (tmp_path / "folder.bvh").mkdir()
    with pytest.raises(BackendError, match="no such file"):
        formats.read(tmp_path / "folder.bvh")
    (tmp_path / "binary.bvh").write_bytes(b"\0\1\2" * 100)
    refused(tmp_path / "binary.bvh", "not a text file")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("poses.npy", b"nothing")
    (tmp_path / "x.npz").write_bytes(archive.getvalue())
    refused(tmp_path / "x.npz", "cut off")
