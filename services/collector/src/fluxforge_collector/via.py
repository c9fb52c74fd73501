"""Via: every address of an exchange led through one host and port that stands in for all of them. Pure."""

import re
from typing import Any, Final

_ADDRESS: Final = re.compile(r"(http|ws)s?://(.*)", re.DOTALL)


def lead_via(addresses: Any, host_port: str) -> Any:
    """Return ccxt's nested `urls` with `scheme://HOST/path` as `ws|http://<host_port>/HOST/path`.

    The original host stays in the path: one server can tell venues apart, and ccxt finds the parts that it looks for.
    """
    if isinstance(addresses, str):
        found = _ADDRESS.fullmatch(addresses)
        return f"{found[1]}://{host_port}/{found[2]}" if found else addresses
    if isinstance(addresses, dict):
        return {key: lead_via(value, host_port) for key, value in addresses.items()}
    if isinstance(addresses, list):
        return [lead_via(value, host_port) for value in addresses]
    return addresses
