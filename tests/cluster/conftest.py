import sys

from tests.cluster.autoscaling import CLUSTER

sys.path.insert(0, str(CLUSTER))  # as the cluster files do with PYTHONPATH
