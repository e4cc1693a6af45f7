"""How passages that arrive one after another enter a policy: ways by name, on the same streams of passages."""
