"""What a run will take, before it is started: time by stage, GPU memory, cost and what holds it up.

    from seal_ray import config, plan
    found = plan.predict(config.load("jobs/knowledge.toml"), plan.Hardware(gpus=8, gpu="h100"))

The run itself is simulated, event by event, with the time that each kind of work takes (`Rates`): from a GPU's
published figures, from the journal of an earlier run, or from a short measurement on this machine. No torch here.
"""

from seal_ray.plan.predict import Hardware, Prediction, predict

__all__ = ["Hardware", "Prediction", "predict"]
