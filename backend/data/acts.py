"""What the phrases of a row tell: one action, arms alone, legs alone."""

import re

# different words for one action, the first that is found
_SAME = [
    ("jump", r"\b(jump|hop|leap)"),
    ("sit", r"\bsit|seat\b"),
    ("punch", r"\b(punch|box|jab)"),
    ("raise", r"^(raise|lift|hold)\w* (up )?(the |both |an )?(\w+ )?(arm|hand)"),
    ("lower", r"^(lower|put)\w* (the |both )?(\w+ )?(arm|hand)"),
    ("dance", r"\bdanc"),
    ("karate", r"\b(karate|martial)"),
    ("stand", r"^(stands|stays|waits)\b.*(still|in place|and waits|relaxed)$"),
    ("window", r"\bwindow$"),
    ("traffic", r"\btraffic"),
    ("ball", r"\b(dribbl|bounc)\w* (a|the) (basket)?ball"),
    (r"\1", r"^(?:acts?|moves?|imitates?|behaves?|pretends to be) (?:like )?an? (\w+)$"),
]
_GAITS = [("run", r"\b(run|jog|sprint)"), ("back", r"\b(back|backwards?|backs)\b"), ("aside", r"sideways|sidestep")]
_GAITS += [("turn", r"^(turn|pivot|spin)"), ("walk", "")]

# acts of arms, head and chest, whatever the legs do
_ARMS = re.compile(
    r"^(wave|clap|applaud|cheer|raise|lift|lower|hold|keep|throws? (a |the )?(\w+ )?(punch|jab|cross|hook)|punch|box|"
    r"drink|phone|talk|tell|gesture|direct|point|stretch|laugh|scratch|salute|conduct|explain|greet|beckon|"
    r"moves? (the|both|a|one) (\w+ )?(arm|hand)|swings? (the|both) (\w+ )?(arm|hand)|fold|shrug|nod|shake|"
    r"tilts? the head|gives? (\w+ )?(traffic|basketball|signal|referee)|makes? referee|reaches (out|up)|rub|eat|read|"
    r"spread|aim|block|twists? the upper)"
)
# words that tell that the legs do something of their own, or that there is a thing in one place
_ELSEWHERE = re.compile(
    r"\b(walk|run|jog|jump|hop|kick|step|stand|sit|seat|squat|crouch|kneel|knee|lie|lies|lying|crawl|danc|turn|bend|bow|"
    r"balanc|leg|foot|feet|floor|ground|climb|roll|leap|march|fall|get|stoop|pick|table|window|spin|circle|wall|down|"
    r"(?<!upper )body)\w*"
)
# acts that are the same in every part of them
_GOES_ON = re.compile(
    r"^(gives|makes|tells|directs|gestures|twists|laughs|talks|explains|boxes|moves|conducts|shakes|nods|tilts)\b"
)
_TRAVEL = set(
    "walks jogs runs sprints strolls steps moves turns pivots spins sidesteps shuffles backs drifts veers takes makes "
    "forward forwards backward backwards sideways straight ahead away up around about slowly quickly briskly fast very "
    "slow quick easy normal steady full pace speed slightly a an the to at in and while by then for of on over little "
    "small large wide long half quarter circle curve line turn step steps left right turning walking veering curving "
    "counterclockwise clockwise degrees meter meters one two three four five six seven eight nine ten eleven twelve "
    "shoulder back slowly, quickly, stops comes stop is running jogging moving strolling stepping".split()
)


def action(row: dict) -> str:
    """What the person does first, as one name for all its wordings: walks of all speeds and turns are one action."""
    phrase = (row.get("phrases") or [""])[0]
    for name, pattern in _GAITS if leg_phrases([phrase]) else _SAME:
        if found := re.search(pattern, phrase):
            return found.expand(name)
    return re.sub(r"\b(left|right|both|once|twice|(two|three|four|five|six|seven) times) ?", "", phrase).strip()


def arm_phrases(phrases: list[str]) -> list[str]:
    """The phrases that tell of arms, head or chest; none when one tells of anything else but standing."""
    told = [p for p in phrases if not re.match(r"(stands|stays)\b", p)]
    return told if all(_ARMS.match(p) and not _ELSEWHERE.search(p) for p in told) else []


def leg_phrases(phrases: list[str]) -> list[str]:
    """The phrases, when all of them tell of plain walking, running, stepping and turning; else none."""
    return list(phrases) if all(re.sub(r"[\d,.]", "", w) in _TRAVEL | {""} for p in phrases for w in p.split()) else []


def goes_on(phrases: list[str]) -> bool:
    """Whether a part of the motion still does what the phrases tell."""
    return all(_GOES_ON.match(p) for p in phrases)
