"""`fluxforge segment`: the segmenter in the foreground."""

import typer

from fluxforge_cli.options import ConfigOption, choose


def segment(config: ConfigOption = None) -> None:
    """Run the segmenter in the foreground: seal every lane of the bus. SIGTERM or Ctrl-C drains."""
    from fluxforge_segmenter.main import main  # noqa: PLC0415 - heavy

    chosen = choose(config)
    raise typer.Exit(main(["--config", str(chosen.config)] if chosen.config else []))
