"""The interface in another language: what Blender knows of the add-on, and sentences with values in them."""

import re

import bpy
import pytest

from blender_addon import operators, panels, properties, translations
from blender_addon.translations import tr, width, wrapped


@pytest.fixture
def chinese(monkeypatch):
    monkeypatch.setattr(translations, "language", lambda: "zh_HANS")


def shown_by_blender():
    """(text, where) of every name and tooltip that Blender has of the add-on's classes."""
    groups = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("Momug")]
    for cls in (*operators.CLASSES, *panels.CLASSES, *groups):
        rna = cls.bl_rna
        if issubclass(cls, (bpy.types.Panel, bpy.types.Menu)):
            yield cls.bl_label, cls.__name__
        elif issubclass(cls, bpy.types.Operator):
            module, name = cls.bl_idname.split(".")
            rna = getattr(getattr(bpy.ops, module), name).get_rna_type()
            yield rna.name, cls.__name__
            yield rna.description, cls.__name__
        inherited = set()
        for base in (bpy.types.Operator, bpy.types.PropertyGroup, bpy.types.AddonPreferences, bpy.types.Panel,
                     bpy.types.Menu, bpy.types.UIList):  # fmt: skip
            inherited |= set(base.bl_rna.properties.keys()) if issubclass(cls, base) else set()
        for key, prop in rna.properties.items():
            if key in inherited or prop.is_hidden or key in ("filepath", "directory"):  # Blender's own
                continue
            yield from ((text, f"{cls.__name__}.{key}") for text in (prop.name, prop.description))
            if prop.type == "ENUM":
                for item in prop.enum_items:
                    yield from ((text, f"{cls.__name__}.{key}") for text in (item.name, item.description))
    for key in ("momug_ticked", "momug_words"):
        prop = bpy.types.Action.bl_rna.properties[key]
        yield from ((text, f"Action.{key}") for text in (prop.name, prop.description))


def test_everything_that_blender_shows_has_a_translation(addon):
    table = translations.table("zh_HANS")
    texts = [(text, where) for text, where in shown_by_blender() if sum(map(str.isalpha, text)) > 1]
    assert len(texts) > 200
    lacks = {(text, where) for text, where in texts if text not in table and text not in ("Momug", "MoMug")}
    assert not lacks


def test_a_sentence_with_values(addon, chinese):
    assert tr("'walk' is back on Hero.") == "“walk”已回到 Hero 上。"
    assert tr("'3 people walk' is back on my Hero.") == "“3 people walk”已回到 my Hero 上。"
    assert tr("Nothing of this is known to the table.") == "Nothing of this is known to the table."
    assert tr("") == ""


def test_what_is_added_to_a_sentence(addon, chinese):
    said = tr("'walk' is on Hero; the timeline now ends at frame 90. Caption them first.")
    assert said == "“walk”已放到 Hero 上；时间线现在结束于第 90 帧。请先生成描述。"
    assert tr("Joints with a bone: 5 of 22. Your own choice: 2.") == (
        "有对应骨骼的关节：22 个中的 5 个。您自己的选择：2 个。"
    )
    assert tr("Joints with a bone: 22 of 22.") == "有对应骨骼的关节：22 个中的 22 个。"
    assert tr("The next motion meets 2 poses and follows 'Path', frames 1 to 40.") == (
        "下一个动作满足 2 个姿态，沿“Path”行进，第 1 到 40 帧。"
    )
    assert tr("The left hand goes through the body for 0.5 s, up to 3 cm.") == "左手穿过身体 0.5 秒，最深 3 厘米。"


def test_sentences_with_the_number_last(addon, chinese):
    assert tr("Blocks: 1, 3.0 s") == "段落：1 个，3.0 秒"
    assert tr("Cancelled. Captions made: 1.") == "已取消。已生成的描述：1 条。"
    assert tr("Joints found: 3 of 4; the others are looked for.") == "已找到的关节：4 个中的 3 个；其余的另行查找。"
    assert tr("'Hero' has only some of the bones that 'walk' moves: 1 of 20.") == (
        "“Hero”只有“walk”所驱动的一部分骨骼：20 个中的 1 个。"
    )
    assert tr("Smaller ones: 40") == "较小的：40 个" and tr("Joints changed: 1.") == "已更改的关节：1 个。"
    said = tr("The asset libraries can be searched now. Actions: 1, files: 2.")
    assert said == "现在可以搜索资产库。动作：1 个，文件：2 个。"


def test_poll_messages_lack_the_full_stop(addon, chinese):
    assert tr("MoMug is still working on the last request") == "MoMug 还在处理上一个请求"
    assert tr("'Hero' is not an armature") == "“Hero”不是骨架"


