"""``python -m backend body``: a motion as meshes of a body model that the user owns."""

import argparse
from pathlib import Path

from backend.commands.shared import command, positive


def add(commands: argparse._SubParsersAction) -> None:
    one = command(commands, "body", body, "body meshes of a motion, on an SMPL model that you own (needs smplx)")
    one.add_argument("file", type=Path, metavar="FILE", help=".npz, .npy, .bvh or .amc")
    one.add_argument("--model", type=Path, required=True, metavar="FILE.npz", help="SMPL, SMPL-H or SMPL-X, never .pkl")
    one.add_argument("--out", type=Path, required=True, metavar="OUT", help=".npz, .obj (first frame) or .pc2 + .obj")
    one.add_argument("--fps", type=positive, metavar="N", help="frames a second (default: the file's)")


def body(options: argparse.Namespace) -> None:
    from backend.motion import body as bodies

    model = bodies.load_model(options.model)
    motion = bodies.read_motion(options.file, options.fps)
    mesh = bodies.vertices(model, motion)
    bodies.write(options.out, mesh, model.faces, motion.fps)
    print(f"{options.out}: {mesh.shape[0]} frames of {mesh.shape[1]} vertices, {motion.fps:g} frames a second")
