"""What Ray's autoscaler starts and ends in a rehearsal: worker nodes that are processes of this machine."""

from typing import Any

import psutil
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

from cluster import process
from cluster.fleet import node_of


class FleetNodes(FakeMultiNodeProvider):
    """Ray's own provider for such nodes, but each has a folder of its own for the code of jobs.

    Ray's share one, and each node that comes unpacks a job's code into it anew, under the feet of the job's driver.
    """

    def _create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        with self.lock:
            node_id = self._next_hex_node_id()
            left = dict(resources)
            parameters = RayParams(
                min_worker_port=0,
                max_worker_port=0,
                dashboard_agent_listen_port=0,
                num_cpus=int(left.pop("CPU")),
                num_gpus=0,
                object_store_memory=int(left.pop("object_store_memory")),
                resources=left,
                labels=labels,
                gcs_address=self._gcs_address,
                runtime_env_dir_name=f"runtime_resources_{node_id[-5:]}",
                env_vars={
                    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node_id,
                    "RAY_CLOUD_INSTANCE_ID": node_id,
                    "RAY_NODE_TYPE_NAME": tags[TAG_RAY_USER_NODE_TYPE],
                },
            )
            try:
                node = Node(parameters, head=False, shutdown_at_exit=False, spawn_reaper=False)
            except Exception:
                # Slower than Ray waits for, as on a busy machine: it would join later, unknown to the autoscaler.
                started = process.children(psutil.Process())
                process.kill([found for found in started if node_of(found) == node_id])
                raise
            own = {
                TAG_RAY_NODE_KIND: NODE_KIND_WORKER,
                TAG_RAY_NODE_NAME: node_id,
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
            known: dict[str, Any] = self._nodes
            known[node_id] = {"tags": own | tags, "node": node}
