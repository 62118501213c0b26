"""Congestion control beside Linux's own, as `./ph bench cc [--quick | --grid] [--json FILE]`.

One bottleneck (src/sim/link: rate, round trip, queue, loss), one or two bulk transfers over it.
Ours run between two of our hosts in virtual time; Linux's between two network namespaces of this
machine whose TAP devices the same link joins in real time (root). Beside each other: goodput, mean
queueing delay, retransmissions, Jain's fairness. A case's curves (congestion window and queue over
time) are drawn into build/bench/cc/CASE.svg.

Ours is the median of seven seeds. Where packets are lost at random, chance moves a single run by a
factor: --runs repeats Linux's there and takes the median. Marked with `!`: goodput that differs by
more than 15 %, queueing delay by more than 30 % (and 1 ms), if Linux's figure is also outside of
what our seeds span.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PH_CC = os.path.join(ROOT, "build", "release", "ph_cc")
TRAFFIC = os.path.join(ROOT, "tools", "bench_cc_traffic.py")
PICTURES = os.path.join(ROOT, "build", "bench", "cc")
FRAME_BYTES = 1514
SEEDS = (1, 2, 3, 4, 5, 6, 7)
WARM_UP_S = 2
GOODPUT_OFF, DELAY_OFF, DELAY_OFF_MS = 0.15, 0.30, 1.0
LATE_MS = 10  # an event of the real-time link later than this disturbs a run

ALGORITHMS = ("reno", "cubic", "bbr", "bbr3")


class Case:
    def __init__(self, mbit, rtt_ms, bdp, loss_percent, flows=1):
        self.mbit, self.rtt_ms, self.bdp = mbit, rtt_ms, bdp
        self.loss_percent, self.flows = loss_percent, flows
        packets = mbit * 1e6 * rtt_ms / 1e3 / 8 / FRAME_BYTES * bdp
        self.queue_packets = max(round(packets), 4)
        self.name = f"{mbit}mbit-{rtt_ms}ms-{bdp}bdp-{loss_percent}%-{flows}"

    def words(self, seconds, seed):
        return [str(value) for value in (self.mbit, self.rtt_ms, self.queue_packets,
                                         self.loss_percent / 100, seconds, seed)]

    def describe(self):
        return (f"{self.mbit} Mbit/s, {self.rtt_ms} ms, queue {self.bdp} BDP "
                f"({self.queue_packets} packets), loss {self.loss_percent} %, "
                f"{self.flows} flow{'s' if self.flows > 1 else ''}")


QUICK = [Case(20, 40, 1, 0), Case(20, 40, 0.25, 0), Case(20, 40, 4, 0), Case(100, 40, 1, 0.2),
         Case(5, 10, 1, 0), Case(100, 10, 1, 0.02), Case(20, 150, 1, 1), Case(20, 40, 1, 0, 2)]
GRID = [Case(*values) for values in itertools.product(
    (5, 20, 100), (10, 40, 150), (0.25, 1, 4), (0, 0.02, 0.2, 1), (1, 2))]


class BenchError(Exception):
    """A benchmark could not be run; the text says why."""


# --- one run --------------------------------------------------------------------------------------

def run_ours(case, algorithm, seconds, seed):
    words = [PH_CC, "sim", algorithm, str(case.flows), *case.words(seconds, seed)]
    ran = subprocess.run(words, capture_output=True, text=True)
    if ran.returncode != 0:
        raise BenchError(f"{' '.join(words)}: {ran.stderr.strip() or ran.returncode}")
    return json.loads(ran.stdout)


def ip(*words):
    ran = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ran.returncode != 0:
        raise BenchError(f"ip {' '.join(words)}: {ran.stderr.strip()}")


def in_realtime():
    """Before exec: the link must not wait for others. Harmless where it is not allowed."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


SYSCTLS = ("net.ipv4.tcp_no_metrics_save=1", "net.ipv4.tcp_rmem=4096 131072 33554432",
           "net.ipv4.tcp_wmem=4096 131072 33554432", "net.ipv4.tcp_ecn=0",
           "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")


@contextlib.contextmanager
def namespaces():
    """Two, named after this process; gone afterwards."""
    names = [f"ph-cc-{os.getpid()}-{side}" for side in "ab"]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
            for words in SYSCTLS:
                subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", words],
                               capture_output=True)
        yield names
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def dress(names, number, tap):
    """Addresses; the neighbours' are given, so that no ARP is lost or timed."""
    mine, other = number + 1, 2 - number
    ip("-n", names[number], "link", "set", tap, "address", f"02:00:00:00:00:0{mine}")
    ip("-n", names[number], "address", "add", f"10.0.0.{mine}/24", "dev", tap)
    ip("-n", names[number], "link", "set", tap, "up")
    ip("-n", names[number], "neighbour", "replace", f"10.0.0.{other}", "lladdr",
       f"02:00:00:00:00:0{other}", "dev", tap)


