#!/usr/bin/env python3
"""Runs scripts under the genuine packetdrill, on this stack, and says how they fared.

    genuine.py --packetdrill PROGRAM --object build/release/libph_packetdrill.so SCRIPT...

Each script runs in a copy of its suite's tree, where ip, tc, nstat, ethtool, sysctl and the
suite's set_sysctls.py are stand-ins: nothing reaches this machine's settings. What other options
packetdrill should get stand behind `--`.
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

STAND_IN = pathlib.Path(__file__).resolve().parent / "stand_in.sh"
OPTIONS = ["--ip_version=ipv4", "--local_ip=192.168.0.1", "--gateway_ip=192.168.0.1",
           "--netmask_ip=255.255.0.0", "--remote_ip=192.0.2.1",
           "-DTFO_COOKIE=3021b9d889017eeb", "-DCODE=host_unreachable",
           "-DCMSG_LEVEL_IP=SOL_IP", "-DCMSG_TYPE_RECVERR=IP_RECVERR"]


def options_for(script):
    """OPTIONS without those that the script itself gives (packetdrill would let ours win), and the
    stack's address where the script has another one."""
    given = dict(re.findall(r"^(--\w+)=(\S+)", script.read_text(errors="replace"), re.MULTILINE))
    options = [option for option in OPTIONS if option.split("=")[0] not in given]
    if "--local_ip" in given and "--gateway_ip" not in given:
        options = [option for option in options if not option.startswith("--gateway_ip")]
        options.append(f"--gateway_ip={given['--local_ip']}")
    if "--local_ip" in given:
        options.append(f"--so_flags=local={given['--local_ip']}")
    return options


def suite_root(script):
    """The nearest folder above with DEFAULTS.txt or common/; the script's own if there is none."""
    for folder in script.parents:
        if (folder / "DEFAULTS.txt").exists() or (folder / "common").is_dir():
            return folder
    return script.parent


def furnish(place, root):
    """common/ at `place`: the suite's own, with stand-ins for what would set this machine's."""
    common = place / "common"
    common.mkdir()
    if (root / "common").is_dir():
        for entry in (root / "common").iterdir():
            (common / entry.name).symlink_to(entry)
    names = ["set_sysctls.py"]
    if (root / "DEFAULTS.txt").exists():
        (place / "DEFAULTS.txt").symlink_to(root / "DEFAULTS.txt")
        names += [] if (common / "defaults.sh").exists() else ["defaults.sh"]
    for name in names:
        (common / name).unlink(missing_ok=True)
        (common / name).symlink_to(STAND_IN)


def mirror(script, root, place):
    """The script's folder in a tree at `place`. Scripts of one suite look for common/ in the suite
    and one level above it."""
    suite = place / "suite"
    suite.mkdir()
    furnish(place, root)
    furnish(suite, root)
    folder = suite / script.parent.relative_to(root)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in script.parent.iterdir():
        if not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)
    return folder


def run(script, options):
    """None when it passed, else what packetdrill said last."""
    with tempfile.TemporaryDirectory(prefix="ph-genuine-") as name:
        place = pathlib.Path(name)
        settings, programs, tree = place / "settings", place / "programs", place / "tree"
        for folder in (settings, programs, tree):
            folder.mkdir()
        (settings / "counters").touch()
        for program in ("ip", "tc", "nstat", "ethtool", "sysctl"):
            (programs / program).symlink_to(STAND_IN)
        folder = mirror(script, suite_root(script), tree)
        environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}",
                           PH_PACKETDRILL_SYSCTLS=str(settings))
        # Only packetdrill itself gets the object; what it starts does not need it.
        process = subprocess.Popen(
            ["env", f"LD_PRELOAD={options.object}", str(options.packetdrill),
             f"--so_filename={options.object}", *options_for(script), *options.more, script.name],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace")
        try:
            said, _ = process.communicate(timeout=options.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            said += f"\nstill running after {options.timeout} s"
        pathlib.Path(f"/tmp/sysctl_restore_{process.pid}.sh").unlink(missing_ok=True)
        if process.returncode == 0:
            return None
        return "\n    ".join(said.strip().splitlines()[-4:]) or f"exit {process.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packetdrill", type=pathlib.Path, required=True)
    parser.add_argument("--object", type=lambda p: pathlib.Path(p).resolve(), required=True)
    parser.add_argument("--timeout", type=float, default=60, help="seconds of real time a script")
    parser.add_argument("scripts", nargs="+", type=lambda p: pathlib.Path(p).resolve())
    arguments = sys.argv[1:]
    more = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, more = arguments[:at], arguments[at + 1:]
    options = parser.parse_args(arguments)
    options.packetdrill = options.packetdrill.resolve()
    options.more = more
    failed = 0
    for script in options.scripts:
        why = run(script, options)
        failed += why is not None
        print(f"PASS {script}" if why is None else f"FAIL {script}\n    {why}", flush=True)
    print(f"{len(options.scripts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
