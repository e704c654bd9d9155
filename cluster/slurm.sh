#!/usr/bin/env bash
# A sweep on a Slurm cluster, one Ray fleet a job:
#
#     sbatch cluster/slurm.sh sweeps/codebook_size.py --data /shared/clips --split objects --trials 40 --name mine
#     sbatch --nodes=8 --gpus-per-node=4 --cpus-per-task=32 --partition=gpu cluster/slurm.sh ...
#
# Submit from the checkout: its folder, its .venv (`make install`) and $HOME must be shared between the nodes. Two
# minutes before the time limit, or when the job is preempted, the sweep is parked and the job put back into the queue;
# the same command then goes on where it was. Keys of the store: a 0600 file named by AWS_SHARED_CREDENTIALS_FILE
# (default ~/.aws/credentials). Ray's token is made for this job alone, and gone with it.
#
#SBATCH --job-name=latentact-zoo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=latentact-zoo-%j.log
set -euo pipefail

if [[ $# -eq 0 ]]; then
    echo 'usage: sbatch cluster/slurm.sh sweeps/codebook_size.py [its options]' >&2
    exit 2
fi

cd "${SLURM_SUBMIT_DIR:?is set by sbatch}"
# Programs of the checkout's environment, here and, since srun passes the environment on, on every node.
export PATH="$PWD/.venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0 RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=0.1 MLFLOW_DISABLE_TELEMETRY=true

# Several jobs may share a node: ports of their own, below those that Linux gives out by itself.
ray_port=$((20000 + (SLURM_JOB_ID % 1000) * 10))
dashboard_port=$((ray_port + 1))
ports=(--dashboard-agent-listen-port=$((ray_port + 2)) --min-worker-port=0 --max-worker-port=0)

# Others on the nodes reach Ray's ports; without the token these refuse.
secrets=$(mktemp -d "$HOME/.latentact-slurm-$SLURM_JOB_ID-XXXXXX")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secrets/ray_token"
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_node=${nodes[0]}
head_ip=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head_node" hostname --ip-address | awk '{ print $1 }')
# `python -m sweeps costs` counts nodes by their partition; what one costs only --usd-per-hour says.
partition=${SLURM_JOB_PARTITION:-slurm}
node=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}"
    --labels="latentact/node-type=${partition//[^A-Za-z0-9._-]/-}")

steps=()
finish() {
    trap - EXIT
    # Ending a step ends the Ray that it holds, and no other on the node.
    kill -TERM "${steps[@]}" 2> /dev/null || true
    wait "${steps[@]}" 2> /dev/null || true
    rm -rf "$secrets"
}
trap finish EXIT

echo "head: $head_node ($head_ip:$ray_port), ${#nodes[@]} nodes"
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head_node" \
    ray start --head --block --node-ip-address="$head_ip" --port="$ray_port" \
    --dashboard-host=127.0.0.1 --dashboard-port="$dashboard_port" --ray-client-server-port=$((ray_port + 3)) \
    "${ports[@]}" "${node[@]}" &
steps+=($!)

# The batch script runs on the first node, so that the dashboard's loopback address is its own.
export RAY_API_SERVER_ADDRESS="http://127.0.0.1:$dashboard_port"
for _ in $(seq 120); do
    if ray job list > /dev/null 2>&1; then break; fi
    if ! kill -0 "${steps[0]}" 2> /dev/null; then
        echo 'the head ended before it worked' >&2
        exit 1
    fi
    sleep 1
done
ray job list > /dev/null

if [[ ${#nodes[@]} -gt 1 ]]; then
    others=$(IFS=, && echo "${nodes[*]:1}")
    srun --overlap --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) --ntasks-per-node=1 \
        --nodelist="$others" ray start --block --address="$head_ip:$ray_port" "${ports[@]}" "${node[@]}" &
    steps+=($!)
fi

# The same name after a requeue: a job of Ray's must have another one each time.
job="slurm-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}"
requeue=no
park() {
    echo 'the time is nearly up: parking the sweep'
    ray job stop "$job" || true
}
# Preempted jobs are put back by Slurm itself, cancelled ones by nobody.
trap 'park' TERM
trap 'requeue=yes; park' USR1

package=$(python -m cluster.job_package --output "$secrets/job.tar.xz" .)
ray job submit --no-wait --submission-id "$job" --working-dir "$package" -- python "$@"
ray job logs --follow "$job" &
follower=$!
# A signal interrupts `wait`: then the log is followed on, until the sweep has parked.
until wait "$follower"; do
    kill -0 "$follower" 2> /dev/null || break
done

status=$(ray job status "$job" 2>&1 || true)
if [[ $requeue == yes ]]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
if [[ $status != *"'$job' succeeded"* ]]; then
    echo "$status" >&2
    exit 1
fi