def run_linux(names, case, algorithm, seconds, seed):
    enter = ["ip", "netns", "exec"]
    link = subprocess.Popen([*enter, names[0], PH_CC, "link", "tapa", "tapb",
                             *case.words(seconds + 1.5, seed)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=in_realtime)
    parts = [link]
    try:
        if link.stdout.readline().strip() != "ready":
            raise BenchError(f"ph_cc link: {link.stderr.read().strip()}")
        ip("-n", names[0], "link", "set", "tapb", "netns", names[1])
        dress(names, 0, "tapa")
        dress(names, 1, "tapb")
        receiver = subprocess.Popen([*enter, names[1], sys.executable, TRAFFIC, "receive",
                                     str(case.flows), str(seconds)], stdout=subprocess.PIPE,
                                    text=True)
        parts.append(receiver)
        if receiver.stdout.readline().strip() != "ready":
            raise BenchError("the receiver does not listen")
        sender = subprocess.Popen([*enter, names[0], sys.executable, TRAFFIC, "send",
                                   str(case.flows), str(seconds), algorithm],
                                  stdout=subprocess.PIPE, text=True)
        parts.append(sender)
        reports = [json.loads(part.communicate(timeout=seconds + 30)[0] or "null")
                   for part in (sender, receiver, link)]
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{error.cmd[-6:]} does not end") from None
    finally:
        for part in parts:
            if part.poll() is None:
                part.kill()
            part.wait()
    return joined(*reports)


def joined(sender, receiver, link):
    """The three programs' reports as one, times from the first connection on."""
    begin = sender["begin"]
    shift = link["begin"] - begin
    queue = [[t + shift, value] for t, value in link["queue_ms"] if t + shift >= 0]
    shift = receiver["begin"] - begin
    flows = [{"cwnd": sent["cwnd"], "retransmissions": sent["retransmissions"],
              "bytes": [[t + shift, value] for t, value in got]}
             for sent, got in zip(sender["flows"], receiver["bytes"])]
    return {"queue_ms": queue, "queue_drops": link["queue_drops"], "flows": flows,
            "late_ms": link["late_ms"], "refused": link["refused"]}


# --- what a run says ------------------------------------------------------------------------------

def at(points, when):
    """The value of a curve at a time: that of the last point before."""
    value = 0
    for t, here in points:
        if t > when:
            break
        value = here
    return value


def judged(run, seconds):
    rates = [(at(flow["bytes"], seconds) - at(flow["bytes"], WARM_UP_S)) * 8 / 1e6 /
             (seconds - WARM_UP_S) for flow in run["flows"]]
    squares = sum(rate * rate for rate in rates)
    return {"mbit_s": sum(rates),
            "queue_ms": statistics.mean([value for t, value in run["queue_ms"]
                                         if WARM_UP_S <= t <= seconds] or [0]),
            "retransmissions": sum(flow["retransmissions"] for flow in run["flows"]),
            "jain": sum(rates) ** 2 / (len(rates) * squares) if squares else 1.0,
            "late_ms": run.get("late_ms", 0)}


def median_run(runs, seconds):
    """Figures: medians. Curves: those of the run with the median goodput."""
    figures = [judged(run, seconds) for run in runs]
    order = sorted(range(len(runs)), key=lambda i: figures[i]["mbit_s"])
    out = {key: statistics.median(figure[key] for figure in figures) for key in figures[0]}
    out["late_ms"] = max(figure["late_ms"] for figure in figures)
    out["span"] = {key: [min(figure[key] for figure in figures),
                         max(figure[key] for figure in figures)]
                   for key in ("mbit_s", "queue_ms")}
    return out, runs[order[len(runs) // 2]]


def compared(ours, linux):
    ratio = ours["mbit_s"] / linux["mbit_s"] if linux["mbit_s"] else float("inf")
    delay = ours["queue_ms"] / linux["queue_ms"] if linux["queue_ms"] > 0.01 else None
    gap = abs(ours["queue_ms"] - linux["queue_ms"])
    def by_chance(key):
        return ours["span"][key][0] <= linux[key] <= ours["span"][key][1]
    return {"goodput": ratio, "queue": delay,
            "goodput_off": abs(ratio - 1) > GOODPUT_OFF and not by_chance("mbit_s"),
            "queue_off": gap > DELAY_OFF_MS and gap > DELAY_OFF * linux["queue_ms"] and
                         not by_chance("queue_ms")}


# --- pictures -------------------------------------------------------------------------------------

COLOURS = {"posthaste": ("#0b6e99", "#5fb3d4"), "Linux": ("#c0392b", "#e59866")}
WIDTH, HEIGHT, LEFT, TOP, GAP = 460, 150, 60, 60, 70


def nice(value):
    """A round number not below it, for the end of an axis."""
    if value <= 0:
        return 1.0
    unit = 10 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    return next(unit * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if unit * step >= value)


def thinned(points, most=600):
    """Not more points than the picture can show: of neighbours, the mean."""
    size = max(len(points) // most, 1)
    return [[statistics.mean(p[0] for p in points[i:i + size]),
             statistics.mean(p[1] for p in points[i:i + size])]
            for i in range(0, len(points), size)]


def panel(x, y, title, unit, curves, seconds):
    """Axes with a title, and curves [(colour, points)]."""
    top = nice(max((value for _, points in curves for _, value in points), default=1))
    out = [f'<g transform="translate({x},{y})">',
           f'<text x="0" y="-8" font-weight="bold">{title}</text>',
           f'<path d="M0 0V{HEIGHT}H{WIDTH}" fill="none" stroke="#444"/>']
    for i in range(5):
        value, level = top * i / 4, HEIGHT - HEIGHT * i / 4
        out.append(f'<path d="M0 {level:.1f}H{WIDTH}" stroke="#ddd"/>'
                   f'<text x="-6" y="{level + 4:.1f}" text-anchor="end">{value:g}</text>')
    for i in range(6):
        out.append(f'<text x="{WIDTH * i / 5:.0f}" y="{HEIGHT + 15}" text-anchor="middle">'
                   f'{seconds * i / 5:g}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 30}" text-anchor="middle">time / s</text>'
               f'<text transform="translate(-44,{HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
               f'{unit}</text>')
    for colour, points in curves:
        where = " ".join(f"{WIDTH * t / seconds:.1f},{HEIGHT - HEIGHT * min(value / top, 1):.1f}"
                         for t, value in thinned(points) if t <= seconds)
        out.append(f'<polyline points="{where}" fill="none" stroke="{colour}" '
                   f'stroke-width="1.2"/>')
    return "\n".join([*out, "</g>"])


def draw(case, rows, seconds):
    """rows: [(algorithm, {"posthaste": run, "Linux": run})]; the file's name."""
    height = TOP + len(rows) * (HEIGHT + GAP)
    width = 2 * (WIDTH + LEFT) + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{LEFT}" y="18" font-size="14">{case.describe()}</text>']
    for i, (who, colours) in enumerate(COLOURS.items()):
        x = width - 260 + i * 130
        out.append(f'<path d="M{x} 14h24" stroke="{colours[0]}" stroke-width="3"/>'
                   f'<text x="{x + 30}" y="18" font-size="13">{who}</text>')
    for i, (algorithm, runs) in enumerate(rows):
        y = TOP + i * (HEIGHT + GAP)
        windows, queues = [], []
        for who, run in runs.items():
            windows += [(COLOURS[who][number % 2], flow["cwnd"])
                        for number, flow in enumerate(run["flows"])]
            queues.append((COLOURS[who][0], run["queue_ms"]))
        out.append(panel(LEFT, y, f"{algorithm}: congestion window", "segments", windows, seconds))
        out.append(panel(2 * LEFT + WIDTH + 20, y, f"{algorithm}: queue", "ms", queues, seconds))
    out.append("</svg>\n")
    os.makedirs(PICTURES, exist_ok=True)
    name = os.path.join(PICTURES, case.name.replace("%", "pc") + ".svg")
    with open(name, "w") as file:
        file.write("\n".join(out))
    return name


# --- the whole ------------------------------------------------------------------------------------

HEAD = (f"  {'':7}{'Mbit/s':>8}{'Linux':>8}{'ratio':>7}   {'queue ms':>9}{'Linux':>8}{'ratio':>7}"
        f"   {'retrans':>8}{'Linux':>7}   {'Jain':>5}{'Linux':>7}")


def print_row(algorithm, ours, linux, ratios):
    def cells(*values):
        return "".join(values)
    if linux is None:
        print(cells(f"  {algorithm:7}{ours['mbit_s']:8.2f}{'-':>8}{'-':>7}   ",
                    f"{ours['queue_ms']:9.1f}{'-':>8}{'-':>7}   ",
                    f"{ours['retransmissions']:8.0f}{'-':>7}   {ours['jain']:5.2f}{'-':>7}"))
        return
    queue = f"{ratios['queue']:.2f}" if ratios["queue"] is not None else "-"
    late = f"   (the link was late by {linux['late_ms']:.0f} ms)" if linux["late_ms"] > LATE_MS \
        else ""
    print(cells(f"  {algorithm:7}{ours['mbit_s']:8.2f}{linux['mbit_s']:8.2f}",
                f"{ratios['goodput']:6.2f}{'!' if ratios['goodput_off'] else ' '}   ",
                f"{ours['queue_ms']:9.1f}{linux['queue_ms']:8.1f}",
                f"{queue:>6}{'!' if ratios['queue_off'] else ' '}   ",
                f"{ours['retransmissions']:8.0f}{linux['retransmissions']:7.0f}   ",
                f"{ours['jain']:5.2f}{linux['jain']:7.2f}{late}"))


def one_case(case, algorithms, known, names, asked):
    print(f"\n{case.describe()}\n{HEAD}")
    rows, pictures = [], []
    for algorithm in algorithms:
        ours, curves = median_run([run_ours(case, algorithm, asked.seconds, seed)
                                   for seed in SEEDS], asked.seconds)
        row = {"algorithm": algorithm, "posthaste": ours}
        shown = {"posthaste": curves}
        if names and algorithm in known:
            row["linux"], shown["Linux"] = median_run(
                [run_linux(names, case, algorithm, asked.seconds, seed)
                 for seed in range(1, (asked.runs if case.loss_percent else 1) + 1)],
                asked.seconds)
            row["ratio"] = compared(ours, row["linux"])
        print_row(algorithm, ours, row.get("linux"), row.get("ratio"))
        sys.stdout.flush()
        rows.append(row)
        pictures.append((algorithm, shown))
    picture = draw(case, pictures, asked.seconds)
    return {"case": case.name, "mbit": case.mbit, "rtt_ms": case.rtt_ms, "queue_bdp": case.bdp,
            "queue_packets": case.queue_packets, "loss_percent": case.loss_percent,
            "flows": case.flows, "rows": rows, "picture": os.path.relpath(picture, ROOT)}


def linux_algorithms():
    """Those that this machine's kernel has; a module is loaded where that is possible."""
    for module in ("tcp_bbr", "tcp_cubic"):
        with contextlib.suppress(OSError):
            subprocess.run(["modprobe", "-q", module], capture_output=True)
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as known:
        return known.read().split()


def main(words):
    parser = argparse.ArgumentParser(prog="ph bench cc", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", action="store_true", help="all 216 cases (hours)")
    parser.add_argument("--quick", action="store_true", help="eight cases, the default")
    parser.add_argument("--only", metavar="TEXT", help="cases whose name contains it")
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS), help="comma-separated")
    parser.add_argument("--seconds", type=float, default=7, help="of one transfer (7)")
    parser.add_argument("--runs", type=int, default=1,
                        help="of Linux where packets are lost by chance (1)")
    parser.add_argument("--ours", action="store_true", help="without Linux")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    asked = parser.parse_args(words)
    if asked.seconds <= WARM_UP_S:
        parser.error(f"the first {WARM_UP_S} s are not counted: --seconds must be more")
    cases = [case for case in (GRID if asked.grid else QUICK)
             if not asked.only or asked.only in case.name]
    algorithms = asked.algorithms.split(",")
    known, names = linux_algorithms(), None
    results = []
    begin = time.monotonic()
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} processors" +
          ("; Linux's figures need an idle machine" if load > os.cpu_count() else ""))
    with contextlib.ExitStack() as stack:
        if asked.ours or os.geteuid() != 0:
            known = []
            print("Linux: SKIPPED" + ("" if asked.ours else ": network namespaces need root"))
        else:
            names = stack.enter_context(namespaces())
            for algorithm in algorithms:
                if algorithm not in known:
                    print(f"Linux's {algorithm}: SKIPPED, this kernel has {' '.join(known)}")
        for case in cases:
            results.append(one_case(case, algorithms, known, names, asked))
    ratios = [row["ratio"] for case in results for row in case["rows"] if "ratio" in row]
    off = [ratio for ratio in ratios if ratio["goodput_off"] or ratio["queue_off"]]
    print(f"\n{len(results)} cases in {time.monotonic() - begin:.0f} s; pictures in "
          f"{os.path.relpath(PICTURES, ROOT)}; off by more than 15 % in goodput or 30 % in "
          f"queueing delay: {len(off)} of {len(ratios)}")
    if asked.json:
        with open(asked.json, "w") as out:
            json.dump({"seconds": asked.seconds, "runs": asked.runs, "load": load,
                       "cases": results}, out, indent=1)
            out.write("\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as error:
        print(f"ph bench cc: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
