"""The same motions on many rigs, in one picture, to be looked at: no twisted limb, no sliding foot, no backwards knee.

``python tests/rig_sheet.py PICTURE.png [--motions FILE.bvh ...] [--rigs FOLDER]``, where bpy is. A row for the
mannequin, for Blender's own Rigify metarig, for the rig generated from it by FK and by IK, and for every character in
FOLDER (any file that the add-on reads, or folders that hold one). Numbers are printed beside: what the feet slide while
they touch the ground, how far knees bend the wrong way, and what a capture of the result differs by.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bpy  # noqa: E402
import numpy as np  # noqa: E402
from blender.scenes import empty, pixels_of, rigify  # noqa: E402
from figures import walk  # noqa: E402

from blender_addon.retarget import CanonicalMotion, retarget  # noqa: E402
from blender_addon.retarget import rotations as rot  # noqa: E402
from blender_addon.rig import canonical  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import capture, keys, mannequin, render  # noqa: E402
from blender_addon.scene.import_rig import READABLE, import_rig  # noqa: E402

CELL = (150, 186)
PICTURES = 3


def metarig() -> bpy.types.Object:
    """Rigify's human template, which can be animated as it is."""
    bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_human_metarig_add()
    return bpy.context.object


def read(path: Path | None) -> CanonicalMotion:
    """The motion of the animated character in a file, or a walk that is made here."""
    if path is None:
        return walk(3.0)
    empty()
    return capture.capture(import_rig(path))


def characters(folder: Path | None) -> dict[str, tuple]:
    """Name -> (what makes the armature, options of retarget)."""
    found = {"mannequin": (mannequin.add, {}), "Rigify metarig": (metarig, {})}
    found["Rigify, FK"] = (rigify, {})
    found["Rigify, IK"] = (rigify, {"ik_legs": True, "ik_arms": True})
    for path in sorted(folder.rglob("*")) if folder else ():
        if path.suffix.lower() in READABLE:
            name = path.parent.name if path.stem == "rig" else path.stem
            found[name] = (lambda path=path: import_rig(path), {})
    return found


def measures(armature: bpy.types.Object, motion: CanonicalMotion) -> str:
    """The numbers of one row, against ``motion`` at the scene's rate."""
    mapping = armatures.bone_map(armature)
    back = capture.capture(armature, fps=None)
    frames = min(back.frames, motion.frames)
    known = [bool(mapping.joints.get(joint)) for joint in canonical.JOINTS]
    apart = np.degrees(rot.angle(back.global_rotations()[:frames], motion.global_rotations()[:frames]))
    legs = [
        canonical.INDEX[f"{side}_{joint}"] for side in canonical.SIDES for joint in ("hip", "knee", "ankle", "foot")
    ]
    above = [joint for joint in range(22) if known[joint] and joint not in legs]
    slides = []
    rig, _, pose = capture.poses(armature, frame_range=(1, frames))
    place = rig.object_matrix
    heads = {name: pose[:, rig.index[name], :3, 3] @ place[:3, :3].T + place[:3, 3] for name in rig.names}
    leg = np.linalg.norm(heads[mapping.bone("left_hip")][0] - heads[mapping.bone("left_knee")][0])
    leg += np.linalg.norm(heads[mapping.bone("left_knee")][0] - heads[mapping.bone("left_ankle")][0])
    size = leg / np.abs(canonical.REST_OFFSETS[[canonical.INDEX["left_knee"], canonical.INDEX["left_ankle"]], 1]).sum()
    for column, joint in enumerate(canonical.CONTACT_JOINTS):
        # Feet stand and turn on their balls
        if joint.endswith("foot") and mapping.bone(joint):
            path = heads[mapping.bone(joint)][:, :2] / size
            touch = motion.contacts[:frames, column] > 0.5
            held = touch[1:] & touch[:-1]
            slides.append(np.linalg.norm(np.diff(path, axis=0), axis=-1)[held] * motion.fps)
    slide = np.concatenate(slides) if slides else np.zeros(0)
    slid = f"{100 * np.percentile(slide, 95):.1f} cm/s" if len(slide) else "no contact"
    bends = [backwards(back, side) for side in canonical.SIDES]
    return (
        f"trunk and arms {apart[:, above].max():.2f} deg, all {apart[:, known].max():.1f} deg with foot lock, "
        f"feet slide {slid}, knees backwards {max(bends):.1f} deg"
    )


def backwards(motion: CanonicalMotion, side: str) -> float:
    """How far a knee bends forwards, degrees: its turn about the canonical X axis, where that is negative."""
    q = motion.rotations[:, canonical.INDEX[f"{side}_knee"]]
    return float(max(0.0, -np.degrees(2.0 * np.arctan2(q[:, 1] * np.sign(q[:, 0]), np.abs(q[:, 0]))).min()))


def stacked(rows: list[list[Path]], out: Path) -> None:
    """Rows one below the other, half of them beside the other half, in one PNG."""
    pictures = [np.concatenate([pixels_of(part) for part in row], axis=1) for row in rows]
    half = -(-len(pictures) // 2)
    width, height = pictures[0].shape[1], max(picture.shape[0] for picture in pictures)
    sheet = np.ones((half * height, 2 * width + 12, 4), dtype=np.float32)
    for k, picture in enumerate(pictures):
        top, left = (k % half) * height, (k // half) * (width + 12)
        sheet[top : top + picture.shape[0], left : left + width] = picture
    image = bpy.data.images.new("sheet", sheet.shape[1], sheet.shape[0])
    image.pixels.foreach_set(np.ascontiguousarray(sheet[::-1]).ravel())
    image.filepath_raw, image.file_format = str(out.resolve()), "PNG"
    image.save()


def main() -> int:
    parser = argparse.ArgumentParser(description="One motion on many rigs in one picture.")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--motions", type=Path, nargs="*", help=".bvh, .glb, ... (default: a walk that is made here)")
    parser.add_argument("--rigs", type=Path, help="folder with characters")
    options = parser.parse_args()
    motions = [read(path).resample(30.0) for path in options.motions or [None]]
    rows: list[list[Path]] = []
    with tempfile.TemporaryDirectory(prefix="momug-sheet-") as scratch:
        for name, (make, how) in characters(options.rigs).items():
            empty()
            armature = make()
            bpy.context.scene.render.fps = 30
            rig, mapping = armatures.read_mapped(armature)
            rows.append([])
            for motion in motions:
                animation = retarget(motion, rig, mapping.require(), 30.0, **how)
                keys.write_action(armature, animation, name, 1)
                print(f"{name:<24}{measures(armature, motion)}", *animation.warnings, flush=True)
                frames = [int(round(f)) for f in np.linspace(1, animation.frames, PICTURES)]
                part = Path(scratch) / f"{len(rows):03d}-{len(rows[-1])}.png"
                rows[-1].append(render.contact_sheet(armature, part, frames, PICTURES, CELL, title=name))
        stacked(rows, options.picture)
    print(options.picture)
    return 0


if __name__ == "__main__":
    code = main()
    # bpy as a module may hang while Python takes it apart
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
