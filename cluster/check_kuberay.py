"""Files for KubeRay: the names and types of their fields, then the mistakes that Kubernetes lets pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.check_finding import Finding, Sheet, at, image_pin, python_match
from cluster.check_secrets import names_secret
from cluster.linters import kubernetes

_SCHEMA = Path(__file__).with_name("kuberay_schema.yaml")
_NODE_START_MINUTES = 5.0
_GPU = "nvidia.com/gpu"
# Above this a number of pods is no limit.
_MANY = 1_000


def findings(documents: list[dict[str, Any]], sheet: Sheet) -> Iterator[Finding]:
    kinds = [document.get("kind") for document in documents]
    for document in documents:
        kind = document.get("kind")
        if kind == "Secret":
            remedy = "kubectl create secret generic NAME --from-file=...; the file stays on your machine"
            yield sheet.error(
                f"Secret {at(document, 'metadata', 'name')}", "a secret stands in the file", remedy
            )
        if str(document.get("apiVersion", "")).startswith("ray.io/"):
            yield from _names_and_types(document, sheet)
        elif kind != "Secret":
            yield from kubernetes(document, str(kind), sheet)
        spec = document.get("spec") or {}
        start = at(document, "metadata", "annotations", "latentact-zoo/node-start-minutes")
        if kind == "RayCluster":
            yield from _cluster(spec, "spec", float(start or _NODE_START_MINUTES), sheet)
        if kind == "RayJob":
            yield from _job(spec, float(start or _NODE_START_MINUTES), sheet)
    if "RayCluster" in kinds and "NetworkPolicy" not in kinds:
        problem = "every pod of the Kubernetes cluster reaches Ray's ports"
        yield sheet.warning("NetworkPolicy", problem, "one as in cluster/kuberay.yaml")


def _names_and_types(document: dict[str, Any], sheet: Sheet) -> Iterator[Finding]:
    import jsonschema

    schema = yaml.safe_load(_SCHEMA.read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(document):
        field = ".".join(str(part) for part in error.absolute_path) or str(document.get("kind"))
        remedy = "see KubeRay's API reference; cluster/kuberay_schema.yaml has the fields that are known here"
        yield sheet.error(field, error.message[:200], remedy)


def _job(spec: dict[str, Any], start_minutes: float, sheet: Sheet) -> Iterator[Finding]:
    if spec.get("rayClusterSpec"):
        yield from _cluster(spec["rayClusterSpec"], "spec.rayClusterSpec", start_minutes, sheet)
        if not spec.get("shutdownAfterJobFinishes"):
            problem = "the job's cluster stays when the job is done"
            yield sheet.error("spec.shutdownAfterJobFinishes", problem, "true")


def _cluster(spec: dict[str, Any], field: str, start_minutes: float, sheet: Sheet) -> Iterator[Finding]:
    import ray

    if at(spec, "authOptions", "mode") != "token":
        problem = "Ray asks for no token: whoever reaches its ports runs code"
        yield sheet.error(f"{field}.authOptions", problem, "{mode: token}")
    if spec.get("rayVersion") != ray.__version__:
        problem = f"{spec.get('rayVersion')}, this project's Ray is {ray.__version__}"
        yield sheet.error(f"{field}.rayVersion", problem, ray.__version__)
    if spec.get("enableInTreeAutoscaling") is not True:
        yield sheet.error(f"{field}.enableInTreeAutoscaling", "workers neither come nor go", "true")
    idle = at(spec, "autoscalerOptions", "idleTimeoutSeconds") or 60
    if idle <= start_minutes * 60:
        problem = f"a pod is idle after {idle} s and takes {start_minutes * 60:g} s to start: it may go before it works"
        remedy = (
            f"more than {start_minutes * 60:g} (annotation latentact-zoo/node-start-minutes says how long)"
        )
        yield sheet.error(f"{field}.autoscalerOptions.idleTimeoutSeconds", problem, remedy)
    head = spec.get("headGroupSpec") or {}
    if head.get("serviceType", "ClusterIP") != "ClusterIP" or head.get("enableIngress"):
        remedy = "serviceType: ClusterIP, no ingress; `kubectl port-forward` reaches it"
        yield sheet.error(
            f"{field}.headGroupSpec.serviceType", "the dashboard is open to the outside", remedy
        )
    if at(head, "rayStartParams", "num-cpus") != "0":
        problem = "trials would run on the head"
        yield sheet.error(f"{field}.headGroupSpec.rayStartParams", problem, 'num-cpus: "0"')
    yield from _pod(head.get("template") or {}, f"{field}.headGroupSpec.template.spec", sheet)
    for number, group in enumerate(spec.get("workerGroupSpecs") or []):
        where = f"{field}.workerGroupSpecs.{number}"
        most = group.get("maxReplicas")
        if not isinstance(most, int) or not 0 < most <= _MANY:
            yield sheet.error(f"{where}.maxReplicas", f"{most} is no limit", "the most workers of this kind")
        if group.get("minReplicas") or group.get("replicas"):
            problem = "workers run, and cost, also when nothing is to be done"
            yield sheet.warning(f"{where}.minReplicas", problem, "0")
        yield from _pod(group.get("template") or {}, f"{where}.template.spec", sheet)


def _pod(template: dict[str, Any], field: str, sheet: Sheet) -> Iterator[Finding]:
    pod = template.get("spec") or {}
    whole_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": pod}
    yield from kubernetes(whole_pod, field.removesuffix(".spec"), sheet)
    whole = pod.get("securityContext") or {}
    if pod.get("hostNetwork"):
        yield sheet.error(
            f"{field}.hostNetwork", "Ray's ports are open on the node's address", "leave it out"
        )
    for number, container in enumerate(pod.get("containers") or []):
        where = f"{field}.containers.{number}"
        own = container.get("securityContext") or {}
        if not (own.get("runAsNonRoot") or whole.get("runAsNonRoot")) or own.get("runAsUser") == 0:
            remedy = "securityContext: {runAsNonRoot: true, runAsUser: 1000}"
            yield sheet.error(f"{where}.securityContext", "it may run as root", remedy)
        if own.get("privileged"):
            yield sheet.error(
                f"{where}.securityContext", "it is privileged", "leave it out; GPUs need it not"
            )
        yield from image_pin(str(container.get("image", "")), f"{where}.image", sheet)
        yield from python_match(str(container.get("image", "")), f"{where}.image", sheet)
        limits = at(container, "resources", "limits") or {}
        if not {"cpu", "memory"} <= set(limits):
            problem = "Ray takes the node's whole size for the pod's"
            yield sheet.error(f"{where}.resources.limits", problem, "cpu and memory, the same as requested")
        if _GPU in limits:
            if not pod.get("tolerations"):
                remedy = f"- {{key: {_GPU}, operator: Exists, effect: NoSchedule}}"
                yield sheet.error(
                    f"{field}.tolerations", "GPU nodes refuse pods that do not tolerate them", remedy
                )
            if not pod.get("nodeSelector"):
                problem = "any GPU may be given, an old one or a dear one"
                yield sheet.error(f"{field}.nodeSelector", problem, "the label of the GPU's kind")
        yield from _variables(container, where, sheet)


def _variables(container: dict[str, Any], where: str, sheet: Sheet) -> Iterator[Finding]:
    for variable in container.get("env") or []:
        name, value = str(variable.get("name", "")), variable.get("value")
        if value and names_secret(name):
            remedy = "a secret, mounted as a file (as cluster/kuberay.yaml does)"
            yield sheet.error(f"{where}.env.{name}", "a secret stands in the file", remedy)
        if name == "RAY_AUTH_MODE" and value != "token":
            yield sheet.error(f"{where}.env.{name}", f"{value} turns authentication off", "leave it out")
