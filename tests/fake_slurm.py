"""Stand-ins of SLURM's commands for tests of launch/slurm.sbatch: they record what they are asked.

`srun` does what the test's plan says for its first, second, … call; it can really start the
processes of one node on this machine, with the variables that SLURM gives to a step.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "launch/slurm.sbatch"
JOB = 4711
TIMEOUT_S = 240
_FOLDER = "FAKE_SLURM"  # the environment variable that names `Slurm.folder`


@dataclasses.dataclass(frozen=True)
class Slurm:
    """A cluster in a folder.

    Attributes:
      folder: where commands, plan and records are.
      plan: for each call of srun what it does: `status` it ends with (without it, it starts
        processes), `cancel` the batch script first by SIGTERM, as scancel does, the processes once
        these files exist (`term_when`), as SLURM does before the time limit.
      state: what squeue says of the job; nothing: squeue fails.
      scontrol_status: what scontrol ends with.
    """

    folder: Path
    plan: Sequence[Mapping[str, Any]]
    state: str = "RUNNING"
    scontrol_status: int = 0

    def submit(
        self,
        *arguments: str | Path,
        options: Sequence[str] = (),
        cwd: Path = ROOT,
        variables: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """What `sbatch OPTIONS launch/slurm.sbatch ARGUMENTS` makes a node do, until it ends."""
        commands = self.folder / "commands"
        commands.mkdir(parents=True, exist_ok=True)
        for name in ("srun", "squeue", "scontrol"):
            stub = commands / name
            stub.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
            stub.chmod(0o755)
        plan = {"plan": self.plan, "state": self.state, "scontrol": self.scontrol_status}
        (self.folder / "plan.json").write_text(json.dumps(plan))
        # SLURM runs a copy, which is not in the repository.
        copy = Path(shutil.copy(SCRIPT, self.folder / "slurm_script"))
        chosen = head() | dict(option.removeprefix("--").split("=") for option in options)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "JAX"))}
        environment |= {
            "PATH": f"{commands}:{environment['PATH']}",
            _FOLDER: str(self.folder),
            "LOGS": str(self.folder / "logs"),
            "SLURM_JOB_ID": str(JOB),
            "SLURM_JOB_NUM_NODES": chosen["nodes"],
            "SLURM_NTASKS_PER_NODE": chosen["ntasks-per-node"],
            "SLURM_CPUS_PER_TASK": chosen["cpus-per-task"],
            "SLURM_GPUS_ON_NODE": chosen["gpus-per-node"],
        }
        return subprocess.run(
            ["bash", str(copy), *map(str, arguments)],
            cwd=cwd,
            env=environment | dict(variables or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def calls(self, command: str) -> list[list[str]]:
        """What a command was asked, each time."""
        record = self.folder / f"{command}.jsonl"
        lines = record.read_text().splitlines() if record.exists() else []
        return [json.loads(line) for line in lines]

    def log(self, process: int) -> str:
        """What a process has written, in all starts."""
        return (self.folder / f"logs/{JOB}/{process}.log").read_text()


def head() -> dict[str, str]:
    """The `#SBATCH` options that sbatch sees: those before the first command."""
    found = {}
    for line in SCRIPT.read_text().splitlines():
        if line and not line.startswith("#"):
            break
        if option := re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", line):
            found[option[1]] = option[2] or ""
    return found


def _srun(arguments: Sequence[str], todo: Mapping[str, Any]) -> int:
    if todo.get("cancel"):
        os.kill(os.getppid(), signal.SIGTERM)
    if "status" in todo:
        return int(todo["status"])
    num = next(i for i, argument in enumerate(arguments) if not argument.startswith("--"))
    options = dict(argument.split("=", 1) for argument in arguments[:num])
    num_tasks = int(os.environ["SLURM_NTASKS_PER_NODE"])
    count = str(num_tasks)
    step = {"SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0"}
    step |= {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": count}
    step |= {"SLURM_NTASKS": count, "SLURM_STEP_NUM_TASKS": count}
    tasks = []
    for i in range(num_tasks):
        with open(options["--output"].replace("%t", str(i)), "a") as log:
            task = {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}
            environment = os.environ | step | task
            tasks.append(subprocess.Popen(arguments[num:], env=environment, stdout=log, stderr=log))
    try:
        return _statuses(tasks, [Path(path) for path in todo.get("term_when", ())])
    finally:
        for process in tasks:
            process.kill()


def _statuses(tasks: Sequence["subprocess.Popen[bytes]"], term_when: Sequence[Path]) -> int:
    """The highest exit status of all, a signal being 128 and its number, as srun's is."""
    deadline = time.monotonic() + TIMEOUT_S - 20
    while term_when and not all(path.exists() for path in term_when):
        if time.monotonic() > deadline or any(task.poll() is not None for task in tasks):
            return 255
        time.sleep(0.05)
    for task in tasks if term_when else ():
        task.send_signal(signal.SIGTERM)
    codes = [task.wait(max(deadline - time.monotonic(), 0)) for task in tasks]
    return max(code if code >= 0 else 128 - code for code in codes)


def main(command: str, arguments: Sequence[str]) -> int:
    """Records the call and does what the plan says."""
    folder = Path(os.environ[_FOLDER])
    record = folder / f"{command}.jsonl"
    num_before = len(record.read_text().splitlines()) if record.exists() else 0
    with record.open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    plan = json.loads((folder / "plan.json").read_text())
    match command:
        case "srun":
            return _srun(arguments, plan["plan"][num_before])
        case "squeue":
            print(plan["state"], end="\n" if plan["state"] else "")
            return int(not plan["state"])
    return int(plan["scontrol"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
