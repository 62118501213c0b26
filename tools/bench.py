"""Benchmarks, as `./ph bench [NAME...] [--json FILE] [--pairs N] [--seconds S]` runs them.

NAME is `micro` (all micro-benchmarks), `stream`, `dropin`, `scale`, or a regular expression for
names of micro-benchmarks; without names everything but `scale` runs.

micro    what one operation of a hot structure costs: median of five repetitions
stream   one TCP stream between two machines in one process, all received bytes compared
dropin   iperf3, unmodified, between two hosts of a lab whose link has no limits, in turn with the
         same iperf3 over a veth pair of this machine's kernel between two network namespaces
         (root): after a warm-up, pairs of runs A B A B; medians, the ratio of each pair, and the
         CPU seconds of every process that took part

scale    curves: what one socket more costs beside 1,000 to 1,000,000 in one process, and the
         daemon's memory for idle drop-in connections, as many as open descriptors allow

`./ph bench cc` is tools/bench_cc.py.

Nothing here has a target, and nothing fails for being slow: a machine's speed is its own.
"""

import argparse
import contextlib
import glob
import json
import os
import platform
import re
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")
PH = os.path.join(BUILD, "ph")
PH_BENCH = os.path.join(BUILD, "ph_bench")
REPETITIONS = 5
PATIENCE_S = 30  # beyond the time that a run should take

LAB = """
hosts: { alice: {}, bob: {} }
links:
  - ends: [ "alice:eth0 10.0.0.1/24", "bob:eth0 10.0.0.2/24" ]
"""


class BenchError(Exception):
    """A benchmark could not be run; the text says why."""


