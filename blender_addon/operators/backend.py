"""The model's process and its log."""

import bpy

from .. import runtime, service


class MOMUG_OT_open_log(bpy.types.Operator):
    """Open the folder with the logs of the add-on and of the model"""

    bl_idname = "momug.open_log"
    bl_label = "Open Log"

    def execute(self, _context):
        folder = service.log_folder()
        if bpy.app.background:
            self.report({"INFO"}, f"The logs are in {folder}")
            return {"FINISHED"}
        try:
            return bpy.ops.wm.path_open(filepath=str(folder))
        except RuntimeError as error:
            service.log.warning("cannot open %s: %s", folder, error)
            self.report({"WARNING"}, f"The logs are in {folder}")
            return {"CANCELLED"}


class MOMUG_OT_unload_backend(bpy.types.Operator):
    """End the model's process and give its memory back. It starts again when it is needed"""

    bl_idname = "momug.unload_backend"
    bl_label = "Unload Model"

    @classmethod
    def poll(cls, _context):
        if not service.running():
            cls.poll_message_set("The model is not loaded")
            return False
        return True

    def execute(self, _context):
        runtime.shutdown(wait=False)
        self.report({"INFO"}, "The model's memory was given back")
        return {"FINISHED"}


CLASSES = (MOMUG_OT_open_log, MOMUG_OT_unload_backend)
