"""A backend for ``tests.soak --blocks``: the real one, whose language model has lost most of its blocks.

Blocks are alike, so that memory is asked for in the same shapes; a job takes a tenth of the time, and says nothing.
"""

import sys

from backend import server


class Few(server.InstalledModels):
    """The installed models with ``blocks`` blocks of their language model and of the motion head."""

    def __init__(self, blocks: int):
        super().__init__()
        self.blocks = blocks

    def load(self, name):
        from backend.language import text

        model = super().load(name)
        text.TEXT_LAYERS = (self.blocks,)
        decoder = model.language_model.model
        decoder.layers = decoder.layers[: self.blocks]
        model.head.blocks = model.head.blocks[: self.blocks]
        return model


if __name__ == "__main__":
    server.main(Few(int(sys.argv[1])))
