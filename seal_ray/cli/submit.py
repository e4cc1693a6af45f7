"""The command behind `jobs/submit.py`: any config as a job of a Ray cluster."""

from __future__ import annotations

from cyclopts import App

from seal_ray.cli.options import Overlays, Overrides

app = App(name="python jobs/submit.py", version_flags=(), help_format="plaintext")


@app.default
def submit(config: str, *overrides: Overrides, overlay: Overlays = ()) -> None:
    """Run a config on the cluster that this is submitted to, and print its table.

    Parameters
    ----------
    config
        A TOML file, such as jobs/microworld.toml.
    """
    from seal_ray.ops import jobs

    jobs.submit(config, overrides, overlay)


if __name__ == "__main__":  # from folders without jobs/submit.py
    app()
