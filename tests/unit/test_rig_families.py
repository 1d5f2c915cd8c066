"""Every naming family of the tables on skeletons made with its names: exact maps, whatever the spelling around them."""

import re

import numpy as np
import pytest
from skeletons import bone, person, plain_names, renamed

from blender_addon.rig import Constraint, canonical, match, tables
from blender_addon.rig.matcher import share_spine
from blender_addon.rig.names import Names

VARIANTS = [(f"{v['family']} {k}", v) for k, v in enumerate(tables.variants())]


def names_of(variant: dict) -> dict[str, list[str]]:
    return {joint: [spellings[0] for spellings in bones] for joint, bones in tables.expected(variant).items()}


def wanted(names: dict[str, list[str]]) -> dict[str, list[str]]:
    joints = {joint: names.get(joint, []) for joint in canonical.JOINTS}
    return joints | dict(zip(canonical.SPINE, share_spine(names["spine"]), strict=True))


def skeleton(variant: dict, **options) -> tuple[list, dict[str, list[str]]]:
    names = names_of(variant)
    bones = person(names, **options)
    there = {b.name for b in bones}
    top = names["pelvis"][0]
    at = bones[0].head
    bones += [bone(m, top, at, at + [0, 0, 0.01]) for m in variant.get("markers", ()) if m not in there]
    return bones, names


@pytest.mark.parametrize("variant", [v for _, v in VARIANTS], ids=[label for label, _ in VARIANTS])
@pytest.mark.parametrize("arms_down, root", [(0.0, None), (45.0, "Root_at_floor")])
def test_every_family_maps_exactly(variant, arms_down, root):
    bones, names = skeleton(variant, arms_down=arms_down, root=root)
    found = match(bones).require()
    assert found.joints == wanted(names)
    assert found.family == variant["family"]
    assert all(found.confidence[joint] >= 0.9 for joint, bones in found.joints.items() if bones)
    assert not found.candidates and not found.swapped and found.controls is None


def spelled(change):
    def apply(bones):
        return renamed(bones, {b.name: change(b.name, k) for k, b in enumerate(bones)})

    return apply


SPELLINGS = {
    "namespace": spelled(lambda name, k: f"Armature|hero12:{name}"),
    "upper case": spelled(lambda name, k: name.upper()),
    "numbered by an exporter": spelled(lambda name, k: f"{name}_{k:02d}"),
    "prefix": spelled(lambda name, k: f"Hero_{name}"),
    "other separators": spelled(lambda name, k: re.sub(r"[ ._]", "-", name)),
}


@pytest.mark.parametrize("variant", [v for _, v in VARIANTS], ids=[label for label, _ in VARIANTS])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_families_behind_other_spellings(variant, spelling):
    bones, names = skeleton(variant, fingers=0)
    changed = SPELLINGS[spelling](bones)
    new = {old.name: made.name for old, made in zip(bones, changed, strict=True)}
    found = match(changed).require()
    assert found.joints == {joint: [new[n] for n in listed] for joint, listed in wanted(names).items()}


def test_tables_are_complete_and_no_two_say_the_same():
    seen = {}
    for label, variant in VARIANTS:
        table = tables.expected(variant)
        assert all(table[joint] for joint in canonical.REQUIRED) and table["spine"], label
        for names in table.values():
            assert all(all(isinstance(n, str) and n for n in spellings) for spellings in names), label
        flat = str(table) + str(variant.get("markers")) + str(variant.get("without"))
        assert flat not in seen, (label, seen.get(flat))
        seen[flat] = label


