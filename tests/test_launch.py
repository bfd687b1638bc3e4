"""What launch/ holds is right as far as it can be told without a cluster.

The shell by ShellCheck; manifests by the schemas that Kubernetes publishes and by the models that
are generated from JobSet's; and what no schema knows: that the parts of a manifest fit each other,
the training command and the exit statuses.
"""

import copy
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

from vidgan_jax import main
from vidgan_jax.train import loop

ROOT = Path(__file__).parents[1]
SCRIPTS = [ROOT / ".ci/run", *(ROOT / "launch").glob("*.sh"), *(ROOT / "launch").glob("*.sbatch")]
MANIFESTS = ROOT / "launch/kubernetes"
# The oldest one that JobSet v0.12 is for, and the newest one.
VERSIONS = ("1.32", kubernetes_validate.latest_version())
# What JobSet v0.12.0 takes by its published definition; the models have these as any text.
ACTIONS = {
    *("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"),
    *("RestartJob", "RestartJobAndIgnoreMaxRestarts"),
}
STRATEGIES = {"Recreate", "BlockingRecreate", "InPlaceRestart"}
MISTAKE, STOPPED = 2, 75

Manifest = dict[str, Any]


def shellcheck(*paths: Path) -> str:
    """What ShellCheck finds fault with; nothing where all is well."""
    command = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [command, "--external-sources", "--enable=check-set-e-suppressed", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) in [(0, ""), (1, "")], done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def test_shell() -> None:
    assert {path.name for path in SCRIPTS} >= {"run", "test.sh", "quickstart.sh", "slurm.sbatch"}
    assert shellcheck(*SCRIPTS) == ""


def test_a_mistake_in_shell_is_seen(tmp_path: Path) -> None:
    """Unquoted, the arguments of sbatch would fall apart at spaces."""
    broken = tmp_path / "slurm.sbatch"
    broken.write_text((ROOT / "launch/slurm.sbatch").read_text().replace('"$@"', "$@"))
    assert "SC2206" in shellcheck(broken)


def resources(name: str) -> dict[str, Manifest]:
    """A manifest's documents by kind."""
    documents = yaml.safe_load_all((MANIFESTS / name).read_text())
    return {document["kind"]: document for document in documents}


def check(resource: Manifest) -> None:
    """Refuses what does not fit the published schema.

    A JobSet's own fields are compared with what its models make of them, which drop the unknown;
    each Job in it is checked as Kubernetes' own.

    Raises:
      ValueError: what is wrong with it; `kubernetes_validate.ValidationError` is one.
    """
    if resource["kind"] != "JobSet":
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(resource, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise ValueError(f"Kubernetes {version}: {error.message}") from error
        return
    if resource["apiVersion"] != "jobset.x-k8s.io/v1alpha2":
        raise ValueError(f"apiVersion (={resource['apiVersion']}) is not JobSet's")
    model = JobsetV1alpha2JobSet.from_dict(resource)
    if model is None or model.to_dict() != resource:
        raise ValueError("the JobSet has fields that JobSet does not know, or lacks needed ones")
    policy = resource["spec"]["failurePolicy"]
    if policy["restartStrategy"] not in STRATEGIES:
        raise ValueError(f"restartStrategy (={policy['restartStrategy']}) is unknown")
    if strange := {rule["action"] for rule in policy["rules"]} - ACTIONS:
        raise ValueError(f"action (={strange}) is unknown")
    for job in resource["spec"]["replicatedJobs"]:
        named = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
        check({**named, "spec": job["template"]["spec"]})


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("jobset.yaml", ["JobSet"]),
        ("job.yaml", ["Service", "Job"]),
        ("volume.yaml", ["PersistentVolumeClaim"]),
    ],
)
def test_manifests_fit_the_schemas(name: str, kinds: list[str]) -> None:
    found = resources(name)
    assert list(found) == kinds
    for resource in found.values():
        check(resource)


def pod(resource: Manifest) -> Manifest:
    return job_spec(resource)["template"]["spec"]


def job_spec(resource: Manifest) -> Manifest:
    """The one Job's spec of a Job or a JobSet."""
    if resource["kind"] == "Job":
        return resource["spec"]
    (job,) = resource["spec"]["replicatedJobs"]
    return job["template"]["spec"]


