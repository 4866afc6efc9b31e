"""The commands of README.md and of the tutorials on little data, in a folder of their own: each must end well and leave
what it promises. They are those of the ``wildlam`` that this Python imports (tests/wheel.sh gives it the wheel's).

Each runs in a process of its own, forked from this one, which has loaded PyTorch: loading it forty times over would
take as long as all that the commands do. After the first, evaluations are short, and few actions are tried.
"""

import multiprocessing
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import matplotlib.figure  # noqa: F401
import torch._dynamo
import yaml

from wildlam.cli import main
from wildlam.planning import mpc
from wildlam.workflows import demo

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from tests.helpers import shorten_evaluations  # noqa: E402, found there

FORK = multiprocessing.get_context("fork")
FILM = "filmed/held_out/carphone_pristine_00.mp4"
WALK = "doom/train/map04_0_000.mp4"


class Commands:
    """Runs commands, and knows which have been run."""

    def __init__(self) -> None:
        self.ran: set[str] = set()

    def run(self, line: str, leaves: str | None = None) -> None:
        """Run a line of wildlam's, and look for a file that it leaves."""
        print(f"$ wildlam {line}", flush=True)
        arguments = shlex.split(line)
        _fork(lambda: sys.exit(main(arguments)), line)
        self.ran.add(arguments[0])
        if leaves is not None:
            assert Path(leaves).stat().st_size, f"{leaves} is empty"


def _fork(target, what: str) -> None:
    def alone() -> None:
        # PyTorch makes its threads anew after a fork, and must not begin to in two threads at once.
        torch.set_num_threads(1)
        target()

    before = _cpu_seconds()
    process = FORK.Process(target=alone)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{what}: exit status {process.exitcode}")
    print(f"({_cpu_seconds() - before:.1f} CPU seconds)", flush=True)