LANGUAGES = {
    "German": ("{}_links", "{}_rechts", "Becken Wirbel1 Wirbel2 Hals Kopf Schluesselbein Oberarm Unterarm Hand "
               "Oberschenkel Unterschenkel Fuß Zehen"),
    "French": ("{}.G", "{}.D", "Bassin Colonne1 Colonne2 Cou Tête Clavicule Bras Avant_bras Main Cuisse Mollet Pied "
               "Orteils"),
    "Spanish": ("{}_izquierda", "{}_derecha", "Cadera Columna1 Columna2 Cuello Cabeza Clavicula Brazo Antebrazo Mano "
                "Muslo Pantorrilla Pie DedosPie"),
    "Italian": ("{}_sx", "{}_dx", "Bacino Spina1 Spina2 Collo Testa Clavicola Braccio Avambraccio Mano Coscia "
                "Polpaccio Piede Dita"),
    "Portuguese": ("{}_esq", "{}_dir", "Quadril Coluna1 Coluna2 Pescoço Cabeça Clavicula Braço Antebraço Mão Coxa "
                   "Canela Pé Toe"),
    "Russian": ("{}_Л", "{}_П", "Таз Хребет1 Хребет2 Шея Голова Ключица Плечо Предплечье Кисть Бедро Голень Стопа "
                "Носок"),
    "Japanese": ("左{}", "右{}", "腰 背骨１ 背骨２ 首 頭 鎖骨 上腕 前腕 手 太もも すね 足首 つま先"),
    "Chinese": ("左{}", "右{}", "骨盆 脊柱1 脊柱2 颈部 头部 锁骨 上臂 前臂 手 大腿 小腿 脚 脚趾"),
    "Korean": ("왼쪽{}", "오른쪽{}", "골반 척추1 척추2 목 머리 쇄골 위팔 아래팔 손 허벅지 종아리 발 발가락"),
    "lower case letters": ("l{}", "r{}", "pelvis back1 back2 neck head clav humerus radius hand femur tibia foot toes"),
    "right and left spelled short": ("{}_lft", "{}_rgt", "hips a1 a2 neck head clav uparm forearm hand thigh shin foot "
                                     "ball"),
}  # fmt: skip
ROLES = ("collar", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "foot")


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_in_other_languages(language):
    left, right, words = LANGUAGES[language]
    pelvis, first, second, neck, head, *limbs = words.split()
    names = {"pelvis": [pelvis], "spine": [first, second], "neck": [neck], "head": [head]}
    for side, pattern in (("left", left), ("right", right)):
        names |= {f"{side}_{role}": [pattern.format(word)] for role, word in zip(ROLES, limbs, strict=True)}
    # Without toes that point forward, so that only the names can tell the sides
    bones = person(names, arms_down=30)
    for each in bones:
        each.head = each.head * [1.0, 0.0, 1.0]
    found = match(bones).require()
    assert found.joints == wanted(names)
    assert found.family == "bone names"


def test_accents_full_width_letters_and_case_make_no_difference():
    assert Names(["ＵpperＡrm＿Ｌ"]).key == {"ＵpperＡrm＿Ｌ": ("left", "upperarm")}
    assert Names(["CABEÇA"]).key["CABEÇA"] == ("", "cabeca") == Names(["cabeca"]).key["cabeca"]


def test_letters_are_sides_only_where_names_come_in_such_pairs():
    alone = Names(["Bras.G", "Tete", "Dos", "Cou", "Main.G"])
    assert alone.key["Bras.G"][0] == ""


def test_biped_hangs_its_legs_from_the_first_spine_bone():
    """3ds Max: Pelvis > Spine > thighs and Spine1; collar bones hang from the neck; Bip01 is the centre of mass."""
    names = names_of(next(v for _, v in VARIANTS if v["family"] == "3ds Max Biped"))
    bones = person(names, root="Bip01")
    for each in bones:
        if each.name.endswith("Thigh"):
            each.parent = "Bip01 Spine"
        if each.name.endswith("Clavicle"):
            each.parent = "Bip01 Neck"
    order = [b for b in bones if "Thigh" not in b.name and "Calf" not in b.name and "Foot" not in b.name
             and "Toe" not in b.name]  # fmt: skip
    bones = order + [b for b in bones if b not in order]
    found = match(bones).require()
    assert found.joints["pelvis"] == ["Bip01 Pelvis", "Bip01 Spine"]
    assert found.spine == ["Bip01 Spine1", "Bip01 Spine2", "Bip01 Spine3", "Bip01 Spine4"]
    assert found.joints["neck"] == ["Bip01 Neck", "Bip01 Neck1"] and found.bone("left_collar") == "Bip01 L Clavicle"


