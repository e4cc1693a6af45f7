"""How a policy is finetuned on what was found to teach: one small file a rule."""