@pytest.mark.parametrize(
    ("name", "kind", "damage"),
    [
        ("jobset.yaml", "JobSet", lambda r: r["spec"].update(failurPolicy={})),
        ("jobset.yaml", "JobSet", lambda r: r["spec"]["network"].update(enableDNSHostnames="yes")),
        ("jobset.yaml", "JobSet", lambda r: r["spec"]["coordinator"].pop("replicatedJob")),
        ("jobset.yaml", "JobSet", lambda r: r["spec"]["failurePolicy"].update(maxRestarts="3")),
        (
            "jobset.yaml",
            "JobSet",
            lambda r: r["spec"]["failurePolicy"].update(restartStrategy="Restart"),
        ),
        (
            "jobset.yaml",
            "JobSet",
            lambda r: r["spec"]["failurePolicy"]["rules"][0].update(action="Ignore"),
        ),
        ("jobset.yaml", "JobSet", lambda r: r["spec"]["failurePolicy"]["rules"][0].pop("name")),
        ("jobset.yaml", "JobSet", lambda r: r.update(apiVersion="jobset.x-k8s.io/v1")),
        ("jobset.yaml", "JobSet", lambda r: pod(r)["containers"][0].update(imag="x")),
        ("jobset.yaml", "JobSet", lambda r: pod(r)["containers"][0].pop("name")),
        ("job.yaml", "Job", lambda r: r["spec"].update(podFailurePolicy={})),
        ("job.yaml", "Job", lambda r: r["spec"].update(completion=2)),
        ("job.yaml", "Job", lambda r: pod(r).update(terminationGracePeriodSeconds="10m")),
        ("job.yaml", "Service", lambda r: r["spec"].update(clusterIP=None, ip="None")),
        ("volume.yaml", "PersistentVolumeClaim", lambda r: r["spec"].update(accessModes="all")),
    ],
)
def test_a_damaged_manifest_is_seen(
    name: str, kind: str, damage: Callable[[Manifest], None]
) -> None:
    resource = copy.deepcopy(resources(name)[kind])
    damage(resource)
    with pytest.raises(ValueError, match=r"Kubernetes|JobSet|is unknown|validation error"):
        check(resource)


JOBS = [("jobset.yaml", "JobSet"), ("job.yaml", "Job")]