def _cpu_seconds() -> float:
    """Those of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands_of_readme(commands: Commands) -> None:
    run, videos = commands.run, "runs/demo/videos"
    run("demo --episodes 2 --steps 2", leaves="runs/demo/report.html")
    shorten_evaluations()
    demo.PLANNED, mpc.SAMPLES = 1, 8

    tiny = f"--data.path {videos} --training.steps 2 --training.batch_size 4 --encoder.image_size 64"
    run(f"index {videos} --cuts")
    run(f"encode {tiny}")
    run(f"store verify {videos}")
    run(f"train {tiny} --out runs/first", leaves="runs/first/report.html")
    run("train --resume runs/first", leaves="runs/first/results.json")
    run(f"train --estimate {tiny} --gpus 2")  # the README's own, at the paper's size, takes a minute
    # As torchrun does; an environment of links has no script of that name.
    of_two = f"{tiny} --out runs/two --model.bottleneck Sparse --model.bottleneck.l1 0.1 --action_free false"
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--no-python",
        "wildlam",
        "train",
    ]
    print(f"$ torchrun ... wildlam train {of_two}", flush=True)
    subprocess.run([*torchrun, *shlex.split(of_two)], check=True)
    assert Path("runs/two/report.html").stat().st_size
    run(f"eval runs/first --data.path {videos}/filmed")
    run("show runs/first")
    run("decoder train runs/first --training.steps 2 --training.batch_size 2")
    run("decoder show runs/first", leaves="runs/first/decoded.html")
    run(f"transfer runs/first {videos}/{FILM} {videos}/{WALK} -o film.mp4", leaves="film.mp4")
    few_limits("few.yaml")
    often = "--training.eval_every 2 --training.save_every 2"
    run(f"sweep --config few.yaml {tiny} {often} --out runs/sweep", leaves="runs/sweep/sweep.svg")
    run("report runs/first runs/sweep")
    assert "<video" in Path("runs/first/report.html").read_text()
    run(f"infer runs/first {videos}/{FILM} --output actions", leaves="actions.npz")
    assert Path("actions.parquet").stat().st_size
    run("search build runs/first")
    run(f"search runs/first --like {FILM}@1 --count 3", leaves="runs/first/search/search.html")

    run("collect nav -o walks --episodes 8 --seconds 4")  # one walk in each level
    of_walks = "--data walks --clips 4 --training.steps 2 --training.batch_size 4"
    run(f"controller train runs/first {of_walks} --unlabelled walks")
    run(f"controller baseline runs/first {of_walks}")
    plans = "runs/first/plan-recon/plans.json"
    run("plan runs/first --data walks --protocol recon --baselines runs/first/baseline --episodes 2", leaves=plans)
    run("prior train runs/first --training.steps 2 --training.batch_size 4")
    in_latent = "plan runs/first --data walks --in latent --clips 4 --episodes 2 --samples 8 --iterations 2"
    run(in_latent, leaves="runs/first/plan-recon-latent/plans.json")
    run("demo --pretrained --episodes 8 --out runs/tiny")
    run("play runs/tiny --world arm --controller runs/tiny/controller_arm --episodes 1")
    run("play runs/first --world nav --episodes 1", leaves="runs/first/play-nav/play.json")
    run("collect arm -o arms --episodes 6 --seconds 3 --format lerobot")
    run("data arms", leaves="arms/.wildlam/data.html")
    run(f"data {ROOT / 'tests/data/rlds/tiny_arm'} --rate 10 --out rlds.html", leaves="rlds.html")
    of_arms = "--data arms --clips 4 --training.steps 2 --training.batch_size 4 --out runs/arm_controller"
    run(f"controller train runs/first {of_arms}")
    run("play runs/first --world arm --episodes 1 --controller runs/arm_controller")
    few = "--training.steps 2 --training.batch_size 4"
    run(f"train --data.path arms {few} --encoder.image_size 64 --out runs/any", leaves="runs/any/report.html")
    run(f"controller train runs/any --data arms --clips 4 {few} --actions recorded", "runs/any/controller/report.html")
    plans = "runs/any/plan-droid/plans.json"
    run("plan runs/any --data arms --protocol droid --episodes 2 --samples 8 --iterations 2 --controls true", plans)
    playground(commands)


def playground(commands: Commands) -> None:
    """It serves until it is interrupted: here, as soon as it has a model."""
    print("$ wildlam app", flush=True)
    process = subprocess.Popen(["wildlam", "app", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("playground ")).split()[1]
        until = time.monotonic() + 120
        while b'"ready":true' not in (state := urllib.request.urlopen(f"{address}/api/state", timeout=60).read()):
            assert time.monotonic() < until, state
            time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    commands.ran.add("app")


def few_limits(out: str) -> None:
    """The README's sweep with one limit, strength and seed; each of its runs loads PyTorch anew."""
    sweep = yaml.safe_load((ROOT / "configs" / "sweeps" / "limits.yaml").read_text())
    sweep["limits"] = {"Discrete": {"codes": sweep["limits"]["Discrete"]["codes"][:1]}}
    sweep["seeds"] = [0]
    Path(out).write_text(yaml.safe_dump(sweep))


def python_of_readme(commands: Commands) -> None:
    """Its Python names videos that the demo films when it is not in such a hurry."""
    folder = Path("runs/demo/videos/doom/held_out")
    folder.mkdir(parents=True, exist_ok=True)
    for here, there in ((FILM, "maze_0_001.mp4"), (WALK, "arena_0_001.mp4")):
        if not (folder / there).exists():
            shutil.copy(Path("runs/demo/videos") / here, folder / there)
    commands.run("decoder train runs/demo --training.steps 1 --training.batch_size 2")
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        print(snippet, flush=True)
        _fork(lambda snippet=snippet: exec(snippet, {}), "README.md's Python")


def check_that_all_have_run(commands: Commands) -> None:
    from wildlam.cli.main import COMMANDS

    shown = [ROOT / "README.md", *(ROOT / "docs" / "tutorials").glob("*.md")]
    text = "\n".join(page.read_text() for page in shown)
    named = set(re.findall(r"(?m)^(?:.*[^a-z.\/-])?wildlam ([a-z]+)(?: .*)?$", text)) & set(COMMANDS)
    assert named
    if missing := named - commands.ran:
        sys.exit(f"README.md or a tutorial shows wildlam {', '.join(sorted(missing))}, which is not run here")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as there:
        os.chdir(there)
        commands = Commands()
        commands_of_readme(commands)
        python_of_readme(commands)
        check_that_all_have_run(commands)
        os.chdir(ROOT)
    print("the README's commands ran")
