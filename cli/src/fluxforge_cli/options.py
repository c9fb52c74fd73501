"""Options several verbs share, and the settings they lead to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:  # the settings are heavy to import and `--help` must be quick
    from fluxforge.runtime.settings import Settings

CONFIG_DEFAULT: Final = Path("config/config.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help=f"Configuration; {CONFIG_DEFAULT} where it exists, else defaults."),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Keep all data here, whatever the configuration says.")
]

ThereOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Where all data is, whatever the configuration says.",
    ),
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings a verb works with. `variables` make a child process choose the same beside `config`."""

    settings: "Settings"
    config: Path | None
    variables: dict[str, str] = field(default_factory=dict)


def choose(config: Path | None, data: Path | None = None) -> Chosen:
    """Return the settings of a file (or of the default one, if it is there), with all data below `data`.

    Raises:
        ConfigurationError: See `fluxforge.runtime.settings.load`.
    """
    from fluxforge.runtime.settings import load  # noqa: PLC0415 - heavy

    path = config or (CONFIG_DEFAULT if CONFIG_DEFAULT.exists() else None)
    settings = load(path)
    if data is None:
        return Chosen(settings, path)
    return Chosen(_placed(settings, data), path, _placing(data))


def _placed(settings: "Settings", data: Path) -> "Settings":
    from fluxforge.runtime.settings import StoreLocation  # noqa: PLC0415 - heavy

    here = StoreLocation(base_dir=data)
    stores = {"ingestion_storage": here, "etl_storage_input": here, "etl_storage_output": here}
    storage = settings.storage.model_copy(update={"scratch_dir": data, **stores})
    return settings.model_copy(update={"storage": storage})


def _placing(data: Path) -> dict[str, str]:
    stores = ("INGESTION_STORAGE", "ETL_STORAGE_INPUT", "ETL_STORAGE_OUTPUT")
    variables = {"FLUXFORGE__STORAGE__SCRATCH_DIR": str(data)}
    for store in stores:
        variables[f"FLUXFORGE__STORAGE__{store}__BASE_DIR"] = str(data)
        variables[f"FLUXFORGE__STORAGE__{store}__BACKEND"] = "local"
    return variables
