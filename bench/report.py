"""From figures to something to look at: a table for the terminal, a page in Markdown, a picture in SVG. It measures
nothing; all of its input is what bench.py keeps in target/bench/bench.json.
"""

import html
import math
import statistics

import rows
import stages
from harness import MIB

TITLES = {"ceiling": "FUSE ceiling", "before": "keepfs before"}
# Rows in which the slower peers do not do what keepfs does, because their fsync waits for nothing.
UNSYNCED = ("write", "text", "overwrite", "append")
# Time and bytes against each backup program: keepfs at least so many times as fast, with at most this share of bytes.
BACKUP_TARGETS = {"restic": (1.5, 1.0), "borg": (1.0, 0.7)}


def title(name):
    return TITLES.get(name, name)


def medians(rates):
    return {name: statistics.median(values) for name, values in rates.items()}


def spread(values):
    """How far the values lie apart, as a share of their median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def missed(row, median):
    """The targets that the row misses, in words."""
    pairs = zip(row.targets, ("gocryptfs", "ext4"))
    return [
        f"{median['keepfs'] / median[other]:.2f} × {other}, wanted {target:g}"
        for target, other in pairs
        if {"keepfs", other} <= median.keys() and median["keepfs"] < target * median[other]
    ]


def shown(rates):
    return [row for row in (*rows.ROWS, *rows.STORED.values()) if row.name in rates]


def text_table(rates, names):
    """The rates of one run, and how often keepfs is as fast as each other."""
    others = [name for name in names if name != "keepfs"] if "keepfs" in names else []
    head = f"{'row':35}{'unit':>8}" + "".join(f"{title(name):>14}    ±" for name in names)
    lines = [head + "".join(f"{'x ' + title(other):>15}" for other in others)]
    for row in shown(rates):
        median = medians(rates[row.name])
        line = f"{row.title:35}{row.unit:>8}"
        line += "".join(f"{median[name]:14,.0f}{spread(rates[row.name][name]) * 100:4.0f}%" for name in names)
        line += "".join(f"{median['keepfs'] / median[other]:15.2f}" for other in others)
        misses = missed(row, median)
        lines.append(line + ("  MISSES " + "; ".join(misses) if misses else ""))
    return "\n".join(lines)


def cost_lines(costs, sizes):
    """CPU seconds a gigabyte and memory, a line for each system that has a daemon."""
    lengths = {"write": sizes["bytes"], "text": sizes["text_bytes"], "read": sizes["bytes"]}
    for name, values in costs.items():
        cost = {key: statistics.median(value) for key, value in values.items()}
        if not cost["memory_peak"]:
            continue
        work = [f"{cost[row] / length * 1e9:.2f}" if row in cost else "–" for row, length in lengths.items()]
        yield title(name), *work, f"{cost['memory_idle'] / MIB:.0f}", f"{cost['memory_peak'] / MIB:.0f}"


def backup_lines(backup):
    """Seconds, bytes, and how keepfs compares."""
    ours = medians(backup["keepfs"])
    for name, figures in backup.items():
        median = medians(figures)
        line = [name, f"{median['seconds']:.2f}", f"{median['bytes'] / MIB:.1f}"]
        if name not in BACKUP_TARGETS:
            yield [*line, "", "", ""]
            continue
        speed, size = BACKUP_TARGETS[name]
        faster, share = median["seconds"] / ours["seconds"], ours["bytes"] / median["bytes"]
        holds = "holds" if faster >= speed and share <= size else "**misses**"
        yield [*line, f"{faster:.2f} (≥ {speed:g})", f"{share:.2f} (≤ {size:g})", holds]


def text_rest(result):
    lines = []
    if result["costs"]:
        lines.append("\nsystem, CPU s/GB written (noise, source text) and read cold, MiB of memory idle and at most")
        lines += ["  " + "  ".join(line) for line in cost_lines(result["costs"], result["sizes"])]
    if result["backup"]:
        lines.append("\nbackup of the source tree: seconds, MiB on the store, times as fast as it, share of its bytes")
        lines += ["  " + "  ".join(line) for line in backup_lines(result["backup"])]
    return "\n".join(lines)


def cells(line):
    return "| " + " | ".join(line) + " |"


def markdown_main(result):
    head = ["work", *(title(name) for name in ("ext4", "keepfs", "gocryptfs", "ceiling")), "spread"]
    head += ["× gocryptfs (target)", "× ext4 (target)", "of the ceiling", ""]
    lines = [cells(head), "|" + "---|" * len(head)]
    for row in shown(result["rates"]):
        rates = result["rates"][row.name]
        median = medians(rates)
        line = [f"{row.title}, {row.unit}"] + [f"{median[name]:,.0f}" for name in ("ext4", "keepfs", "gocryptfs", "ceiling")]
        line.append(f"{spread(rates['keepfs']) * 100:.0f} %")
        for other, target in zip(("gocryptfs", "ext4"), row.targets):
            line.append(f"{median['keepfs'] / median[other]:.2f} (≥ {target:g})")
        line.append(f"{median['keepfs'] / median['ceiling'] * 100:.0f} %")
        lines.append(cells([*line, "**misses**" if missed(row, median) else "holds"]))
    return "\n".join(lines)


def markdown_peers(result):
    names = [name for name in result["peer_systems"] if name != "keepfs"]
    head = ["work", "keepfs", *names, *(f"× {name}" for name in names), ""]
    lines = [cells(head), "|" + "---|" * len(head)]
    for row in shown(result["peers"]):
        median = medians(result["peers"][row.name])
        ratios = [median["keepfs"] / median[name] for name in names]
        line = [f"{row.title}, {row.unit}", f"{median['keepfs']:,.0f}"]
        line += [f"{median[name]:,.0f}" for name in names] + [f"{ratio:.2f}" for ratio in ratios]
        behind = "behind†" if row.name in UNSYNCED else "**behind**"
        lines.append(cells([*line, "ahead" if min(ratios) > 1 else behind]))
    return "\n".join(lines)


def markdown_costs(result):
    head = ["system", "noise written, CPU s/GB", "source text written, CPU s/GB", "read cold, CPU s/GB", "memory idle, MiB", "at most, MiB"]
    lines = [cells(head), "|" + "---|" * len(head)]
    return "\n".join(lines + [cells(line) for line in cost_lines(result["costs"], result["sizes"])])


def markdown_backup(result):
    head = ["program", "seconds", "MiB on the store", "keepfs is so many times as fast (target)", "share of its bytes (target)", ""]
    lines = [cells(head), "|" + "---|" * len(head)]
    return "\n".join(lines + [cells(line) for line in backup_lines(result["backup"])])


def markdown_scale(scale):
    """What a call and publishing cost at each size of the tree, and what stands at the end."""
    head = ["files", *(f"{name}, µs" for name in scale["calls"]), "mount, s"]
    head += ["publishing 1,000 changes near each other", "scattered", "the same with the checkpoint"]
    lines = [cells(head), "|" + "---|" * len(head)]
    for step in scale["steps"]:
        near, far = step["near"], step["scattered"]
        line = [f"{step['files']:,}", *(f"{step[name]:.0f}" for name in scale["calls"]), f"{step['mount_seconds']:.2f}"]
        line += [f"{cost['seconds']:.2f} s, {cost['bytes'] / 1024:,.0f} KiB" for cost in (near, far)]
        lines.append(cells([*line, f"{far['seconds_most']:.2f} s, {far['bytes_most'] / 1024:,.0f} KiB"]))
    if scale.get("misses"):
        lines += ["", "Claimed by the script, and not so: " + "; ".join(scale["misses"]) + "."]
    if scale.get("figures"):
        figures = scale["figures"]
        lines += [
            "",
            f"The daemon had at most {figures['memory_peak']} MiB. `ls` of a folder of 100,000 entries takes {figures['ls_cold']} s cold and "
            f"{figures['ls_warm']} s warm. In a sparse file of 100 GB, 2,000 scattered pages are written at {figures['sparse_writes']:,} and read, cold, "
            f"at {figures['sparse_reads']:,} a second. Measured on {scale['date']}.",
        ]
    return "\n".join(lines)


def page(template, result, scale):
    """The page: the hand-written template with what was measured in its marked places."""
    sizes, machine = result["sizes"], result["machine"]
    parts = {
        "date": result["date"],
        "machine": f"{machine['processors']} × {machine['processor']}, Linux {machine['kernel']}, {machine['disk']}",
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
        "sizes": (
            f"{result['rounds']} rounds; large file {sizes['bytes'] // MIB} MiB, source text {sizes['text_bytes'] / MIB:.0f} MiB, "
            f"{sizes['files']:,} files of 4 KiB in folders of 100, source tree of {sizes['tree_files']:,} files and "
            f"{sizes['tree_bytes'] / MIB:.0f} MiB, {sizes['calls']:,} random calls, {sizes['appends']:,} appends"
        ),
        "main": markdown_main(result),
        "peers": markdown_peers(result),
        "costs": markdown_costs(result),
        "backup": markdown_backup(result),
        "stages": stages.markdown(),
        "scale": markdown_scale(scale),
    }
    for name, text in parts.items():
        template = template.replace(f"{{{{{name}}}}}", text)
    return template


# The picture: a line for each row, gocryptfs at 1 on a logarithmic axis.
WIDTH, LEFT, RIGHT, TOP, STEP = 870, 252, 30, 74, 30
LOW, HIGH = 0.25, 64
COLOURS = {"keepfs": "#1f5fbf", "ext4": "#6b6b6b", "ceiling": "#c76b00"}


def place(ratio):
    share = math.log(min(max(ratio, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def words(x, y, text, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{html.escape(text)}</text>'


def picture(result):
    """How many times as fast as gocryptfs keepfs, ext4 and the ceiling are."""
    table = shown(result["rates"])
    bottom = TOP + STEP * len(table)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" font-family="sans-serif" font-size="13" fill="#222">',
        f"<title>Speed as a multiple of gocryptfs, {result['date']}</title>",
        f'<rect width="{WIDTH}" height="{bottom + 40}" fill="#fff"/>',
        words(12, 24, "How many times as fast as gocryptfs (= 1), logarithmic", 'font-size="16"'),
        *legend(),
    ]
    ratio = 0.25
    while ratio <= HIGH:
        x, colour = place(ratio), "#222" if ratio == 1 else "#ddd"
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}"/>')
        out.append(words(x, bottom + 18, f"{ratio:g}", 'text-anchor="middle"'))
        ratio *= 2
    for number, row in enumerate(table):
        out += picture_row(row, medians(result["rates"][row.name]), TOP + STEP * number + STEP / 2)
    return "\n".join([*out, "</svg>"]) + "\n"


def legend():
    x = LEFT
    yield f'<rect x="{x}" y="40" width="26" height="12" fill="{COLOURS["keepfs"]}"/>' + words(x + 32, 51, "keepfs")
    yield f'<circle cx="{x + 110}" cy="46" r="5" fill="{COLOURS["ext4"]}"/>' + words(x + 120, 51, "ext4, without encryption")
    yield f'<path d="M{x + 300} 40l6 6l-6 6l-6 -6z" fill="{COLOURS["ceiling"]}"/>' + words(x + 312, 51, "ceiling of FUSE")
    yield f'<line x1="{x + 430}" y1="38" x2="{x + 430}" y2="54" stroke="#b00020" stroke-width="3"/>' + words(x + 438, 51, "target")


def picture_row(row, median, y):
    base = median["gocryptfs"]
    ours, start = place(median["keepfs"] / base), place(1)
    yield words(LEFT - 12, y + 4, row.title, 'text-anchor="end"')
    x, width = min(ours, start), max(abs(ours - start), 1)
    yield f'<rect x="{x:.1f}" y="{y - 6:.1f}" width="{width:.1f}" height="12" fill="{COLOURS["keepfs"]}"/>'
    yield f'<circle cx="{place(median["ext4"] / base):.1f}" cy="{y:.1f}" r="5" fill="{COLOURS["ext4"]}"/>'
    if "ceiling" in median:
        x = place(median["ceiling"] / base)
        yield f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{COLOURS["ceiling"]}"/>'
    x = place(row.targets[0])
    yield f'<line x1="{x:.1f}" y1="{y - 8:.1f}" x2="{x:.1f}" y2="{y + 8:.1f}" stroke="#b00020" stroke-width="3"/>'
