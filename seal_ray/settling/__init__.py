"""What a config leaves to its model, settled in one place and once: afterwards no setting depends on what is looked up.

Whether prompts are chats (`auto` options of the domain and the grader) and which settings fit (`trial.preset`) follow
from the model's own small files. A run settles its config before it takes its directory, so that what was found is
part of what the run is; a dry run, `doctor` and `plan` settle theirs likewise. Only the engine, which this machine
decides and not the model, is chosen elsewhere: `EngineSpec.of`.
"""

from seal_ray.settling.chats import must_chat
from seal_ray.settling.context import must_be_learnt, must_fit
from seal_ray.settling.settle import Settled, settle

__all__ = ["Settled", "must_be_learnt", "must_chat", "must_fit", "settle"]