@pytest.mark.parametrize(
    "family, lower",
    [("Daz Genesis", "pelvis"), ("Character Creator", "CC_Base_Pelvis"), ("MMD", "下半身")],
)
def test_a_bone_for_the_legs_alone_beside_the_spine(family, lower):
    """Hip > (pelvis > thighs) and (abdomen ...): the bone that both hang from is the pelvis."""
    names = names_of(next(v for _, v in VARIANTS if v["family"] == family))
    bones = person(names)
    top = names["pelvis"][0]
    at = next(b for b in bones if b.name == top).head
    bones.insert(1, bone(lower, top, at, at - [0, 0, 0.05]))
    for each in bones:
        if each.name in (names["left_hip"][0], names["right_hip"][0]):
            each.parent = lower
    found = match(bones).require()
    assert found.joints["pelvis"] == [top] and found.family == family
    assert found.joints["left_hip"] == names["left_hip"] and found.spine == names["spine"]


@pytest.mark.parametrize("spines", range(1, 8))
@pytest.mark.parametrize("necks", range(0, 4))
def test_any_number_of_spine_and_neck_bones(spines, necks):
    names = names_of(next(v for _, v in VARIANTS if v["family"] == "Unreal Engine"))
    names["spine"] = [f"spine_{k + 1:02d}" for k in range(spines)]
    names["neck"] = [f"neck_{k + 1:02d}" for k in range(necks)]
    found = match(person(names)).require()
    assert found.spine == names["spine"] and found.joints["neck"] == names["neck"]
    for part in ("spine", "neck"):
        shares = found.chains.get(part, [])
        assert [name for name, _ in shares] == names[part]
        assert not shares or np.isclose(sum(weight for _, weight in shares), 1.0)


def test_more_spine_neck_and_collar_bones_than_a_table_knows():
    found = match(person(plain_names(spines=4, necks=2, collars=2))).require()
    assert len(found.spine) == 4 and len(found.joints["neck"]) == 2 and len(found.joints["left_collar"]) == 2


def test_unreal_twist_bones_and_helpers_at_the_root():
    names = names_of(next(v for _, v in VARIANTS if v["family"] == "Unreal Engine"))
    twists = {"left_shoulder": [("upperarm_twist_01_l", 0.0), ("upperarm_twist_02_l", 0.5)],
              "left_elbow": [("lowerarm_twist_01_l", 0.8)]}  # fmt: skip
    bones = person(names, root="root", twists=twists)
    for k, name in enumerate(("ik_foot_root", "ik_foot_l", "ik_foot_r", "ik_hand_root", "ik_hand_l", "ik_hand_r")):
        bones.append(bone(name, "root", [0.1 * k, 0, 0], [0.1 * k, 0, 0.1]))
    found = match(bones).require()
    assert found.joints == wanted(names) and found.controls is None
    assert found.twist == {joint: [(n, pytest.approx(at)) for n, at in listed] for joint, listed in twists.items()}


def test_mmd_with_its_centre_bones_and_leg_targets():
    """センター > グルーブ > 腰 > (下半身 > legs) and (上半身 ...); legs under IK, with doubles."""
    names = names_of(next(v for _, v in VARIANTS if v["family"] == "MMD"))
    body = {b.name: b for b in person(names)}
    centre = body.pop("センター")
    head = centre.head
    order = [bone("全ての親", None, [0, 0, 0], [0, 0, 0.1]), bone("センター", "全ての親", head * 0.7, head * 0.8),
             bone("グルーブ", "センター", head * 0.75, head * 0.8), bone("腰", "グルーブ", head, head + [0, 0, 0.05]),
             bone("下半身", "腰", head + [0, 0, 0.1], head)]  # fmt: skip
    body["上半身"].parent = "腰"
    for side in "左右":
        body[f"{side}足"].parent = "下半身"
        body[f"{side}ひざ"].constraints = (Constraint("IK", f"{side}足ＩＫ", None, 2),)
        ankle = body[f"{side}足首"].head
        order.append(bone(f"{side}足ＩＫ", "全ての親", ankle, ankle + [0, 0, 0.1]))
        order.append(bone(f"{side}足D", "下半身", body[f"{side}足"].head, body[f"{side}足"].tail))
        order.append(bone(f"{side}ひざD", f"{side}足D", body[f"{side}ひざ"].head, body[f"{side}ひざ"].tail))
    found = match([*order, *body.values()]).require()
    assert found.joints == wanted(names) | {"pelvis": ["腰"]} and found.family == "MMD"
    assert {limb: controls.target for limb, controls in found.controls.ik.items()} == {
        "left_leg": "左足ＩＫ",
        "right_leg": "右足ＩＫ",
    }
