"""The dashboards: `python -m tools.dashboards` writes them, `python -m tools.dashboards.render` shows them."""
