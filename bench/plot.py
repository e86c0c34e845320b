# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw the curves with gnuplot: rates and latencies over pages."""

import os
import subprocess

STYLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "restore.gp")
SPDX = "<!-- SPDX-License-Identifier: GPL-2.0-or-later -->\n"
# Title of a column, and what its points have in common
COLUMNS = (
    ("pc, TCG, Linux", {"guest": "linux", "machine": "pc", "devices": "",
                        "vcpus": 1}),
    ("pc + virtio-blk + virtio-net, TCG, Linux",
     {"guest": "linux", "machine": "pc", "devices": "virtio-blk virtio-net",
      "vcpus": 1}),
    ("q35, TCG, Linux", {"guest": "linux", "machine": "q35", "vcpus": 1}),
    ("pc, bare-metal program", {"guest": "payload"}),
)


def curves(points, common):
    """Group the points of a column by what tells its curves apart.

    Returns [(name, [point, ...])], ordered by engine, accelerator and size.
    """
    groups = {}
    for point in points:
        if common.items() <= point.items():
            key = point["engine"], point["accel"], point["ram_mib"]
            groups.setdefault(key, []).append(point)
    named = []
    for (engine, accel, size), group in sorted(groups.items()):
        what = accel.upper() if common["guest"] == "payload" else f"{size} MiB"
        group.sort(key=lambda point: point["pages_per_restore"])
        named.append((f"{engine}, {what}", group))
    return named


def panel(title, label, key, lines):
    """The gnuplot commands for one panel.

    @key: the corner for the names of the lines
    @lines: [(name, style, [(x, y), ...])]
    """
    if not any(values for _, _, values in lines):
        return ["set multiplot next"]
    text = [f'set title "{title}"', f'set ylabel "{label}"',
            f"set key {key} left"]
    for i, (_, _, values) in enumerate(lines):
        text += [f"$data{i} << END", *(f"{x} {y}" for x, y in values), "END"]
    text.append("plot " + ", ".join(
        f'$data{i} with {"points" if dashed else "linespoints"} ls {style} '
        f'title "{name}"'
        for i, (name, (style, dashed), _) in enumerate(lines)))
    return text


def rate_panel(title, groups):
    """Restores a second by the host's clock."""
    return panel(title, "restores a second", "bottom", [
        (name, (style, False), [(p["pages_per_restore"], p["restores_per_s"])
                                for p in group])
        for style, (name, group) in styled(groups)])


def latency_panel(groups):
    """Medians as lines, 99th percentiles as points."""
    lines = []
    for style, (name, group) in styled(groups):
        lines.append((f"{name}, median", (style, False), [
            (p["pages_per_restore"], p["p50_us"]) for p in group]))
        lines.append(("", (style, True), [
            (p["pages_per_restore"], p["p99_us"]) for p in group]))
    return panel("single points: 99th percentile", "microseconds a restore",
                 "top", lines)


def styled(groups):
    """Number the groups by the style of their lines: engines by colour."""
    count = {"copy": 0, "remap": 3}
    for name, group in groups:
        engine = group[0]["engine"]
        count[engine] += 1
        yield count[engine], (name, group)


def commands(result):
    """The gnuplot commands that follow those of restore.gp."""
    text = []
    for title, common in COLUMNS:
        groups = curves(result["points"], common)
        text += rate_panel(title, groups) + latency_panel(groups)
    return "\n".join([*text, "unset multiplot", ""])


def draw(result, path):
    """Write @path.svg and @path.png."""
    with open(STYLE, encoding="ascii") as file:
        style = file.read()
    for kind in ("svg", "png"):
        script = (style.replace("@KIND@", kind)
                  .replace("@OUTPUT@", f"{path}.{kind}"))
        subprocess.run(["gnuplot"], check=True, text=True,
                       input=script + commands(result))
    add_licence(path + ".svg")


def add_licence(path):
    """A drawing goes to the docs, where every file has a licence line."""
    with open(path, encoding="utf-8") as file:
        head, rest = file.read().split("\n", 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}\n{SPDX}{rest}")