def first_line(*words):
    """The first line that a command prints, or "unknown"."""
    try:
        ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=10)
        return (ran.stdout.splitlines() or ["unknown"])[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"


def cmake_setting(name):
    with contextlib.suppress(OSError), open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        for line in cache:
            if line.startswith(name + ":"):
                return line.split("=", 1)[1].strip()
    return "unknown"


def processor():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def configuration():
    dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT).returncode != 0
    return {
        "commit": first_line("git", "describe", "--always") + (" with changes" if dirty else ""),
        "compiler": first_line(cmake_setting("CMAKE_CXX_COMPILER"), "--version"),
        "build": cmake_setting("CMAKE_BUILD_TYPE"),
        "processor": f"{processor()}, {os.cpu_count()} in use",
        "kernel": platform.release(),
        "load": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


# --- Google Benchmark -----------------------------------------------------------------------------

def ph_bench(pattern, *options):
    """The runs of the benchmarks whose names match, as Google Benchmark's JSON has them."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        words = [PH_BENCH, f"--benchmark_filter={pattern}", f"--benchmark_out={report.name}",
                 f"--benchmark_repetitions={REPETITIONS}", "--benchmark_min_time=0.1", *options]
        before = os.times()
        ran = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        after = os.times()
        if ran.returncode != 0:
            raise BenchError(f"ph_bench ended with {ran.returncode}: {ran.stderr.strip()}")
        try:
            runs = json.load(report)["benchmarks"]
        except ValueError:
            raise BenchError(f"no benchmark's name matches {pattern}") from None
    cpu_s = (after.children_user + after.children_system -
             before.children_user - before.children_system)
    runs = [run for run in runs if run["run_type"] == "iteration"]
    runs.sort(key=lambda run: (run["family_index"], run["per_family_instance_index"]))
    return runs, cpu_s


def by_name(runs):
    out = {}
    for run in runs:
        out.setdefault(run["run_name"], []).append(run)
    return out


def human_time(ns):
    for limit, unit in ((1e3, "ns"), (1e6, "us"), (1e9, "ms")):
        if ns < limit:
            return f"{ns * 1e3 / limit:.1f} {unit}"
    return f"{ns / 1e9:.1f} s"


NS_PER = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def micro(pattern):
    runs, _ = ph_bench(pattern, "--benchmark_enable_random_interleaving=true")
    rows = []
    print(f"\nmicro-benchmarks: CPU time of one operation, {REPETITIONS} repetitions")
    print(f"  {'':52}{'median':>12}{'min .. max':>26}{'rate':>16}")
    for name, same in by_name(runs).items():
        failed = next((run for run in same if run.get("error_occurred")), None)
        if failed:
            raise BenchError(f"{name}: {failed['error_message']}")
        times = [run["cpu_time"] * NS_PER[run["time_unit"]] for run in same]
        row = {"name": name, "median_ns": statistics.median(times), "min_ns": min(times),
               "max_ns": max(times)}
        rate = ""
        for key, unit, scale in (("bytes_per_second", "GB/s", 1e9),
                                 ("items_per_second", "M/s", 1e6)):
            if key in same[0]:
                row[key] = statistics.median(run[key] for run in same)
                rate = f"{row[key] / scale:.2f} {unit}"
                break
        spread = f"{human_time(row['min_ns'])} .. {human_time(row['max_ns'])}"
        print(f"  {name:52}{human_time(row['median_ns']):>12}{spread:>26}{rate:>16}")
        rows.append(row)
    return rows


STREAMS = {"stream/0/real_time": "MTU 1500, no offload, checksums on",
           "stream/1/real_time": "MTU 1500, cutting and checksums left to the wire"}


def stream():
    runs, cpu_s = ph_bench("^stream/")
    rows = []
    print(f"\nstream: one TCP connection between two machines in one process and thread, bytes "
          f"compared, {REPETITIONS} repetitions")
    for name, same in by_name(runs).items():
        failed = next((run for run in same if run.get("error_occurred")), None)
        if failed:
            raise BenchError(f"{name}: {failed['error_message']}")
        rates = [run["Gbit/s"] for run in same]
        row = {"name": name, "what": STREAMS.get(name, name), "gbit_s": statistics.median(rates),
               "min": min(rates), "max": max(rates)}
        print(f"  {row['what']:52}{row['gbit_s']:8.2f} Gbit/s  ({row['min']:.2f} .. "
              f"{row['max']:.2f})")
        rows.append(row)
    print(f"  CPU of all of it: {cpu_s:.1f} s")
    return {"runs": rows, "cpu_s": cpu_s}


# --- curves ---------------------------------------------------------------------------------------

SCALE = {"udp_open_bind": "UDP: socket and bind", "udp_close": "UDP: close",
         "udp_demux": "UDP: a datagram to one of them, received",
         "udp_reuseaddr": "UDP: open, bind, close on one port, SO_REUSEADDR",
         "udp_reuseport": "UDP: open, bind, close on one port, SO_REUSEPORT",
         "memory_loads": "one load from memory of that size",
         "tcp_connect_accept": "TCP: connect and accept", "tcp_close": "TCP: close both ends"}

# Prints a line when N connections to itself are open, and another when they are closed again.
IDLE = """
import socket, sys
port, n = int(sys.argv[1]), int(sys.argv[2])
listener = socket.create_server(("", port), backlog=128)
ends = []
for i in range(n):
    ends.append(socket.create_connection(("127.0.0.1", port)))
    ends.append(listener.accept()[0])
print("open", flush=True)
sys.stdin.readline()
for end in ends:
    end.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def scale():
    rows = {name: {} for name in SCALE}
    memory = {"bytes": {}, "held": {}, "kept": {}}
    print("\nscale: what one operation costs beside so many sockets of one machine, in one process")
    runs, _ = ph_bench("^scale/", "--benchmark_repetitions=1")
    for run in runs:
        _, name, count = run["run_name"].split("/")[:3]
        known = not run.get("error_occurred")
        rows[name][int(count)] = run["real_time"] * NS_PER[run["time_unit"]] if known else None
        for what, values in memory.items():
            if known and what in run:
                values[int(count)] = run[what]
    counts = sorted({count for row in rows.values() for count in row})
    print(f"  {'':52}" + "".join(f"{count:>12,}" for count in counts))
    for name, row in rows.items():
        cells = (human_time(row[count]) if row.get(count) is not None else "-" for count in counts)
        print(f"  {SCALE[name]:52}" + "".join(f"{cell:>12}" for cell in cells))
    for what, text in (("bytes", "TCP: heap of a connection, both ends"),
                       ("held", "UDP: memory of the process for each, open"),
                       ("kept", "UDP: memory for each when all are closed")):
        cells = (f"{memory[what][count]:,.0f} B" if count in memory[what] else "-"
                 for count in counts)
        print(f"  {text:52}" + "".join(f"{cell:>12}" for cell in cells))
    return {"operations_ns": rows, "memory_bytes": memory, "dropin": idle_connections()}


def resident(pid):
    """Bytes of memory that a process holds."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


def told(process, word):
    line = process.stdout.readline().strip()
    if line != word:
        raise BenchError(f"a program with idle connections said {line!r}, not {word!r}")


def idle_connections():
    """[(connections, daemon's bytes for each, bytes for each when all are closed again)]"""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    print("  daemon's memory for an idle drop-in connection, both ends (and when closed again)")
    out = []
    for count in (1000, 2000, 4000, 8000, 16000, 32000, 64000, 100_000):
        if count * 4 > most:  # the daemon holds a descriptor of each end, with room
            print(f"  {count:>12,} and more: SKIPPED: at most {most:,} open descriptors here")
            break
        with a_running_lab() as (daemon, prefix):
            before = resident(daemon)
            share = min(count, 2000)
            programs = [subprocess.Popen([*prefix("bob"), sys.executable, "-c", IDLE, str(port),
                                          str(share)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
                        for port in range(5000, 5000 + count // share)]
            try:
                for program in programs:
                    told(program, "open")
                held = (resident(daemon) - before) / count
                for program in programs:
                    program.stdin.write("\n")
                    program.stdin.flush()
                    told(program, "closed")
                kept = (resident(daemon) - before) / count
            finally:
                for program in programs:
                    end(program)
        print(f"  {count:>12,}: {held:10,.0f} B ({kept:,.0f} B)")
        out.append((count, held, kept))
    return out


# --- iperf3 in a lab and over veth ----------------------------------------------------------------

def cpu_of(pid):
    """CPU seconds of a process that lives; 0 when it does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def kernel_helpers():
    """The pids of the kernel's threads that finish what interrupts began."""
    out = []
    for comm in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(OSError), open(comm) as name:
            if name.read().startswith("ksoftirqd/"):
                out.append(int(comm.split("/")[2]))
    return out


def wait_rusage(process, patience_s):
    """CPU seconds of a child after its end."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        time.sleep(0.01)
    raise BenchError(f"{process.args[-6:]} does not end")


def wait_listening(process, patience_s):
    """Reads what a server prints until it listens."""
    heard = b""
    deadline = time.monotonic() + patience_s
    while b"listening" not in heard:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise BenchError(f"the server does not listen: {heard.decode(errors='replace')}")
        piece = os.read(process.stdout.fileno(), 4096)
        if not piece:
            raise BenchError(f"the server ended: {heard.decode(errors='replace')}")
        heard += piece


def end(process):
    if process.returncode is None:
        process.kill()
        process.wait()


def iperf3(server_prefix, client_prefix, options, seconds, bystanders):
    """One run: Gbit/s as the server counted, and CPU seconds by process. `bystanders`: pids by name
    of processes that live on."""
    before = {name: sum(map(cpu_of, pids)) for name, pids in bystanders.items()}
    server = subprocess.Popen([*server_prefix, "iperf3", "-s", "-1", "--forceflush"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    client = None
    try:
        wait_listening(server, PATIENCE_S)
        with tempfile.TemporaryFile() as answer:
            client = subprocess.Popen([*client_prefix, "iperf3", "-c", "10.0.0.2", "-J", "-t",
                                       str(seconds), *options], stdout=answer,
                                      stderr=subprocess.STDOUT)
            cpu = {"client": wait_rusage(client, seconds + PATIENCE_S)}
            answer.seek(0)
            text = answer.read().decode(errors="replace")
        try:
            report = json.loads(text)
        except ValueError:
            raise BenchError(f"iperf3 said: {text.strip() or 'nothing'}") from None
        if "error" in report or client.returncode != 0:
            raise BenchError(f"iperf3: {report.get('error', client.returncode)}")
        cpu["server"] = wait_rusage(server, PATIENCE_S)
    finally:
        for process in (client, server):
            if process:
                end(process)
        server.stdout.close()
    for name, pids in bystanders.items():
        cpu[name] = sum(map(cpu_of, pids)) - before[name]
    return {"gbit_s": report["end"]["sum_received"]["bits_per_second"] / 1e9, "cpu_s": cpu}


@contextlib.contextmanager
def a_running_lab():
    """A lab of two hosts; gives its daemon's pid and a function: the words that run a program."""
    with tempfile.TemporaryDirectory(prefix="ph-bench-") as folder:
        lab, socket = os.path.join(folder, "lab.yaml"), os.path.join(folder, "sock")
        with open(lab, "w") as out:
            out.write(LAB)
        started = subprocess.run([PH, "up", "--socket", socket, "-f", lab, "--detach"],
                                 capture_output=True, text=True)
        if started.returncode != 0:
            raise BenchError(f"ph up: {started.stderr.strip()}")
        try:
            status = subprocess.run([PH, "status", "--socket", socket, "--json"],
                                    capture_output=True, text=True)
            try:
                daemon = json.loads(status.stdout)["pid"]
            except (ValueError, KeyError):
                raise BenchError(f"ph status: {status.stderr.strip()}") from None
            def prefix(host):
                return [PH, "run", "--socket", socket, "--host", host, "--"]
            yield daemon, prefix
        finally:
            subprocess.run([PH, "down", "--socket", socket], capture_output=True)


@contextlib.contextmanager
def a_lab():
    """A lab of two hosts; gives a function that runs iperf3 in it."""
    with a_running_lab() as (daemon, prefix):
        yield lambda seconds: iperf3(prefix("bob"), prefix("alice"), [], seconds,
                                     {"daemon": [daemon]})


def ip(*words):
    ran = subprocess.run(["ip", *words], capture_output=True, text=True)
    if ran.returncode != 0:
        raise BenchError(f"ip {' '.join(words)}: {ran.stderr.strip()}")


@contextlib.contextmanager
def a_veth_pair():
    """Two network namespaces with a veth pair; gives a function that runs iperf3 in them."""
    names = [f"ph-bench-{os.getpid()}-{side}" for side in "ab"]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
           names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.0.0.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
        with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as known:
            options = ["-C", "cubic"] if "cubic" in known.read().split() else []
        def prefix(name):
            return ["ip", "netns", "exec", name]
        yield lambda seconds: iperf3(prefix(names[1]), prefix(names[0]), options, seconds,
                                     {"ksoftirqd": kernel_helpers()})
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def summary(runs):
    rates = [run["gbit_s"] for run in runs]
    cpu = {name: statistics.median(run["cpu_s"][name] for run in runs) for name in runs[0]["cpu_s"]}
    return {"gbit_s": statistics.median(rates), "min": min(rates), "max": max(rates), "cpu_s": cpu,
            "runs": runs}


def print_summary(name, side, seconds):
    total = sum(side["cpu_s"].values())
    parts = ", ".join(f"{who} {spent:.2f}" for who, spent in side["cpu_s"].items())
    per_cpu = f"{side['gbit_s'] * seconds / total:.1f}" if total else "-"
    print(f"  {name:10}{side['gbit_s']:8.2f} Gbit/s ({side['min']:.2f} .. {side['max']:.2f}); "
          f"CPU {total:.2f} s a run ({parts}); {per_cpu} Gbit per CPU second")


def dropin(pairs, seconds):
    if not shutil.which("iperf3"):
        raise BenchError("iperf3 is not installed (apt-get install iperf3)")
    peer = os.geteuid() == 0 and shutil.which("ip") is not None
    print(f"\ndropin: {first_line('iperf3', '--version')}, one TCP stream, pairs of runs: {pairs}, "
          f"each {seconds} s, after a warm-up; the data are iperf3's own and not compared")
    print("  posthaste: two hosts of one lab, a link without rate or delay, MTU 1500, CUBIC")
    if peer:
        print("  Linux:     a veth pair between two network namespaces, its default offloads, MTU "
              "1500, CUBIC")
    else:
        print("  Linux:     SKIPPED: network namespaces need root and iproute2")
    ours, theirs = [], []
    with contextlib.ExitStack() as stack:
        run_ours = stack.enter_context(a_lab())
        run_theirs = stack.enter_context(a_veth_pair()) if peer else None
        for number in range(pairs + 1):
            for runs, run in ((ours, run_ours), (theirs, run_theirs)):
                if run:
                    runs.append(run(seconds if number else 1))
    result = {"seconds": seconds, "posthaste": summary(ours[1:])}
    print_summary("posthaste", result["posthaste"], seconds)
    if peer:
        result["linux"] = summary(theirs[1:])
        print_summary("Linux", result["linux"], seconds)
        ratios = [a["gbit_s"] / b["gbit_s"] for a, b in zip(ours[1:], theirs[1:])]
        result["ratio"] = {"median": statistics.median(ratios), "min": min(ratios),
                           "max": max(ratios)}
        print(f"  posthaste / Linux: {statistics.median(ratios):.2f} ({min(ratios):.2f} .. "
              f"{max(ratios):.2f})")
    return result


def main(words):
    parser = argparse.ArgumentParser(prog="ph bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", metavar="FILE", help="write all numbers there")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs of dropin (5)")
    parser.add_argument("--seconds", type=int, default=3, help="of one iperf3 run (3)")
    asked = parser.parse_args(words)
    names = asked.names or ["micro", "stream", "dropin"]
    results = {"configuration": configuration()}
    for key, value in results["configuration"].items():
        print(f"{key:>10}  {value}")
    failed = False
    for name in names:
        try:
            if name == "stream":
                results["stream"] = stream()
            elif name == "scale":
                results["scale"] = scale()
            elif name == "dropin":
                results["dropin"] = dropin(max(asked.pairs, 1), max(asked.seconds, 1))
            else:
                pattern = "-^(stream|scale)/" if name == "micro" else name
                results.setdefault("micro", []).extend(micro(pattern))
        except BenchError as error:
            failed = True
            print(f"  {name} could not be run: {error}")
    if asked.json:
        with open(asked.json, "w") as out:
            json.dump(results, out, indent=1)
            out.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
