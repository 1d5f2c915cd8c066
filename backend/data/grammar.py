"""English for phrases about motion: verb forms, subjects, numbers, joining, sides. It knows nothing about motion.

A phrase is third person and verb first, without a subject: "walks forward", "slowly sits down and waves".
"""

import re

SUBJECTS = ("a person", "a person", "a person", "a man", "someone", "the person", "a figure", "a woman", "the figure")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# verbs, third person singular, that may follow "and", "then" or a comma in a phrase
VERBS = frozenset(
    """acts aims applauds approaches attacks backs balances beckons bends blocks bounces bowls bows boxes breathes
    brings carries casts catches celebrates charges cheers chops circles claps cleans climbs collapses comes
    continues covers crawls creeps crosses crouches cuts dabs dances digs directs dives does draws dribbles
    drifts drinks drives drops ducks eats exits explains faces falls feels fights fires fixes flaps gallops
    gestures gets gives goes grabs greets guides hangs hits holds hops imitates jabs jogs jumps keeps kicks
    kneels lands laughs leans leaps lets lies lifts limps listens loads looks lowers lunges makes marches
    meditates mimes mops moves nods paces performs picks pivots places plays points poses practises presses
    pretends pulls pumps punches pushes puts raises reaches refuses rejects relaxes releases reloads remains
    repairs repeats rests returns rises rocks rolls rotates rubs runs salutes says scratches shakes shifts
    shoots shows shuffles sidesteps sits skips slashes sleeps slices slides sneaks spins sprints squats stabs
    staggers stands starts stays steps stirs stomps stoops stops straightens stretches strides strikes strolls
    struts sways sweeps swims swings takes talks taps tells throws thrusts tilts touches travels trots turns
    twirls twists uses veers waits walks warms washes waves whirls wipes wonders works""".split()
)
_DOUBLED = frozenset(
    """sit run get put jog squat stop step swim hop mop dab spin hit clap nod chop stab drum cut rub tap skip slip
    flap grab hug dip jab drag tip trot bob let set strut bat dig drop stir sidestep""".split()
)
_NOUNS_BEFORE = frozenset(
    "a an the left right one two three four five six several some few more big small large".split()
)


def base(verb: str) -> str:
    """The plain form of a verb in the third person singular: goes -> go, carries -> carry, lies -> lie."""
    if verb in ("is", "has", "does", "goes"):
        return {"is": "be", "has": "have", "does": "do", "goes": "go"}[verb]
    if verb.endswith("ies"):
        return verb[:-1] if len(verb) <= 4 else verb[:-3] + "y"
    if re.search(r"(sh|tch|[^aeo]ch|each|ouch|oach|ss|x|zz)es$", verb):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") else verb


def ing(verb: str) -> str:
    """The -ing form of a verb in the third person singular."""
    stem = base(verb)
    if stem.endswith("ie"):
        return stem[:-2] + "ying"
    if stem in _DOUBLED:
        return stem + stem[-1] + "ing"
    return (stem[:-1] if re.search(r"[^eoy]e$", stem) else stem) + "ing"


_GERUNDS = {ing(verb): verb for verb in VERBS}
_PLAIN = {base(verb): verb for verb in VERBS}


def _each_verb(phrase: str, form) -> str:
    """The phrase with ``form`` applied to its verbs: the first word and what follows "and", "then" or a comma."""
    words, expected = [], True
    for i, word in enumerate(phrase.split()):
        bare = word.rstrip(",")
        if expected and (bare in VERBS or (bare == "is" and i == 0) or (i == 0 and re.search(r"[^s]s$", bare))):
            words.append((form(bare) if bare != "is" else "") + word[len(bare) :])
            expected = False
        else:
            words.append(word)
            expected = expected and bare.endswith("ly")
        expected = expected or bare in ("and", "then") or word.endswith(",")
    return " ".join(w for w in words if w)


def gerund(phrase: str) -> str:
    """The phrase as it follows "is": walks forward and waves -> walking forward and waving."""
    return _each_verb(phrase, ing)


def plain(phrase: str) -> str:
    """The phrase as an animator writes it in a prompt: walks forward slowly -> walk forward slowly."""
    return _each_verb(phrase, base)


def number(count: int) -> str:
    """A small number in words."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def times(count: int) -> str:
    """once, twice, three times..."""
    return {1: "once", 2: "twice"}.get(count, f"{number(count)} times")


def sentence(*parts: str) -> str:
    """Parts as one sentence without a full stop: single blanks, no doubled words, a or an."""
    text = re.sub(r"\s+", " ", " ".join(p for p in parts if p)).strip().rstrip(".")
    text = re.sub(r"\s+,", ",", text)
    text = re.sub(r"\bis is\b", "is", text)
    text = re.sub(r"\b(\w+) \1\b", r"\1", text)
    text = re.sub(r"\ba (?=[aeio]\w|u[^ns])", "an ", text)
    return text[:1].lower() + text[1:]


def sequence(phrases: list[str], style: int = 0) -> str:
    """Phrases that follow each other as one: "walks forward, then turns left and finally sits down"; five styles."""
    phrases = [p for i, p in enumerate(phrases) if i == 0 or p != phrases[i - 1]]
    if len(phrases) == 1:
        return phrases[0]
    first, *middle, last = phrases
    style = 1 if style % 5 == 2 and first.startswith("is ") else style % 5
    if style == 0:
        return ", ".join([first, *middle]) + f" and then {last}" if middle else f"{first}, then {last}"
    if style == 1:
        return first + "".join(f", then {p}" for p in [*middle, last])
    if style == 2:
        return f"first {first}" + "".join(f", then {p}" for p in middle) + f" and after that {last}"
    if style == 3:
        end = f", and finally {last}" if middle else f" and then {last}"
        return first + "".join(f", then {p}" for p in middle) + end
    said = ", ".join([first, *middle[:-1]]) + (f" and then {middle[-1]}," if middle else "")
    return f"{said} before {gerund(last)}"


def swap_sides(text: str) -> str:
    """Exchange left and right, clockwise and counter-clockwise in a sentence."""
    pairs = {"left": "right", "right": "left", "clockwise": "counterclockwise", "counterclockwise": "clockwise"}
    text = re.sub(r"\b(anti|counter)[- ]?((anti|counter)[- ]?)?clockwise", "counterclockwise", text)
    return re.sub(r"\b(left|right|counterclockwise|clockwise)\b", lambda w: pairs[w.group(1)], text)


def action_words(sentences: list[str]) -> set[str]:
    """The verbs that occur in the sentences, in the third person singular."""
    found = set()
    for text in sentences:
        words = re.findall(r"[a-z]+", text.lower())
        for i, word in enumerate(words):
            before = words[i - 1] if i else ""
            if word in _GERUNDS:
                found.add(_GERUNDS[word])
            elif word in VERBS and before not in _NOUNS_BEFORE:
                found.add(word)
            elif word in _PLAIN and before in ("", "then", "and", "first", "finally", "slowly", "quickly"):
                found.add(_PLAIN[word])
    return found
