"""Everything that reads or writes Blender data. ``compat`` is the only file that asks for Blender's version."""
