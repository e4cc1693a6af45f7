#!/usr/bin/env bash
# Tells Ray when this node's cloud announces that it will take the node back: no new work comes here, and what runs
# here is moved in the seconds that are left. Started on every worker by the cluster files.
#   drain_on_notice.sh aws|gcp [metadata-url]
set -u

case "$1" in
  aws)
    metadata=${2:-http://169.254.169.254} seconds=110
    notice() {
      local token
      token=$(curl -sf -m 2 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" "$metadata/latest/api/token") &&
        curl -sf -m 2 -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/spot/instance-action"
    }
    ;;
  gcp)
    metadata=${2:-http://metadata.google.internal} seconds=25
    notice() {
      curl -sf -m 2 -H "Metadata-Flavor: Google" "$metadata/computeMetadata/v1/instance/preempted" | grep TRUE
    }
    ;;
  *)
    echo "usage: drain_on_notice.sh aws|gcp [metadata-url]" >&2
    exit 2
    ;;
esac

until notice; do sleep 2; done
exec ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "$1 takes this node back" \
  --deadline-remaining-seconds "$seconds"
