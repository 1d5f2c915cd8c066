"""The evaluation as one self-contained HTML page: tables, curves and strips of the prompts side by side."""

from collections.abc import Sequence
from html import escape

from backend.evaluation import drawing

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#0f172a;max-width:1180px;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;margin:.8em 0;font-size:13.5px}td,th{padding:.25em .6em;border-bottom:1px solid #e2e8f0;
text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}
tr.model{background:#f0fdfa;font-weight:600}
svg text{font:11px system-ui,sans-serif;fill:#334155}svg .small{font-size:8.5px}
.curves,.bars{width:460px;vertical-align:top}
.strip{width:560px;display:block}.pair{display:flex;gap:1em;flex-wrap:wrap;border-top:1px solid #e2e8f0;padding:.6em 0}
.pair h3{flex-basis:100%;font-size:14px;margin:0}.ok{color:#15803d}.no{color:#b91c1c}small{color:#64748b}
"""
FIGURES = (
    ("R@1", "R@1", 100), ("R@2", "R@2", 100), ("R@3", "R@3", 100), ("all_R@1", "R@1 of all", 100),
    ("all_R@2", "R@2 of all", 100), ("all_R@3", "R@3 of all", 100), ("matching", "matching distance", 1),
    ("frechet", "Fréchet", 1), ("diversity", "diversity", 1), ("nearest_training", "nearest training clip", 1),
)  # fmt: skip
MOTION = (
    ("motion_contact_speed", "contact speed, m/s", 1), ("motion_skate_ratio", "skate ratio", 1),
    ("motion_penetration", "penetration, mm", 1000), ("motion_float", "float, mm", 1000),
    ("motion_jerk", "jerk, m/s³", 1), ("motion_pops", "pops a second", 1),
)  # fmt: skip
AFTER = tuple((key.replace("motion_", "after_"), label, scale) for key, label, scale in MOTION)
CAPTIONS = (
    ("bleu1", "BLEU-1", 100), ("bleu4", "BLEU-4", 100), ("rouge_l", "ROUGE-L", 100), ("cider", "CIDEr-D", 1),
    ("action_named", "names the action", 100), ("actions_right", "actions right", 100), ("true", "not untrue", 100),
    ("R@1", "finds its clip of 32: R@1", 100), ("R@3", "R@3", 100), ("all_R@1", "of all: R@1", 100),
    ("different", "different", 1),
)  # fmt: skip


def number(value, scale: float = 1) -> str:
    """A figure, or mean ± half of its interval: ``{"mean", "half"}``."""
    if value is None:
        return ""
    half = value.get("half") if isinstance(value, dict) else None
    mean = scale * (value["mean"] if isinstance(value, dict) else value)
    digits = 1 if abs(mean) >= 10 else 3 if scale == 1 else 2
    return f"{mean:.{digits}f}" + (f" ± {scale * half:.{digits}f}" if half is not None else "")


def table(columns: Sequence[tuple[str, str, float]], rows: dict[str, dict], model: str = "") -> str:
    """HTML table of rows {name: {key: figure}}; percentages where the scale is 100."""
    columns = [c for c in columns if any(c[0] in row for row in rows.values())]
    head = "".join(f"<th>{escape(label)}{', %' if scale == 100 else ''}</th>" for _, label, scale in columns)
    body = ""
    for name, row in rows.items():
        cells = "".join(f"<td>{number(row.get(key), scale)}</td>" for key, _, scale in columns)
        body += f"<tr{' class=model' if name == model else ''}><td>{escape(name)}</td>{cells}</tr>"
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def retargeted(rows: dict[str, dict]) -> dict[str, dict]:
    """The rows that were also measured on another body."""
    return {name: row for name, row in rows.items() if AFTER[0][0] in row}


def page(record: dict, drawn: dict) -> str:
    """The report of :func:`backend.evaluation.report.evaluate` as HTML."""
    name, rows, prompts = record["model"], record["rows"], record["prompts"]
    rates = prompts["rates"]
    categories = [k.removeprefix("passed_") for k in rates[name] if k.startswith("passed_")]
    bars = {"all": "passed"} | {c: f"passed_{c}" for c in sorted(categories, key=lambda c: (c != "sided", c))}
    by_category = {
        label: {row: rates[row][key]["mean"] for row in rates if key in rates[row]} for label, key in bars.items()
    }
    if "right_side" in rates[name]:
        by_category["right side"] = {r: rates[r]["right_side"]["mean"] for r in rates if "right_side" in rates[r]}
    ranks = {row: list(enumerate(values, 1)) for row, values in drawn["ranks"].items()}
    low, high = rows[name]["frechet_bootstrap"]
    evaluator = record["evaluator"]
    about = f"{record['windows']} windows of the {record['split']} split, {record['seeds']} seeds"
    parts = [
        f"<h1>{escape(name)}, preset {escape(record['preset'] or 'default')}</h1>",
        f"<p>{escape(about)}; {escape(record['made'])}. Evaluator {evaluator['sha256'][:16]}, trained on "
        "the training split only. Our own measures on our own data: <b>no figure here can be compared with published "
        "FID or R-precision tables.</b> ± is half of the 95 % interval over seeds.</p>",
        "<h2>Does the motion fit its sentence?</h2>",
        table(FIGURES, rows, name),
        f"<p>R@k: among 32 sentences (or all) the right one is in the first k; chance {100 / 32:.1f}, {200 / 32:.1f}, "
        f"{300 / 32:.1f} %. Fréchet in {evaluator['dimensions']} dimensions; bootstrap interval of the model {low:.3f} "
        f"to {high:.3f}. Multimodality {record['multimodality']:.3f}.</p>",
        drawing.curves(ranks, "rank k", "right sentence within k of all"),
        "<h2>How does it move?</h2>",
        table(MOTION, rows, name),
        "<p>Before the add-on's foot lock and retargeting. After them, on a body with longer legs:</p>",
        table(AFTER, retargeted(rows), name),
        "<h2>Does it do what was asked?</h2>",
        f"<p>{len(prompts['each'])} prompts with kinematic checks: {number(rates[name]['passed'], 100)} % pass.</p>",
        drawing.bars(by_category),
    ]
    if "captions" in record:
        parts += ["<h2>Captions</h2>", table(CAPTIONS, record["captions"]["rows"], "model")]
        cells = "".join(
            f"<tr><td>{escape(e['said'])}</td><td style='text-align:left'>{escape(e['wanted'])}</td></tr>"
            for e in record["captions"]["examples"]
        )
        parts.append(f"<table><tr><th>said</th><th>the window's own caption</th></tr>{cells}</table>")
    parts += [
        "<h2>The prompts, side by side</h2>",
        f"<p>Left {escape(name)}, seed 0; right the training motion whose caption is nearest. Nine poses at equal "
        "times, the figure's left limbs orange and its right limbs blue; beside them its way from above, one metre a "
        "step.</p>",
    ]
    for prompt, motions, row in drawn["prompts"]:
        marks = " ".join("<span class=ok>✓</span>" if p else "<span class=no>✗</span>" for p in row["passed"])
        strips = "".join(f"<div>{drawing.strip(m, who)}</div>" for who, m in motions.items())
        text = f"{escape(prompt.text)} <small>{prompt.category}, {prompt.seconds:g} s</small>"
        parts.append(f"<div class=pair><h3>{text} {marks}</h3>{strips}</div>")
    return _document(f"Evaluation of {name}", parts)


def proof_page(record: dict, markdown: str) -> str:
    """The proof of :func:`backend.evaluation.proof.prove` as HTML: curves of the growing corruptions, and tables."""
    parts = ["<h1>Can the evaluation be believed?</h1>"]
    real = next(row for row in record["rows"] if row["name"] == "real")
    for kind in dict.fromkeys(row["name"] for row in record["rows"] if "," in row["name"]):
        found = [real | {"amount": 0}] + [row for row in record["rows"] if row["name"] == kind]
        series = {key: [(row["amount"], row[key]) for row in found] for key in ("R@1", "R@3", "all_R@3")}
        parts.append(drawing.curves(series, kind, "right caption found"))
        most = max(row["frechet"] for row in found) or 1.0
        parts.append(drawing.curves({"Fréchet": [(r["amount"], r["frechet"]) for r in found]}, kind, "", most * 1.01))
    for block in markdown.split("\n\n"):
        lines = [line for line in block.splitlines() if line]
        if lines and lines[0].startswith("|"):
            cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]
            parts.append("<table>" + "".join(f"<tr>{_cells(row)}</tr>" for row in cells) + "</table>")
        else:
            parts.append(f"<p>{escape(' '.join(lines))}</p>")
    rows = {
        row["text"]: {k: row.get(k) for k in ("windows", "says", "mirrored", "else") if row.get(k) is not None}
        for row in record["checks"]
    }
    columns = (("windows", "windows that say it", 1), ("says", "pass", 100), ("mirrored", "mirrored pass", 100),
               ("else", "others pass", 100))  # fmt: skip
    return _document("Proof of the evaluation", [*parts, "<h2>Every check</h2>", table(columns, rows)])


def _cells(row: list[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)


def _document(title: str, parts: list[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><body>{body}</body></html>\n"
    )
