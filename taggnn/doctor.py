"""``python -m taggnn.doctor``: what is installed, what the machine has, and whether it works.

Exit code 0: everything that training needs works. 1: something does not; the last lines name it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from taggnn.cli import installation, machine, self_test, terminal
from taggnn.cli.parser import Parser
from taggnn.runtime.printable import one_line


def main(arguments: Sequence[str]) -> int:
    given = parser().parse_args(arguments)
    found: dict[str, Any] = {
        "packages": installation.packages(),
        "extras": [{**asdict(one), "command": one.command} for one in installation.extras()],
        "devices": machine.devices(),
        "cpu": machine.threads(),
        "decoders": machine.decoders(),
        "memory": machine.memory(given.config),
        "disk": machine.disk(),
    }
    if not given.json:
        print(*map(one_line, lines(found)), sep="\n", flush=True)
    found["test"] = [one._asdict() for one in self_test.run()] if given.test else []
    found["problems"] = problems(found)
    if given.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        print(*map(one_line, verdict(found)), sep="\n")
    return 1 if found["problems"] else 0


def lines(found: dict[str, Any]) -> list[str]:
    """What was found, as lines for the screen."""
    shown = [
        f"{'versions' if not number else '':9} {name} {version}"
        for number, (name, version) in enumerate(found["packages"].items())
    ]
    for number, one in enumerate(found["extras"]):
        there = ", ".join(f"{name} {version}" for name, version in one["found"].items())
        first = f"{'extras' if not number else '':9} {one['name']:11}"
        shown.append(f"{first} {there or 'not installed'}")
        shown += [f"{'':21} add: {one['command']}"] if one["command"] else []
    devices, cpu, decoders, memory, disk = (found[key] for key in ("devices", "cpu", "decoders", "memory", "disk"))
    shown.append(f"cpu       {devices['system']}, cores: {cpu['cores']}, threads of PyTorch: {cpu['threads']}")
    shown += [
        f"gpu       {gpu['name']}, {gpu['gib']} GiB, compute capability {gpu['compute_capability']}"
        for gpu in devices["gpus"]
    ]
    shown += [f"gpu       none: {devices['no_gpu']}"] if not devices["gpus"] else []
    shown += ["mps       there; no measurement of it is known"] if "mps" in devices else []
    if "problem" not in decoders:
        shown.append(
            f"decoder   PyAV {decoders['pyav']}, libavcodec {decoders['libavcodec']}: {', '.join(decoders['codecs'])}"
        )
        shown.append(f"          hardware that FFmpeg knows, unused: {', '.join(decoders['hardware']) or 'none'}")
    free = "no /dev/shm here" if memory["free_mb"] is None else f"{memory['free_mb']:,.0f} MB of shared memory free"
    shown.append(f"memory    {free}")
    shown.append(
        f"          recipe {memory['recipe']}: loader processes here {memory['workers']}, which need "
        f"{memory['needed_mb']:,.0f} MB; one needs {memory['one_process_mb']:,.0f} MB"
    )
    shown.append(f"disk      {disk['free_gb']:,.1f} GB free in {disk['folder']}")
    return shown


def problems(found: dict[str, Any]) -> list[str]:
    """What keeps a training from working."""
    memory, disk = found["memory"], found["disk"]
    wrong = [
        f"{name} is not installed"
        for name, version in found["packages"].items()
        if version == "not installed" and name not in ("taggnn", "triton", "torchcodec")
    ]
    wrong += [found["decoders"]["problem"]] if "problem" in found["decoders"] else []
    if not memory["enough"]:
        wrong.append(
            f"shared memory: {memory['free_mb']:,.0f} MB free, {memory['needed_mb']:,.0f} MB needed; in Docker give "
            "--shm-size=1g, or train with --data.workers 0"
        )
    wrong += [] if disk["writable"] else [f"{disk['folder']} cannot be written; give --runs another folder"]
    return wrong + [one["what"] for one in found["test"] if not one["ok"]]


def verdict(found: dict[str, Any]) -> list[str]:
    """The outcome of the self-test, and what is wrong."""
    shown = [f"{'ok' if one['ok'] else 'FAILED':9} {one['what']}, {one['seconds']:.1f} s" for one in found["test"]]
    if not found["problems"]:
        return [*shown, "result    training works here" if shown else "result    nothing is missing; not tested"]
    return [*shown, *(f"problem   {one}" for one in found["problems"])]


def parser() -> Parser:
    """Builds the command line of this program."""
    built = Parser(
        prog="taggnn.doctor", description="Reports what is installed and what the machine has, and tests it."
    )
    built.option("--test", bool, True, "false: only report")
    built.option("--config", str, "folder", "recipe whose loader processes the shared memory is compared with")
    built.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return built


if __name__ == "__main__":
    sys.exit(terminal.run(main, "taggnn.doctor"))
