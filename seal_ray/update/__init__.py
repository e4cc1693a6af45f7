"""How self-edits that taught become the next policy: which are kept, and how the policy learns from them."""
