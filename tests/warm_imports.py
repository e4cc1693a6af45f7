"""What `tests.warm` imports once. Transformers loads its parts only when they are named."""

import peft  # noqa: F401
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

import seal_ray.bank
import seal_ray.cli.app
import seal_ray.learning.learn
import seal_ray.loop.run  # noqa: F401