def test_reasons_inside_of_sentences_and_sentences_in_a_row(addon, chinese):
    said = tr("Without a caption: 2 of 3. 'walk': The action 'walk' does not animate 'Hero'.")
    assert said == "没有描述：3 个中的 2 个。'walk'：动作“walk”不驱动“Hero”。"
    assert tr("Caption them first. See the log.") == "请先生成描述。请查看日志。"
    assert tr("Making the motion 3/10") == "正在制作动作 3/10"
    assert tr("Hero: 'Hero' has no bones.") == "Hero：“Hero”没有骨骼。"


def test_english_stays_as_it_is(addon):
    assert translations.language() == ""
    assert tr("See the log.") == "See the log."


@pytest.mark.parametrize("locale", ["zh_CN", "zh_HANS"])
def test_both_names_of_the_language_before_and_after_4_0_are_known(addon, monkeypatch, locale):
    class Translations:
        pass

    Translations.locale = locale

    class App:
        translations = Translations

    class View:
        use_translate_interface = True

    class Stand:
        app = App

        class context:  # noqa: N801
            class preferences:  # noqa: N801
                view = View

    monkeypatch.setattr(translations, "bpy", Stand)
    assert translations.language() == "zh_HANS" and tr("See the log.") == "请查看日志。"


def test_the_table_is_handed_to_blender_and_taken_back(addon):
    given = {}

    class Told:
        @staticmethod
        def register(name, words):
            given[name] = words

        @staticmethod
        def unregister(name):
            del given[name]

    class App:
        translations = Told

    class Stand:
        app = App

    before, translations.bpy = translations.bpy, Stand
    try:
        translations.register()
        words = next(iter(given.values()))
        assert set(words) == {"zh_CN", "zh_HANS"}
        assert words["zh_CN"]["*", "Generate"] == words["zh_HANS"]["Operator", "Generate"] == "生成"
        translations.unregister()
        assert not given
    finally:
        translations.bpy = before


def test_lines_fit_whatever_the_letters():
    assert wrapped("a person walks forward", 10) == ["a person", "walks", "forward"]
    chinese = "模型没有说明时间线的各条提示词从哪里开始。"
    lines = wrapped(chinese, 12)
    assert "".join(lines) == chinese and max(width(line) for line in lines) <= 12 and len(lines) > 3
    assert not any(line.startswith(("。", "，")) for line in lines)
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert wrapped("", 10) == [""]


class Given:
    """The settings of a button as a tooltip sees them."""

    def __init__(self, **settings):
        self.__dict__.update(settings)
        self._set = set(settings)

    def __getattr__(self, name):
        return {"place": "START", "kind": "BVH", "destination": "ACTION", "step": 1, "how": "USE"}.get(name, "")

    def is_property_set(self, name: str) -> bool:
        return name in self._set


TOLD = [
    ("change_result", Given()),
    *(("change_result", Given(**{name: True})) for name in ("in_place", "loop", "foot_lock", "reduce")),
    *(("change_result", Given(destination=place)) for place, _, _ in properties.DESTINATIONS),
    *(("show_variation", Given(step=step)) for step in (1, -1)),
    *(("add_pose", Given(place=place)) for place in ("START", "HERE", "END")),
    *(("remove_pose", Given(every=every)) for every in (True, False)),
    *(("move_block", Given(step=step)) for step in (1, -1)),
    *(("export_motion", Given(kind=kind)) for kind in ("BVH", "FBX", "GLB", "NPZ", "NPY", "FEATURES")),
    ("export_motion", Given()),
    *(
        ("choose_bone", Given(how=how, bone="Wheel", joint="left_knee"))
        for how in ("USE", "ADD", "REMOVE", "NONE", "AUTOMATIC")
    ),
    ("use_prompt", Given(prompt="")),
]


def told_by_the_button(name: str, given: Given) -> str:
    return next(cls for cls in operators.CLASSES if cls.bl_idname == f"momug.{name}").description(bpy.context, given)


@pytest.mark.parametrize(("name", "given"), TOLD)
def test_tooltips_that_depend_on_the_button_are_translated(addon, chinese, name, given):
    told = told_by_the_button(name, given)
    english = set(re.findall("[a-z]{3,}", re.sub("Wheel|Blender", "", told)))
    assert re.search("[\u4e00-\u9fff]", told) and not english, told


def test_tooltips_that_depend_on_the_button_in_english(addon):
    assert told_by_the_button("change_result", Given(destination="NLA")) == (
        "A strip on top of the NLA; the active action becomes a strip below. The model is not asked again"
    )
    covered = {name for name, _ in TOLD} | {"joint"}  # what is known of a joint: tests/blender/test_bone_map.py
    assert {cls.bl_idname.split(".")[1] for cls in operators.CLASSES if "description" in vars(cls)} == covered
