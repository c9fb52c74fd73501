"""The datasets, for whoever reads them: `Datasets.at("data").scan("trades", symbol="BTC/USDT")`."""

from fluxforge.dataset.datasets import Datasets, NoSuchDatasetError
from fluxforge.dataset.edit import Edited, EditRefusedError
from fluxforge.dataset.select import Selection
from fluxforge.dataset.stats import Stat
from fluxforge.dataset.verify import Flaw

__all__ = ["Datasets", "EditRefusedError", "Edited", "Flaw", "NoSuchDatasetError", "Selection", "Stat"]
