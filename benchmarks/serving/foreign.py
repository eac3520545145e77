"""Measures the other servers, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.serving.case import CASES, Case, Measurement, Sample
from benchmarks.serving.load import Load
from benchmarks.serving.peers import DIRECTORY, Peer
from benchmarks.serving.processes import process
from benchmarks.serving.table import Line, Side
from benchmarks.serving.target import Target, WrongServer
from tools.loopback import HOST
from tools.scratch import free_ports

_START_SECONDS = 90.0


def measure(peer: Peer, programs: Path, samples: Mapping[str, Sample], load: Load, scratch: Path) -> Line:
    """Start `peer` from `programs`, check its answers, measure every case, end it."""
    title, side = peer.full_title(), Side.FLOOR if peer.floor else Side.PEER
    own = scratch / peer.name
    own.mkdir()
    port, port2, port3 = free_ports(3)
    sample = samples[peer.model]
    places = {
        "bin": str(programs),
        "here": str(DIRECTORY / peer.env),
        "model": str(sample.model),
        "joblib": str(sample.joblib),
        "port": str(port),
        "port2": str(port2),
        "port3": str(port3),
        "scratch": str(own),
    }
    variables = {"PEER_MODEL": str(sample.joblib), "PEER_PORT": str(port), "PEER_SCRATCH": str(own)}
    variables |= {name: value.format(**places) for name, value in peer.variables.items()}
    # some start further programs of their environment by name
    variables["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    command = [word.format(**places) for word in peer.command]
    target = Target(f"http://{HOST}:{port}{peer.path}", sample, peer.body, peer.answers, checked=not peer.floor)
    log = own / "log"
    with process(command, variables, log, own) as running:
        try:
            target.wait(lambda: running.poll() is None, _START_SECONDS)
            return Line(title, side, peer.model, measure_cases(peer.name, target, load))
        except WrongServer as exc:
            print(f"{title}: {exc}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr, flush=True)
            return Line(title, side, peer.model, failure=str(exc)[:200])


def measure_cases(name: str, target: Target, load: Load) -> dict[Case, Measurement]:
    """Check the answers of `target`, then measure every case; a line of progress for each.

    Raises:
        WrongServer: its answers are not the model's.
    """
    target.check()
    figures = {}
    for case in CASES:
        figures[case] = found = load.measure(target, case)
        said = f"{found.rate:8,.0f} req/s   p50 {found.p50:7.2f} ms   p99 {found.p99:7.2f} ms"
        said += f"   {found.errors} errors" if found.errors else ""
        print(f"{name:<16} {case.title:<13} {said}", file=sys.stderr, flush=True)
    return figures
