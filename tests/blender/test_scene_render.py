"""Contact sheets: a picture with a figure in every cell, and nothing left behind."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from blender.scenes import build, empty, pixels_of  # noqa: E402
from figures import figure, mixamo_names, walk  # noqa: E402

from blender_addon.retarget import retarget  # noqa: E402
from blender_addon.rig import RigError, match  # noqa: E402
from blender_addon.scene import armature as armatures  # noqa: E402
from blender_addon.scene import keys, mannequin, render, stage  # noqa: E402


def animate(armature, motion):
    plain = armatures.read_rig(armature)
    return keys.write_action(armature, retarget(motion, plain, match(plain.bones), 30.0), "motion", 1)


@pytest.mark.parametrize("maker", [mannequin.add, lambda: build(figure(mixamo_names(), scale=100.0))])
def test_contact_sheet(tmp_path, maker):
    empty()
    armature = maker()
    animate(armature, walk(2.0))
    bpy.context.scene.frame_set(5)
    before = {kind: len(getattr(bpy.data, kind)) for kind in (*stage.KINDS, "scenes")}
    path = render.contact_sheet(
        armature, tmp_path / "sheet", frames=[1, 20, 40], columns=2, size=(120, 150), title="a walk"
    )
    assert {kind: len(getattr(bpy.data, kind)) for kind in before} == before
    assert bpy.context.scene.frame_current == 5
    sheet = pixels_of(path)
    assert path.name == "sheet.png"
    assert sheet.shape[1] == 243 and sheet.shape[0] > 303
    title = sheet[: sheet.shape[0] - 303]
    assert title.max() - title.min() > 0.3, "the title is written"
    cells = [sheet[-303:-153, :120], sheet[-303:-153, 123:], sheet[-150:, :120]]
    for cell in cells:
        middle = cell[40:110, 40:80, :3]
        assert np.ptp(middle, axis=-1).max() > 0.08, "a coloured figure stands in the middle of the grey floor"
    assert np.abs(cells[0] - cells[1]).max() > 0.2, "the poses differ"
    assert (sheet[-150:, 123:] == 1.0).all(), "the empty cell is white"


def test_nothing_to_draw_is_said(tmp_path):
    empty()
    with pytest.raises(RigError, match="no animation"):
        render.contact_sheet(mannequin.add(), tmp_path / "sheet.png")
    with pytest.raises(RigError, match="at least one"):
        armature = mannequin.add()
        animate(armature, walk(0.5))
        render.contact_sheet(armature, tmp_path / "sheet.png", frames=[])
