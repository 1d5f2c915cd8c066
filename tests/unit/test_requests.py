"""Timelines, poses and loops in a generate message: what is taken, what is refused, and the sentence."""

import numpy as np
import pytest

from backend import requests
from backend.errors import BackendError
from backend.models.interface import GenerateRequest

MODEL = {"name": "momug", "min_seconds": 1.0, "max_seconds": 10.0, "presets": [], "conditions": ["text", "timeline"]}
ABLE = MODEL | {"conditions": ["text", "timeline", "poses", "loop"]}


def arrays(frames: int = 60, **changes) -> dict:
    rotations = np.zeros((frames, 22, 4), np.float32)
    rotations[..., 0] = 1.0
    joints = np.zeros((frames, 22), np.uint8)
    joints[0] = 1
    given = {
        "target/rotations": rotations,
        "target/translation": np.zeros((frames, 3), np.float32),
        "target/joints": joints,
        "target/place": np.zeros((frames, 3), np.uint8),
    } | {f"target/{name}": value for name, value in changes.items()}
    return {name: value for name, value in given.items() if value is not None}


def test_a_timeline():
    fields = {"timeline": [{"prompt": " walks  forward ", "seconds": 2}, {"prompt": "sits down", "seconds": None}]}
    request = requests.generate_request(fields, MODEL)
    assert request.timeline == [("walks forward", 2.0), ("sits down", None)]
    assert request.prompt == "walks forward, then sits down"
    assert request.target is None and request.loop is False and request.style is None
    able = MODEL | {"styles": [{"name": "old"}]}
    styled = requests.generate_request({"prompt": "a", "style": "old", "style_weight": 0.5}, able)
    assert styled.style == "old" and styled.style_weight == 0.5


def test_poses_and_a_loop():
    request = requests.generate_request({"prompt": "a person walks", "loop": True}, ABLE, arrays())
    assert isinstance(request, GenerateRequest) and request.loop is True
    assert request.target.frames == 60 and request.target.joints.sum() == 22 and not request.target.place.any()
    request = requests.generate_request({"timeline": [{"prompt": "a"}, {"prompt": "b"}]}, ABLE, arrays())
    assert request.target.frames == 60 and request.timeline == [("a", None), ("b", None)]


@pytest.mark.parametrize("fields", [{"prompt": ""}, {"prompt": " \t\n"}, {}])
def test_given_poses_need_no_prompt(fields):
    request = requests.generate_request(fields, ABLE, arrays())
    assert request.prompt == "" and request.target.frames == 60
    with pytest.raises(BackendError, match="prompt is empty"):
        requests.generate_request(fields, ABLE)
    for odd in ("...", "a\0b", None, 5):
        with pytest.raises(BackendError, match="prompt"):
            requests.generate_request({"prompt": odd}, ABLE, arrays())


def test_a_motion_that_meets_poses_may_be_longer_than_a_sentence():
    with pytest.raises(BackendError, match="between 1 and 10"):
        requests.generate_request({"prompt": "a"}, ABLE, arrays(frames=600))
    able = ABLE | {"max_target_seconds": 30.0}
    assert requests.generate_request({"prompt": "a"}, able, arrays(frames=600)).target.frames == 600
    with pytest.raises(BackendError, match="between 1 and 30"):
        requests.generate_request({"prompt": "a"}, able, arrays(frames=901))


@pytest.mark.parametrize(
    "fields, given, model, sentence",
    [
        ({"timeline": "walks"}, {}, ABLE, "list of prompts"),
        ({"timeline": [["walks", 2]]}, {}, ABLE, "list of prompts"),
        ({"timeline": [{"prompt": "walks", "seconds": 20}]}, {}, ABLE, "The duration in seconds"),
        ({"timeline": [{"prompt": ""}]}, {}, ABLE, "prompt"),
        ({"timeline": [{"prompt": "a"}] * 101}, {}, ABLE, "at most 100"),
        ({"prompt": "a", "loop": 1}, {}, ABLE, "true or false"),
        ({"prompt": "a", "loop": True}, {}, MODEL, "cannot do this: loop"),
        ({"prompt": "a", "style": "proud"}, {}, ABLE, "no style pack called 'proud'"),
        ({"prompt": "a", "style_weight": 1.5}, {}, ABLE, "weight of the style"),
        ({"prompt": "a"}, arrays(), MODEL, "cannot do this: poses"),
        ({"prompt": "a"}, arrays(frames=12), ABLE, "The duration in seconds"),
        ({"prompt": "a"}, arrays(joints=None), ABLE, "what of them is given"),
        ({"prompt": "a"}, arrays(joints=np.zeros((60, 22), np.float32)), ABLE, "what of them is given"),
        ({"prompt": "a"}, arrays(joints=np.full((60, 22), 2, np.uint8)), ABLE, "what of them is given"),
        ({"prompt": "a"}, arrays(joints=np.zeros((60, 22), np.uint8)), ABLE, "No pose and no place"),
        ({"prompt": "a"}, arrays(place=np.zeros((59, 3), np.uint8)), ABLE, "do not belong together"),
        ({"prompt": "a"}, arrays(rotations=None), ABLE, "has no target/rotations"),
        ({"prompt": "a"}, arrays(rotations=np.zeros((60, 22, 4), np.float32)), ABLE, "unit quaternions"),
        ({"prompt": "a"}, arrays(translation=np.full((60, 3), np.nan, np.float32)), ABLE, "not finite"),
    ],
)
def test_what_is_refused(fields, given, model, sentence):
    with pytest.raises(BackendError, match=sentence):
        requests.generate_request(fields, model, given)
