"""Body meshes on a made-up model with the layout of the licensed ones: every vertex sits on a joint."""

import struct
import sys

import numpy as np
import pytest
from motions import walk

from backend.__main__ import main
from backend.errors import BackendError
from backend.motion import body, formats
from backend.motion.formats import smplx_npz
from backend.motion.skeleton import SMPL_REST, forward_kinematics
from backend.protocol import PARENTS, SMPLX_JOINTS

JOINTS = len(SMPLX_JOINTS)


def model_arrays(joints: int = JOINTS) -> dict[str, np.ndarray]:
    """One vertex a joint, moved by it alone; the joints beyond the first 22 hang from the wrists in a row."""
    parents = [*PARENTS, *range(21, joints - 1)]
    places = np.zeros((joints, 3))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            places[joint] = places[parent] + (SMPL_REST[joint] if joint < 22 else [0.02, 0.0, 0.0])
    shapes = np.zeros((joints, 3, 20))
    shapes[:, 1, 0] = 0.01 * places[:, 1]  # the first shape is a taller body
    return {
        "v_template": places,
        "shapedirs": shapes,
        "posedirs": np.zeros((joints, 3, 9 * (joints - 1))),
        "J_regressor": np.eye(joints),
        "kintree_table": np.array([[2**32 - 1, *parents[1:]], range(joints)]),
        "weights": np.eye(joints),
        "f": np.array([[0, 1, 2], [2, 1, 3]]),
    }


@pytest.fixture
def model(tmp_path):
    np.savez(tmp_path / "SMPLX_MADE_UP.npz", part2num=np.array({"a": 1}, dtype=object), **model_arrays())
    return tmp_path / "SMPLX_MADE_UP.npz"


def file_of(path, frames=5, betas=None):
    random = np.random.default_rng(1)
    poses = random.normal(scale=0.3, size=(frames, 165))
    trans = random.normal(size=(frames, 3))
    betas = np.zeros(16) if betas is None else betas
    np.savez(path, poses=poses, trans=trans, betas=betas, mocap_frame_rate=30.0, up_axis="Y")
    return path


def test_vertices_follow_the_joints(model, tmp_path):
    pytest.importorskip("smplx")
    motion = body.read_motion(file_of(tmp_path / "a.npz"))
    mesh = body.vertices(body.load_model(model), motion)
    assert mesh.shape == (5, JOINTS, 3) and mesh.dtype == np.float32
    wanted = forward_kinematics(motion.rotations[:, :22], motion.translation, SMPL_REST)
    assert np.abs(mesh[:, :22] - wanted).max() < 1e-5
    tall = body.read_motion(file_of(tmp_path / "b.npz", betas=np.array([5.0, *np.zeros(15)])))
    taller = body.vertices(body.load_model(model), tall)
    bone = np.linalg.norm(taller[:, 7] - taller[:, 4], axis=-1) / np.linalg.norm(mesh[:, 7] - mesh[:, 4], axis=-1)
    assert 1.03 < bone.mean() < 1.06


def test_a_canonical_motion_stands_as_it_does_on_the_skeleton(model, tmp_path):
    pytest.importorskip("smplx")
    motion = walk(1.0)
    for name in ("m.npz", "m.bvh"):
        formats.write(tmp_path / name, motion)
        mesh = body.vertices(body.load_model(model), body.read_motion(tmp_path / name))
        arms = mesh[:, [18, 19]] - mesh[:, [16, 17]]
        ours = motion.joints()[:, [18, 19]] - motion.joints()[:, [16, 17]]
        cosine = (arms * ours).sum(-1) / np.linalg.norm(arms, axis=-1) / np.linalg.norm(ours, axis=-1)
        assert np.degrees(np.arccos(cosine.min().clip(-1, 1))) < 0.5, name


@pytest.mark.parametrize("out", ["mesh.npz", "mesh.obj", "mesh.pc2"])
def test_the_command_writes_meshes(model, tmp_path, capsys, out):
    pytest.importorskip("smplx")
    file = file_of(tmp_path / "a.npz")
    assert main(["body", str(file), "--model", str(model), "--out", str(tmp_path / out)]) == 0
    assert f"5 frames of {JOINTS} vertices" in capsys.readouterr().out
    if out.endswith("npz"):
        with np.load(tmp_path / out, allow_pickle=False) as made:
            assert made["vertices"].shape == (5, JOINTS, 3) and made["faces"].tolist() == [[0, 1, 2], [2, 1, 3]]
        return
    lines = (tmp_path / "mesh.obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == JOINTS and lines[-1] == "f 3 2 4"
    if out.endswith("pc2"):
        data = (tmp_path / out).read_bytes()
        assert struct.unpack("<12siiffi", data[:32]) == (b"POINTCACHE2\0", 1, JOINTS, 0.0, 1.0, 5)
        assert len(data) == 32 + 5 * JOINTS * 12


def broken(**changed):
    return lambda path: np.savez(path, **{**model_arrays(), **changed})


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("model.pkl", lambda path: path.write_bytes(b"\x80\x04."), "only .npz"),
        ("gone.npz", lambda path: None, "no such body model"),
        ("noise.npz", lambda path: path.write_bytes(b"noise"), "could not be read"),
        ("other.npz", lambda path: np.savez(path, a=np.zeros(3)), "no 'v_template'"),
        ("objects.npz", broken(f=np.array([{"a": 1}], dtype=object)), "Python objects"),
        ("short.npz", broken(weights=np.zeros((3, 3))), "do not fit together"),
        ("faces.npz", broken(f=np.array([[0, 1, 99]])), "do not fit together"),
        ("order.npz", broken(kintree_table=np.full((2, JOINTS), 40)), "not in the order"),
    ],
)
def test_what_is_no_model_is_said(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(BackendError, match=words) as caught:
        body.load_model(tmp_path / name)
    assert name in caught.value.message


def test_a_missing_package_is_said_with_what_to_do(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "smplx.lbs", None)
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(BackendError, match="smplx is not installed") as caught:
        body.vertices(body.load_model(model), smplx_npz.read_body(file_of(tmp_path / "a.npz")))
    assert "requirements-smplx.txt" in caught.value.hint
