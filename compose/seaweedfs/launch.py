"""Runs SeaweedFS with every inner port closed to callers without its own certificate.

`launch.py --certificates=DIRECTORY PROGRAM [ARGUMENT…]` makes the certificates if they are missing, points `WEED_*`
variables at them, and runs PROGRAM. The parts of the store then speak mutual TLS with each other, over HTTP and gRPC
alike; only the S3 port is open, and that one asks for keys.

It stays as PROGRAM's parent for the end: SeaweedFS waits 15 seconds for connections that it holds to itself, and leaves
its sockets in /tmp when it is killed, where another user could not replace them. It is safe to kill: what it has
acknowledged is on disk.
"""

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

GRPC_PARTS = ("MASTER", "VOLUME", "FILER", "S3", "CLIENT")
HTTPS_PARTS = ("MASTER", "VOLUME", "FILER", "CLIENT")
STOP_SECONDS = 2
SOCKET_OPTION = re.compile(r"-(master|volume|filer|s3)\.port\.grpc=(\d+)")
PR_SET_PDEATHSIG = 1


def security_environment(directory: Path) -> dict[str, str]:
    """The variables that make each part of SeaweedFS demand and present the certificate in `directory`."""
    ca, cert, key = (str(directory / name) for name in ("ca.crt", "node.crt", "node.key"))
    variables = {"WEED_GRPC_CA": ca, "WEED_HTTPS_CLIENT_ENABLED": "true"}
    for part in GRPC_PARTS:
        variables |= {f"WEED_GRPC_{part}_CERT": cert, f"WEED_GRPC_{part}_KEY": key}
    for part in HTTPS_PARTS:
        variables |= {f"WEED_HTTPS_{part}_CERT": cert, f"WEED_HTTPS_{part}_KEY": key, f"WEED_HTTPS_{part}_CA": ca}
    return variables


def sockets(program: Iterable[str]) -> list[Path]:
    """The sockets that SeaweedFS makes, at fixed places, for the gRPC ports among its arguments."""
    found = filter(None, map(SOCKET_OPTION.fullmatch, program))
    return [Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in (m.groups() for m in found)]  # noqa: S108


def remove_sockets(paths: Iterable[Path]) -> None:
    """Remove what an earlier run has left; end with a message if it is another user's."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except PermissionError:
            sys.exit(f"{path} is left from another user's SeaweedFS: have it removed, or choose another port for it")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Told(Exception):
    """This process was told to end."""


def told(_number: int, _frame: FrameType | None) -> None:
    """Break off the wait for the program, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Told


def run(program: list[str], environment: dict[str, str]) -> int:
    """Run `program` until it ends or this process is told to; its exit status, 0 if told to."""
    child = subprocess.Popen(program, env=environment, preexec_fn=die_with_parent)  # noqa: PLW1509 - one thread only
    signal.signal(signal.SIGTERM, told)
    signal.signal(signal.SIGINT, told)
    try:
        return child.wait()
    except Told:
        child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return 0


def main() -> int:
    """Make what is missing and run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    os.umask(0o077)
    if not (options.certificates / "complete").exists():
        maker = Path(__file__).with_name("certificates.py")
        subprocess.run([sys.executable, maker, options.certificates], check=True)
    for argument in options.program:
        if argument.startswith("-dir="):
            Path(argument.removeprefix("-dir=")).mkdir(parents=True, exist_ok=True)
    paths = sockets(options.program)
    remove_sockets(paths)
    try:
        return run(options.program, {**os.environ, **security_environment(options.certificates)})
    finally:
        remove_sockets(paths)


if __name__ == "__main__":
    sys.exit(main())
