"""The blocks of the timeline: several sentences that become one motion."""

import bpy

from .. import ask, properties, rework, runtime, service
from ..translations import tr
from .base import Polled, failed
from .generate import draw_seed, gathered, start

MOST = 100
SHORTEST = 1.0


class _BlockOperator(Polled):
    """An operator on the list of blocks."""

    bl_options = {"REGISTER", "UNDO"}
    needs = 1  # blocks that there have to be

    @classmethod
    def why_not(cls, context) -> str:
        if len(properties.get(context.scene).blocks) >= cls.needs:
            return ""
        return "Add a block first" if cls.needs == 1 else "There is only one block"

    @staticmethod
    def here(settings) -> int:
        return min(max(settings.block_index, 0), len(settings.blocks) - 1)


class MOMUG_OT_add_block(Polled, bpy.types.Operator):
    """Add a block below the chosen one, with the text of the prompt above"""

    bl_idname = "momug.add_block"
    bl_label = "Add Block"
    bl_options = {"REGISTER", "UNDO"}

    prompt: bpy.props.StringProperty(
        name="Prompt", description="Text of the block; empty: that of the prompt", options={"SKIP_SAVE"}
    )

    @classmethod
    def why_not(cls, context) -> str:
        return f"There are {MOST} blocks already" if len(properties.get(context.scene).blocks) >= MOST else ""

    def execute(self, context):
        settings = properties.get(context.scene)
        block = settings.blocks.add()
        block.prompt = self.prompt or settings.prompt
        last = len(settings.blocks) - 1
        place = min(settings.block_index + 1, last) if last else 0
        settings.blocks.move(last, place)
        settings.block_index = place
        return {"FINISHED"}


class MOMUG_OT_remove_block(_BlockOperator, bpy.types.Operator):
    """Remove the chosen block"""

    bl_idname = "momug.remove_block"
    bl_label = "Remove Block"

    def execute(self, context):
        settings = properties.get(context.scene)
        settings.blocks.remove(self.here(settings))
        settings.block_index = max(0, min(settings.block_index, len(settings.blocks) - 1))
        return {"FINISHED"}


class MOMUG_OT_split_block(_BlockOperator, bpy.types.Operator):
    """Split the chosen block in two of half its length, to change one of them"""

    bl_idname = "momug.split_block"
    bl_label = "Split Block"

    @classmethod
    def why_not(cls, context) -> str:
        problem, settings = super().why_not(context), properties.get(context.scene)
        if problem:
            return problem
        block = settings.blocks[cls.here(settings)]
        if not block.auto and block.seconds < 2 * SHORTEST:
            return f"Each half has to be at least {SHORTEST:g} second long"
        return ""

    def execute(self, context):
        settings = properties.get(context.scene)
        place = self.here(settings)
        added = settings.blocks.add()
        first = settings.blocks[place]
        first.seconds = first.seconds / 2
        added.prompt, added.seconds, added.auto = first.prompt, first.seconds, first.auto
        settings.blocks.move(len(settings.blocks) - 1, place + 1)
        settings.block_index = place + 1
        return {"FINISHED"}


class MOMUG_OT_move_block(_BlockOperator, bpy.types.Operator):
    """Move the chosen block"""

    bl_idname = "momug.move_block"
    bl_label = "Move Block"
    needs = 2

    step: bpy.props.IntProperty(name="Step", description="-1 moves it to an earlier place, 1 to a later one", default=1)

    @classmethod
    def description(cls, _context, given):
        return tr("Play the chosen block later" if given.step > 0 else "Play the chosen block earlier")

    def execute(self, context):
        settings = properties.get(context.scene)
        here = self.here(settings)
        place = here + self.step
        if not 0 <= place < len(settings.blocks):
            return {"CANCELLED"}
        settings.blocks.move(here, place)
        settings.block_index = place
        return {"FINISHED"}


def why_not(context) -> str:
    """Why no motion can be made of the blocks, one sentence; empty when it can."""
    settings, armature = properties.get(context.scene), properties.chosen_armature(context)
    problem = ask.why_not(armature)
    empty = [str(index + 1) for index, block in enumerate(settings.blocks) if not block.prompt.strip()]
    if not problem and empty:
        problem = f"Type what happens in block {empty[0]}"
    return problem or ask.why_no_room(armature, settings.destination)


class MOMUG_OT_generate_timeline(_BlockOperator, bpy.types.Operator):
    """Make one continuous motion of all blocks, from the start frame on. Your own keys stay; Reject takes it away \
again. Blender stays usable meanwhile"""

    bl_idname = "momug.generate_timeline"
    bl_label = "Generate Timeline"

    @classmethod
    def why_not(cls, context) -> str:
        return super().why_not(context) or why_not(context)

    def execute(self, context):
        runtime.asked_in("timeline")
        settings = properties.get(context.scene)
        timeline = [(block.prompt, None if block.auto else block.seconds) for block in settings.blocks]
        return start(self, context, timeline=timeline, frame_start=settings.timeline_start)


class MOMUG_OT_reroll_block(_BlockOperator, bpy.types.Operator):
    """Make only the chosen block anew, with another seed and its present text. The other blocks stay as they are, and \
it keeps its length"""

    bl_idname = "momug.reroll_block"
    bl_label = "Re-Roll Block"

    @classmethod
    def why_not(cls, context) -> str:
        settings, armature = properties.get(context.scene), properties.chosen_armature(context)
        here = cls.here(settings)
        problem = super().why_not(context) or ask.why_not(armature) or rework.why_no_block(armature, here)
        if not problem and not settings.blocks[here].prompt.strip():
            problem = "Type what happens in this block"
        return problem

    def execute(self, context):
        runtime.asked_in("timeline")
        settings = properties.get(context.scene)
        here, chosen = self.here(settings), gathered(settings)
        chosen = {name: chosen[name] for name in ("model", "preset", "steps", "guidance_scale")}
        draw_seed(settings)
        try:
            rework.start_reroll(
                properties.chosen_armature(context),
                here,
                settings.blocks[here].prompt,
                seed=settings.seed,
                scene=context.scene,
                undo_step=True,
                **{name: value for name, value in chosen.items() if value is not None},
            )
        except service.Error as error:
            return failed(self, error)
        return {"FINISHED"}


CLASSES = (
    MOMUG_OT_add_block,
    MOMUG_OT_remove_block,
    MOMUG_OT_split_block,
    MOMUG_OT_move_block,
    MOMUG_OT_generate_timeline,
    MOMUG_OT_reroll_block,
)