@pytest.mark.parametrize(("name", "kind"), JOBS)
def test_the_parts_of_a_job_fit_each_other(name: str, kind: str) -> None:
    resource = resources(name)[kind]
    spec = job_spec(resource)
    (container,) = pod(resource)["containers"]
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(flags["num-processes"])
    assert flags["process-id"] == "$(JOB_COMPLETION_INDEX)"
    assert int(flags["coordinator"].split(":")[1]) == container["ports"][0]["containerPort"]
    # What the pod failure policy needs, and a checkpoint.
    assert pod(resource)["restartPolicy"] == "Never"
    assert pod(resource)["terminationGracePeriodSeconds"] >= 300
    volumes = {volume["name"]: volume for volume in pod(resource)["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    claim = volumes[mounts["/shared"]]["persistentVolumeClaim"]["claimName"]
    volume = resources("volume.yaml")["PersistentVolumeClaim"]
    assert claim == volume["metadata"]["name"]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize(("name", "kind"), JOBS)
def test_the_command_is_one_of_training(
    name: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`main` takes the flags as they stand: it refuses the data set, which is not there."""
    (container,) = pod(resources(name)[kind])["containers"]
    assert container["command"] == ["python", "-m", "vidgan_jax.main"]
    alone = [a for a in container["args"] if not re.match("--(coordinator|num-proc|process-id)", a)]
    assert len(alone) == len(container["args"]) - 3
    assert main.main([*alone, "--num-processes=1", "--process-id=0"]) == MISTAKE
    assert "/shared/data" in capsys.readouterr().err


def rule_for(resource: Manifest, exit_code: int) -> tuple[int, str] | None:
    """Which rule of the pod failure policy meets an exit code, and what it does."""
    for i, rule in enumerate(job_spec(resource)["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes")
        if codes and codes["operator"] == "In" and exit_code in codes["values"]:
            assert codes["containerName"] == pod(resource)["containers"][0]["name"]
            return i, rule["action"]
    return None


def outcome(jobset: Manifest, reason: str, message: str) -> str:
    """What JobSet does about a failed Job: the action of the first rule that fits."""
    for rule in jobset["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        fits = any(re.search(pattern, message) for pattern in patterns)
        if reason in rule.get("onJobFailureReasons", [reason]) and fits:
            return str(rule["action"])
    return "RestartJobSet"


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (MISTAKE, "FailJobSet"),
        (STOPPED, "RestartJobSetAndIgnoreMaxRestarts"),
        (3, "RestartJobSet"),
        (137, "RestartJobSet"),
    ],
)
def test_what_a_jobset_does_about_an_exit_status(exit_code: int, expected: str) -> None:
    """Mistakes end it, preemptions don't count, crashes start it again so many times."""
    jobset = resources("jobset.yaml")["JobSet"]
    rule = rule_for(jobset, exit_code)
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if rule is not None:
        reason = "PodFailurePolicy"
        assert rule[1] == "FailJob"
        # In Kubernetes' words.
        message = f"Container train for pod default/vidgan-workers-0-2-x75qz failed with exit code {exit_code} matching FailJob rule at index {rule[0]}"  # noqa: E501
    assert outcome(jobset, reason, message) == expected
    assert jobset["spec"]["failurePolicy"]["restartStrategy"] == "BlockingRecreate"


def test_training_ends_with_the_status_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where SIGTERM stopped it; Ctrl-C keeps its own."""
    for signalled, expected in ((signal.SIGTERM, STOPPED), (signal.SIGINT, 130)):
        assert main.say_stopped(loop.Outcome(3, 9, signalled), STOPPED) == expected
        assert "stopped and saved at step 3" in capsys.readouterr().out


def test_a_jobset_starts_again_after_a_preemption() -> None:
    jobset = resources("jobset.yaml")["JobSet"]
    message = "Pod default/vidgan-workers-0-2-x75qz has condition DisruptionTarget matching FailJob rule at index 2"  # noqa: E501
    expected = "RestartJobSetAndIgnoreMaxRestarts"
    assert outcome(jobset, "PodFailurePolicy", message) == expected
    rules = job_spec(jobset)["podFailurePolicy"]["rules"]
    assert rules[2]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_what_a_job_does_about_an_exit_status() -> None:
    job = resources("job.yaml")["Job"]
    found = [rule_for(job, code) for code in (MISTAKE, STOPPED, 3, 137)]
    assert found == [(0, "FailJob"), (1, "Ignore"), None, None]
    assert job["spec"]["backoffLimit"] > 2 * job["spec"]["completions"]


def test_the_pods_find_the_first_one() -> None:
    """By the headless service that JobSet makes, and by the one beside the Job."""
    jobset = resources("jobset.yaml")["JobSet"]
    (workers,) = jobset["spec"]["replicatedJobs"]
    assert jobset["spec"]["network"]["enableDNSHostnames"]
    assert jobset["spec"]["coordinator"]["replicatedJob"] == workers["name"]
    (container,) = pod(jobset)["containers"]
    assert container["args"][0].startswith("--coordinator=$(COORDINATOR):")
    (variable,) = [v for v in container["env"] if v["name"] == "COORDINATOR"]
    path = variable["valueFrom"]["fieldRef"]["fieldPath"]
    assert path == "metadata.annotations['jobset.sigs.k8s.io/coordinator']"

    service, job = resources("job.yaml").values()
    name = job["metadata"]["name"]
    assert service["metadata"]["name"] == pod(job)["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    coordinator = f"--coordinator={name}-0.{service['metadata']['name']}:8476"
    assert pod(job)["containers"][0]["args"][0] == coordinator


def test_both_kinds_of_job_have_the_same_pods() -> None:
    with_jobset, plain = (copy.deepcopy(pod(resources(n)[k])) for n, k in JOBS)
    del plain["subdomain"]
    for spec in (with_jobset, plain):
        spec["containers"][0]["args"].pop(0)
    with_jobset["containers"][0]["env"].pop(0)
    assert with_jobset == plain
